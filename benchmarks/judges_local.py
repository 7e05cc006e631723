"""The teacher check of a judge and of an annotator that ask a local model, on pairs with human grades."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradret.config.loading import parse
from gradret.draw import draw
from gradret.errors import DataError
from gradret.judgments import read_qrels
from gradret.stages.check import CheckResult
from gradret.stages.verdict import check_result, require

DOCUMENTS = 5
"""Pairs of each query: one of each human grade where there is one, then drawn."""
TEACHERS: dict[str, dict[str, Any]] = {
    "judge": {"name": "judge", "max_doc_tokens": 256},
    "annotator": {"name": "annotator", "max_doc_tokens": 192},
}


@dataclass(frozen=True)
class Checked:
    """A teacher's check."""

    result: CheckResult
    stopped: str
    """The sentence that stops the run; empty if it goes on."""


def check_model(data: Path, model: str, queries: int, folder: Path) -> dict[str, Checked]:
    """Check both teachers on judged pairs of the first ``queries`` of ``data``, a BEIR folder.

    The retriever whose order they must improve is a random one; ``folder`` gets the artifacts.
    """
    grades = read_qrels(data / "qrels" / "test.tsv")
    first = sorted({query_id for query_id, _ in grades})[:queries]
    pairs = sample({pair: grade for pair, grade in grades.items() if pair[0] in first})
    collection = write(data, pairs, folder / "collection")
    return {name: _check(collection, model, settings, folder) for name, settings in TEACHERS.items()}


def sample(grades: dict[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    """``DOCUMENTS`` of each query, in a drawn order."""
    lists: dict[str, list[tuple[int, str]]] = {}
    for (query_id, doc_id), grade in sorted(grades.items()):
        lists.setdefault(query_id, []).append((grade, doc_id))
    chosen: dict[tuple[str, str], int] = {}
    for query_id, docs in lists.items():
        lots = sorted(docs, key=lambda doc: draw("judges", query_id, doc[1]))
        first = dict(reversed(lots))  # a document of each grade
        kept = [*first.values(), *(doc_id for _, doc_id in lots if doc_id not in first.values())][:DOCUMENTS]
        chosen |= {(query_id, doc_id): grade for grade, doc_id in lots if doc_id in kept}
    return chosen


def write(data: Path, pairs: dict[tuple[str, str], int], folder: Path) -> Path:
    """A BEIR folder whose dev split are the pairs, with a run file that has them in their drawn order."""
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    wanted = {"corpus": {doc_id for _, doc_id in pairs}, "queries": {query_id for query_id, _ in pairs}}
    for name, ids in wanted.items():
        with (data / f"{name}.jsonl").open(encoding="utf-8") as lines:
            kept = [line for line in lines if json.loads(line)["_id"] in ids]
        (folder / f"{name}.jsonl").write_text("".join(kept), encoding="utf-8")
    # The evaluated split must have a query of its own.
    with (folder / "queries.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"_id": "none", "text": "none"}\n')
    first = next(iter(pairs))[1]
    for split, rows in (("dev", pairs), ("test", {("none", first): 1})):
        text = "".join(f"{query_id}\t{doc_id}\t{grade}\n" for (query_id, doc_id), grade in rows.items())
        (folder / "qrels" / f"{split}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{text}", encoding="utf-8")
    run = [f"{query_id} Q0 {doc_id} 1 {-place} drawn\n" for place, (query_id, doc_id) in enumerate(pairs)]
    (folder / "drawn.trec").write_text("".join(run), encoding="utf-8")
    return folder


def _check(collection: Path, model: str, teacher: dict[str, Any], folder: Path) -> Checked:
    from gradret.flow import Flow

    engine = {
        "name": "vllm",
        "model": model,
        "engine_kwargs": {"max_model_len": 2048, "dtype": "bfloat16"},
        "resources": {
            "cpus": 2,
            "batch_size": 16,
            "engine_kwargs": {"max_num_seqs": 32},
            "environment": {"VLLM_CPU_KVCACHE_SPACE": "1"},
        },
    }
    tree = {
        "name": "judges",
        "storage_path": str(folder / "storage"),
        "dataset": {"name": "beir", "path": str(collection)},
        "dedupe": {"min_chars": 1, "window": 0},
        "generate": {"generator": {"name": "extractive", "queries": 1}},
        "check": {"retriever": {"name": "run_file", "path": str(collection / "drawn.trec"), "k": DOCUMENTS}},
        "label": {"teacher": teacher | {"engine": engine}, "max_bad_share": 1.0},
    }
    config = parse(tree)
    made = Flow(config).check
    result = check_result(made)
    assert result is not None, made.manifest["notes"]
    try:
        require(config, made)
    except DataError as error:
        return Checked(result, str(error).partition("\n")[0])
    return Checked(result, "")


def markdown(model: str, checked: dict[str, Checked]) -> list[str]:
    """Lines of the page."""
    lines = [
        "",
        f"## {model}, as judge and as annotator",
        "",
        f"`gradret check` on {DOCUMENTS} pairs of each query, of all human grades; the retriever is a drawn order.",
        "Orders is the correlation of the scores in both presentation orders within queries.",
        "",
        "| teacher | queries | told apart | spread | grades | entropy | orders | kappa | Spearman | nDCG@10 | drawn |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, each in checked.items():
        result, signal, orders = each.result, each.result.signal or {}, each.result.orders or {}
        grades = ", ".join(f"{grade}: {number}" for grade, number in signal["grades"].items())
        cells = [str(result.queries), str(signal["told_apart"]), f"{signal['spread']:.3f}", grades]
        numbers = [signal["entropy"], orders.get("correlation"), result.kappa, result.spearman]
        numbers += [result.teacher_ndcg, result.retriever_ndcg]
        cells += ["" if number is None else f"{number:.3f}" for number in numbers]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines.append("")
    for name, each in checked.items():
        lines += [f"{name}: {f'stops the run: *{each.stopped}*' if each.stopped else 'the run goes on'}", ""]
    return lines[:-1]
