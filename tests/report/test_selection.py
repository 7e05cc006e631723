"""The report's section on selection, against counts by hand."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gradret.config.run import Config
from gradret.config.select import Rule, Select
from gradret.datasets.pydocs import Pydocs
from gradret.report.run import report
from gradret.report.selection import Selection, selection
from gradret.store import contracts
from gradret.store.artifacts import Artifact, make

Rows = list[dict[str, Any]]
KINDS = {"a": "claim", "b": "claim", "c": "claim", "d": "title", "e": "title", "f": None, "g": "claim", "h": "title"}
FILTERED = Select(min_words=3, source_within=2, max_words=9, max_per_kind=2)
DROPPED = {
    "a": "fewer than 3 words",
    "d": "fewer than 3 words",
    "b": "source document not in the teacher's first 2",
    "f": "no document scored",
    "h": "over 2 queries of the kind",
}
EN_DASH = "\N{EN DASH}"


def artifact(storage: Path, stage: str, notes: dict[str, Any] | None = None, **tables: list[Rows]) -> Artifact:
    def _body(draft: Any) -> None:
        for name, shards in tables.items():
            for number, rows in enumerate(shards):
                draft.write(name, pa.Table.from_pylist(rows, contracts.schema(name)), number)
        draft.notes |= notes or {}

    settings = {"rows": tables, "notes": notes or {}}
    return make(stage, str(storage), module="gradret.store.artifacts", settings=settings, inputs={}, body=_body)


def group(query_id: str, positives: list[bool]) -> dict[str, Any]:
    docs = [f"d{n}" for n in range(len(positives))]
    grades = [0.5] * len(docs)
    row = {"query_id": query_id, "split": "train", "source_doc_id": None, "kind": KINDS[query_id], "doc_ids": docs}
    return row | {"grades": grades, "scores": grades, "positives": positives, "relevant_doc_ids": []}


def counted(origin: str, first_rank: int, *numbers: int) -> dict[str, Any]:
    names = ("listed", "positives", "negatives", "suspects")
    return {"origin": origin, "first_rank": first_rank, **dict(zip(names, numbers, strict=True))}


def suspect(pair_id: str, query_id: str, rank: int, origin: str = "bm25") -> dict[str, Any]:
    row = {"pair_id": pair_id, "query_id": query_id, "doc_id": f"s{pair_id}", "positive_doc_id": "d1"}
    return row | {"origin": origin, "rank": rank, "score": 2.5, "positive_score": 1.25}


def artifacts(storage: Path) -> dict[str, Artifact]:
    queries = [
        {"query_id": query_id, "text": f"about <{query_id}>", "split": None, "source_doc_id": None, "kind": kind}
        | {"generator": "g"}
        for query_id, kind in KINDS.items()
    ]
    bad = [{"table": "select", "where": where, "reason": reason, "raw": ""} for where, reason in DROPPED.items()]
    docs = [
        {"doc_id": doc_id, "title": None, "text": f"text of {doc_id}", "origin": "corpus"}
        for doc_id in ("d1", "s1", "s3")
    ]
    return {
        "ingest": artifact(storage, "ingest", docs=[docs]),
        "generate": artifact(storage, "generate", queries=[queries[:3], queries[3:]]),
        "select": artifact(
            storage,
            "select",
            {"percentiles": {"claim": {"1": -4.25, "95": 6.5}, "title": {"1": 0.0, "95": 1.0}}},
            groups=[[group("c", [True, False, False])], [group("e", [False] * 2), group("g", [True, True, False])]],
            quarantine=[bad[:2], bad[2:]],
            audit=[
                [counted("bm25", 1, 4, 2, 3, 2), counted("source", 1, 1, 1, 0, 0)],
                [counted("bm25", 1, 1, 0, 5, 2), counted("bm25", 101, 2, 0, 4, 0)],
            ],
            suspects=[
                [suspect("3", "c", 2), suspect("9", "c", 2), suspect("7", "e", 101)],
                [suspect("1", "e", 5), suspect("1", "e", 3, "dense"), suspect("5", "g", 1)],
            ],
        ),
    }


@pytest.fixture
def found(tmp_path: Path) -> Selection:
    return selection(FILTERED, artifacts(tmp_path))


def test_queries_in_and_out_of_every_filter_in_its_order(found: Selection) -> None:
    assert list(found.came.items()) == [("claim", 4), ("title", 3), ("no kind", 1)]
    assert [(step.reason, dict(step.dropped), dict(step.left)) for step in found.steps] == [
        ("no document scored", {"no kind": 1}, {"claim": 4, "title": 3}),
        ("fewer than 3 words", {"claim": 1, "title": 1}, {"claim": 3, "title": 2}),
        ("more than 9 words", {}, {"claim": 3, "title": 2}),
        ("source document not in the teacher's first 2", {"claim": 1}, {"claim": 2, "title": 2}),
        ("over 2 queries of the kind", {"title": 1}, {"claim": 2, "title": 1}),
    ]


def test_a_filter_that_is_off_is_not_listed_but_what_dropped_queries_is(tmp_path: Path) -> None:
    steps = selection(Select(), artifacts(tmp_path)).steps
    assert steps[0].reason == "no document scored"
    assert {step.reason for step in steps} == set(DROPPED.values())
    assert dict(steps[-1].left) == {"claim": 2, "title": 1}


def test_what_the_lists_hold_and_the_audit(found: Selection) -> None:
    assert (found.lists, found.documents, found.positives) == (3, 8, 3)
    bm25, source = found.origins
    assert (bm25.name, bm25.listed, bm25.positives) == ("bm25", 7, 2)
    assert (list(bm25.negatives), list(bm25.suspects)) == ([8, 0, 0, 0, 0, 4], [4, 0, 0, 0, 0, 0])
    assert (source.name, source.listed, source.positives, sum(source.negatives)) == ("source", 1, 1, 0)
    assert len(found.bands) == len(bm25.negatives)


def test_samples_are_the_first_pairs_of_every_band(found: Selection) -> None:
    assert [(one.query, one.doc_id, one.origin, one.rank) for one in found.suspects] == [
        ("about <e>", "s1", "bm25", 5),
        ("about <c>", "s3", "bm25", 2),
        ("about <e>", "s7", "bm25", 101),
    ]
    assert {(one.positive_doc_id, one.score, one.positive_score) for one in found.suspects} == {("d1", 2.5, 1.25)}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "scores between percentiles 1 and 95 of all scores, scaled and clipped"),
        (
            {"normalise": "kind", "grades": "quantiles"},
            "4 levels that the scores of queries of the same kind fill equally",
        ),
        ({"grades": "thresholds", "thresholds": (0.5, 2.0)}, "the share of the thresholds 0.5, 2 that a score reaches"),
        (
            {"grades": "as_is", "mix": (Rule("a", 0.5),)},
            "the unchanged scores; some rules of select.mix set fixed grades",
        ),
    ],
)
def test_how_scores_become_grades_is_said(tmp_path: Path, keys: dict[str, Any], said: str) -> None:
    assert selection(Select(**keys), artifacts(tmp_path)).mapping == f"Grades are {said}."


def shown(storage: Path, made: dict[str, Artifact], select: Select) -> tuple[str, list[list[list[str]]]]:
    """The section, and the cells of its tables."""
    config = Config(name="toy", dataset=Pydocs(), storage_path=str(storage), select=select)
    page = (report(config, made) / "report.html").read_text(encoding="utf-8")
    section = re.search(r'<section id="selection">.*?</section>', page, re.DOTALL)
    text = section.group() if section else ""
    rows = [
        re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL) for table in re.findall(r"<table.*?</table>", text, re.DOTALL)
    ]
    cells = [[re.findall(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in table] for table in rows]
    return text, [
        [[html.unescape(" ".join(re.sub(r"<[^>]*>", " ", one).split())) for one in row] for row in table]
        for table in cells
    ]


def test_the_section_of_the_page(tmp_path: Path) -> None:
    text, (queries, percentiles, holding, audit) = shown(tmp_path, artifacts(tmp_path), FILTERED)
    minus = "\N{MINUS SIGN}"
    assert queries[0] == ["filter", "claim", "title", "no kind", "all"]
    assert queries[1] == ["queries in", "4", "3", "1", "8"]
    assert queries[2][1:] == ["4", "3", f"0 {minus}1", f"7 {minus}1"]
    assert queries[3] == ["dropped: fewer than 3 words", f"3 {minus}1", f"2 {minus}1", "0", f"5 {minus}2"]
    assert queries[-1][1:] == ["2", f"1 {minus}1", "0", f"3 {minus}1"]
    assert percentiles == [["scores", "1", "95"], ["claim", "-4.25", "6.5"], ["title", "0", "1"]]
    assert "3 lists of 2.7 documents and 1.00 positives" in text
    assert holding[1:] == [["bm25", "7", "87.5%", "2"], ["source", "1", "12.5%", "1"]]
    assert audit[0] == ["retriever, at rank", "1 to 5", "6 to 10", "11 to 20", "21 to 50", "51 to 100", "from 101"]
    assert audit[1:] == [["bm25", "50.0% 4 of 8", "", "", "", "", "0.0% 0 of 4"]]
    assert "<p>about &lt;e&gt;<small>bm25, rank 5: score 2.5, score of the positive 1.25</small></p>" in html.unescape(
        text
    ).replace("<e>", "&lt;e&gt;")
    assert text.count("text of d1") == 3
    assert "text of s3" in text


def test_without_queries_or_lists_there_is_no_section(tmp_path: Path) -> None:
    made = artifacts(tmp_path)
    assert shown(tmp_path, {"select": made["select"]}, Select())[0] == ""
    assert shown(tmp_path, {"generate": made["generate"]}, Select())[0] == ""


def test_a_selection_that_audited_nothing_is_shown(tmp_path: Path) -> None:
    made = artifacts(tmp_path)
    made["select"] = artifact(tmp_path, "select", groups=[[group("c", [False, False])]])
    text, tables = shown(tmp_path, made, Select())
    assert tables == [[["filter", "claim", "all"], ["queries in", "1", "1"]]]
    assert "1 list of 2.0 documents and 0.00 positives" in text
