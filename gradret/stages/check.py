"""Check that the teacher outranks the retriever, before labels are paid for.

The teacher reranks a retriever's documents, or passages, for a sample of judged queries, and nDCG@10 before and after
is compared. Recall is the same by construction, so only the order counts. A student of a teacher that ranks worse
learns to rank worse: in Tamber et al. (2502.19712) FEVER, Climate-FEVER, SciDocs and ArguAna dropped (verified
in its tables; that a weaker teacher was the reason is not).

``check_queries`` draws the sample. A generated query counts only if the retriever finds its source document.
"""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.components import name_of
from gradret.config.run import Evaluate
from gradret.search.runs import run_table
from gradret.stages.check_queries import GENERATED, check_queries, draw, round_trip
from gradret.stages.evaluate import evaluate, read_judgments
from gradret.stages.max_passage import max_passage
from gradret.stages.rerank import rerank
from gradret.stats.agreement import agreement, graded_alike
from gradret.stats.significance import paired, results
from gradret.store.artifacts import Artifact, Draft, make, read_shard
from gradret.store.results import Result
from gradret.work.shards import map_shards, split_rows

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.retrievers import Retriever

__all__ = ["DEPTH", "MEASURE", "CheckResult", "check"]

MEASURE = "nDCG@10"

DEPTH = 100
_QUERIES_A_SHARD = 256


@dataclass(frozen=True)
class CheckResult:
    """Result of a check: means over the queries, and the teacher's agreement with human grades."""

    retriever: str
    """Name of the retriever."""
    teacher: str
    """Name of the teacher."""
    sample: str
    """Where the queries come from: ``dev`` or ``train`` (splits of the dataset), or ``generated``."""
    drawn: int
    """Number of queries drawn."""
    queries: int
    """Number of queries that count: all, or the generated ones whose source document the retriever finds."""
    retriever_ndcg: float
    """Mean nDCG@10 of the retriever."""
    teacher_ndcg: float
    """Mean nDCG@10 of the same documents in the teacher's order."""
    difference: float
    """``teacher_ndcg - retriever_ndcg``."""
    low: float | None
    """Lower end of the difference's 95% bootstrap interval; None below two queries."""
    high: float | None
    """Upper end of the same interval."""
    p: float | None
    """p-value of a two-sided paired t-test; None below two queries."""
    unscored: int
    """Pairs that the teacher gave no score; they are missing from its ranking."""
    judged_pairs: int
    """Ranked pairs that have a human grade; 0 where the queries are generated."""
    kappa: float | None
    """Cohen's kappa on the judged pairs, with scores cut into grades as frequent as the human ones."""
    kendall_tau: float | None
    """Kendall's tau-b between raw scores and human grades, over all queries together."""
    spearman: float | None
    """Spearman's rank correlation between the same."""
    signal: dict[str, Any] | None = None
    """Whether a language model tells documents apart: the fields of ``gradret.stats.signal.Signal``."""
    orders: dict[str, Any] | None = None
    """Whether the order in which it sees documents decides: the fields of ``gradret.stats.orders.Orders``."""


