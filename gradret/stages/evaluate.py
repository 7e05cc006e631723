"""Measure a run against the test judgments: trec_eval's measures, one value a query.

In: QUERIES with QRELS, RUN. Out: table ``metrics`` with a row for each judged test query and
measure, also where the run found nothing (value 0). Measures keep the config's spelling, which
ir_measures would change (Recall@100 to R@100, MRR@10 to RR@10, MAP to AP).
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from gradret.artifacts import Artifact, Draft, make
from gradret.components import unknown
from gradret.errors import ConfigError, ContractError

if TYPE_CHECKING:
    import pyarrow as pa
    from ir_measures import Measure

    from gradret.config import Config

__all__ = ["evaluate", "parse_measures", "read_judgments"]

_QUERIES_AT_ONCE = 500

Judgments = dict[str, dict[str, int]]
Found = dict[str, dict[str, float]]


def evaluate(config: Config, queries: Artifact, run: Artifact) -> Artifact:
    """METRICS of one system, for every query that has a test judgment.

    Raises:
        ConfigError: ``evaluate.measures`` names something that cannot be computed.
        ContractError: the run lists a document twice for one query.
    """
    measures = parse_measures(config.evaluate.measures)
    body = functools.partial(_evaluate, measures, queries, run)
    return make(
        "evaluate",
        config.storage_path,
        module=__name__,
        settings={"measures": list(measures)},
        inputs={"queries": queries, "run": run},
        body=body,
    )


def parse_measures(spellings: Sequence[str]) -> dict[str, Measure]:
    """Each spelling with the measure it names, in order; a spelling given twice counts once.

    Raises:
        ConfigError: a spelling names no measure, has a bad parameter, or needs a package that is
            not installed; all are named.
    """
    measures, problems = {}, []
    for spelling in spellings:
        try:
            measures[spelling] = _parse(spelling)
        except ValueError as error:
            problems.append(f"evaluate.measures: {spelling!r}: {error}")
    if not spellings:
        problems.append("evaluate.measures: is empty; name at least one, such as nDCG@10")
    if problems:
        raise ConfigError.of(problems)
    return measures


def read_judgments(queries: Artifact) -> Judgments:
    """Relevance by document by query, of the queries to evaluate on."""
    judgments: Judgments = {}
    for row in queries.table("qrels").to_pylist():
        if row["split"] == "test":
            judgments.setdefault(row["query_id"], {})[row["doc_id"]] = row["relevance"]
    return judgments


def _parse(spelling: str) -> Measure:
    from ir_measures import DefaultPipeline, parse_measure
    from ir_measures.measures import registry

    # Our judged@10 is their Judged@10: capitals do not count.
    names = {name.lower(): name for name in registry} | {name: name for name in registry}
    name = re.match(r"\w*", spelling)[0]  # type: ignore[index]
    known = names.get(name) or names.get(name.lower())
    if not known:
        raise ValueError(unknown(name or spelling, sorted(registry), "a measure of ir_measures"))
    try:
        measure = parse_measure(known + spelling[len(name) :])
        supported = DefaultPipeline.supports(measure)  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, AssertionError, KeyError):
        raise ValueError("its parameters are missing or wrong; write it like nDCG@10 or P(rel=2)@5") from None
    cutoff = measure.params.get("cutoff", 1)
    # trec_eval ends the whole process over a cutoff of 0.
    if not isinstance(cutoff, int) or cutoff < 1:
        raise ValueError(f"the cutoff {cutoff} is not a whole number of at least 1")
    if not supported:
        raise ValueError("no installed package computes it")
    return measure


def _evaluate(measures: dict[str, Measure], queries: Artifact, run: Artifact, draft: Draft) -> None:
    judgments = read_judgments(queries)
    total, unjudged = len(judgments), 0
    parts = []
    for found in _chunks(run):
        judged = {query_id: docs for query_id, docs in found.items() if query_id in judgments}
        unjudged += len(found) - len(judged)
        parts.append(_values(measures, {query_id: judgments.pop(query_id) for query_id in judged}, judged))
    parts.append(_values(measures, judgments, {}))
    rows = _concat(parts)
    draft.count(judged_queries=total, without_results=len(judgments), rows_out=rows.num_rows)
    if unjudged:
        draft.count(unjudged_queries=unjudged)
    draft.write("metrics", rows)


def _chunks(run: Artifact) -> Iterator[Found]:
    """Some queries of the run at a time, so that a long run never stands in memory as Python objects.

    The score is made from the rank: providers break ties differently, and so there are none.
    """
    found: Found = {}
    for query_id, rows in itertools.groupby(_rows(run), key=itemgetter(0)):
        docs: dict[str, float] = {}
        for _, doc_id, rank in rows:
            if doc_id in docs:
                raise ContractError(f"{run.path}: query {query_id!r} lists document {doc_id!r} twice")
            docs[doc_id] = -float(rank)
        found[query_id] = docs
        if len(found) == _QUERIES_AT_ONCE:
            yield found
            found = {}
    yield found


def _rows(run: Artifact) -> Iterator[tuple[str, str, int]]:
    columns = ["query_id", "doc_id", "rank"]
    for batch in run.table("run", columns).to_batches(max_chunksize=1 << 16):
        yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)


def _values(measures: dict[str, Measure], judgments: Judgments, found: Found) -> pa.Table:
    import pyarrow as pa
    from ir_measures import DefaultPipeline

    from gradret.contracts import schema

    rows: list[dict[str, Any]] = []
    if judgments:
        spellings = _spellings(measures)
        for metric in DefaultPipeline.iter_calc(list(spellings), _grades(judgments), found):
            rows += [
                {"query_id": metric.query_id, "measure": spelling, "value": float(metric.value)}
                for spelling in spellings[metric.measure]
            ]
    return pa.Table.from_pylist(rows, schema("metrics"))


def _spellings(measures: Mapping[str, Measure]) -> dict[Measure, list[str]]:
    """Spellings of each measure: MAP and AP are one."""
    spellings: dict[Measure, list[str]] = {}
    for spelling, measure in measures.items():
        spellings.setdefault(measure, []).append(spelling)
    return spellings


def _grades(judgments: Judgments) -> Judgments:
    """Judgments as pytrec_eval takes them: below 0 is not relevant, and it knows no such number."""
    return {query_id: {doc_id: max(0, grade) for doc_id, grade in docs.items()} for query_id, docs in judgments.items()}


def _concat(parts: list[pa.Table]) -> pa.Table:
    import pyarrow as pa

    return pa.concat_tables(parts).sort_by([("query_id", "ascending"), ("measure", "ascending")])