def check(config: Config, ingested: Artifact, generated: Artifact) -> Artifact:
    """Compare teacher and retriever; the notes hold the fields of ``CheckResult``, or ``skipped`` with the reason.

    Does not stop a run: ``gradret.stages.verdict.require`` does.
    """
    teacher = config.label.teacher.for_check()
    config = replace(config, label=replace(config.label, teacher=teacher))
    depth = min(DEPTH, teacher.depth or DEPTH)
    if not config.check.queries:
        return _skipped(config, "check.queries is 0")
    if not teacher.reranks:
        return _skipped(config, f"the teacher {name_of(teacher)} cannot score arbitrary pairs")
    drawn = sample = draw(config, generated)
    if not drawn.queries:
        return _skipped(config, "there is no judged query and no generated query with a source document")
    queries = check_queries(config, drawn)
    found = _retrieve(config, ingested, queries, depth)
    run = max_passage(config, found, depth)
    if drawn.origin == GENERATED:
        sample = round_trip(drawn, run)
        queries = check_queries(config, sample)
    retriever = name_of(config.check.retriever)
    if not sample.queries or not run.counts["rows_out"]:
        what = "the source document of any query" if drawn.origin == GENERATED else "anything for any query"
        return _skipped(config, f"the retriever {retriever} does not find {what}")
    reranked = max_passage(config, rerank(config, ingested, queries, {retriever: found}, depth), depth)
    only = replace(config, evaluate=Evaluate((MEASURE,)))
    inputs = {"queries": queries, "reranked": reranked}
    inputs |= {"retriever": evaluate(only, queries, run), "teacher": evaluate(only, queries, reranked)}
    settings = {"retriever": config.check.retriever, "teacher": teacher, "seed": config.seed}
    settings |= {"sample": sample.origin, "drawn": len(drawn.queries)}
    body = functools.partial(_compare, settings, inputs)
    return make("check", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _skipped(config: Config, reason: str) -> Artifact:
    def _note(draft: Draft) -> None:
        draft.notes["skipped"] = reason

    return make("check", config.storage_path, module=__name__, settings={"skipped": reason}, inputs={}, body=_note)


def _retrieve(config: Config, ingested: Artifact, queries: Artifact, depth: int) -> Artifact:
    """RUN of the first ``depth`` documents of ``check.retriever``; the scores only encode the ranks."""
    retriever = config.check.retriever
    prepared = retriever.prepare(config, ingested, queries)
    body = functools.partial(_search, config, queries, prepared, depth)
    settings = {"retriever": retriever, "depth": depth, "seed": config.seed}
    inputs = {"docs": ingested, "queries": queries} | prepared
    return make("check_run", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _search(config: Config, queries: Artifact, prepared: dict[str, Artifact], depth: int, draft: Draft) -> None:
    rows = queries.table("queries")
    shards = split_rows(draft, rows, "queries", _QUERIES_A_SHARD)
    load = functools.partial(_RetrieverWorker, config.check.retriever, prepared, config.seed, depth)
    map_shards(draft, shards, load, workers=config.mine.resources, total=rows.num_rows, unit="queries")


class _RetrieverWorker:
    def __init__(self, retriever: Retriever, prepared: dict[str, Artifact], seed: int, depth: int) -> None:
        self.find, self.depth = retriever.load(prepared, seed), depth

    def __call__(self, path: Path) -> Result:
        import numpy as np

        queries = read_shard(path, "queries").to_pylist()
        rankings = [[doc_id for doc_id, _ in ranked] for ranked in self.find(queries)]
        scored = [(doc_ids, -np.arange(len(doc_ids), dtype=np.float32)) for doc_ids in rankings]
        run = run_table([query["query_id"] for query in queries], scored, self.depth)
        return Result({"run": run}, len(queries), len(queries))


def _compare(settings: dict[str, Any], inputs: dict[str, Artifact], draft: Draft) -> None:
    tables = {side: inputs[side].table("metrics") for side in ("retriever", "teacher")}
    measured = results(tables, [MEASURE], settings["seed"])
    values = {side: measured.values[side][MEASURE] for side in tables}
    difference, p = paired(values["teacher"] - values["retriever"], settings["seed"])
    result = CheckResult(
        retriever=name_of(settings["retriever"]),
        teacher=name_of(settings["teacher"]),
        sample=settings["sample"],
        drawn=settings["drawn"],
        queries=len(measured.query_ids),
        retriever_ndcg=measured.means["retriever"][MEASURE].value,
        teacher_ndcg=measured.means["teacher"][MEASURE].value,
        difference=difference.value,
        low=difference.low,
        high=difference.high,
        p=p,
        unscored=inputs["reranked"].counts["unscored"],
        signal=inputs["reranked"].manifest["notes"].get("signal"),
        orders=inputs["reranked"].manifest["notes"].get("orders"),
        **_agreement(settings["sample"], inputs),
    )
    draft.notes |= asdict(result)
    draft.count(queries=result.queries)


def _agreement(origin: str, inputs: dict[str, Artifact]) -> dict[str, Any]:
    """Compare the teacher's scores with human grades, on the ranked pairs that have both."""
    human = {
        (query_id, doc_id): float(grade)
        for query_id, docs in read_judgments(inputs["queries"]).items()
        for doc_id, grade in docs.items()
        if origin != GENERATED
    }
    columns = inputs["reranked"].table("run", ["query_id", "doc_id", "score"]).columns
    rows = zip(*(column.to_pylist() for column in columns), strict=True)
    # A language model's equal scores were lowered by less than this to keep the retriever's order.
    digits = 4 if "signal" in inputs["reranked"].manifest["notes"] else None
    scores = {
        (query_id, doc_id): score if digits is None else round(score, digits)
        for query_id, doc_id, score in rows
        if (query_id, doc_id) in human
    }
    if not scores:
        return {"judged_pairs": 0, "kappa": None, "kendall_tau": None, "spearman": None}
    ranks = agreement(human, scores)
    return {
        "judged_pairs": ranks.pairs,
        "kappa": agreement(human, graded_alike(human, scores)).kappa,
        "kendall_tau": ranks.kendall_tau,
        "spearman": ranks.spearman,
    }
