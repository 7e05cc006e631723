"""Statistics of generated data, against counts by hand and loops on small tables."""

from __future__ import annotations

import json
import random
import re
import statistics
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gradret.report import data
from gradret.report.plots import grades_plot, lengths_plot
from gradret.store import contracts
from gradret.store.artifacts import Artifact, make

Rows = list[dict[str, Any]]


def artifact(storage: Path, stage: str, rows_in: int = 0, shards: int = 2, **tables: Rows) -> Artifact:
    def _body(draft: Any) -> None:
        for name, rows in tables.items():
            for shard in range(shards):
                part = rows[shard::shards]
                draft.write(name, pa.Table.from_pylist(part, contracts.schema(name)), shard)
        draft.count(rows_in=rows_in)

    settings = {"rows": tables, "shards": shards}
    return make(stage, str(storage), module="gradret.store.artifacts", settings=settings, inputs={}, body=_body)


def query(query_id: str, text: str, kind: str | None = "question", source: str | None = None) -> dict[str, Any]:
    return {"query_id": query_id, "text": text, "split": None, "source_doc_id": source, "kind": kind, "generator": "g"}


def doc(doc_id: str, text: str, title: str | None = None) -> dict[str, Any]:
    return {"doc_id": doc_id, "title": title, "text": text, "origin": "corpus"}


def label(query_id: str, doc_id: str, score: float) -> dict[str, Any]:
    pair = f"{query_id} {doc_id}"
    return {"pair_id": pair, "query_id": query_id, "doc_id": doc_id, "source": "generated", "score": score}


def bad(where: str, reason: str) -> dict[str, Any]:
    return {"table": "t", "where": where, "reason": reason, "raw": ""}


def answer(prompt_id: str, facts: dict[str, Any], tokens: tuple[int, int], **more: Any) -> dict[str, Any]:
    row = {"text": "t", "finish": "stop", "logprobs": [], "error": "", "cut": 0}
    row |= {"prompt_id": prompt_id, "facts": json.dumps(facts), "tokens_in": tokens[0], "tokens_out": tokens[1]}
    return row | more


def test_queries_by_kind(tmp_path):
    rows = [
        query("1", "How fast does a glacier move?", "question", "d1"),
        query("2", "how fast does a glacier move", "question", "d1"),
        query("3", "How fast does a river move?", "question", "d2"),
        query("4", "Glacier speeds", "title", "d1"),
        query("5", "of no document at all", None),
    ]
    docs = [doc("d1", "... FAST does a glacier-move; nobody", "How"), doc("d2", "A river runs.")]
    found = data.queries(
        {"generate": artifact(tmp_path, "generate", queries=rows), "ingest": artifact(tmp_path, "ingest", docs=docs)}
    )
    assert [(one.name, one.number) for one in found] == [("question", 3), ("no kind", 1), ("title", 1)]
    question, none, title = found
    assert dict(question.words) == {6: 3}
    assert question.duplicates == pytest.approx(1 / 3)
    # Of "how fast does a glacier move", four 3-grams, all stand in d1, whose title comes first; of query 3, four
    # too, none stands in d2.
    assert question.copied == pytest.approx(8 / 12)
    assert (title.copied, none.copied) == (None, None)
    assert {(one.query, one.document) for one in question.examples} == {
        (row["text"], "How ... FAST does a glacier-move; nobody" if row["source_doc_id"] == "d1" else "A river runs.")
        for row in rows[:3]
    }
    assert none.examples == [data.Example("of no document at all", "")]


def test_large_counts_are_those_of_a_loop(tmp_path):
    draw = random.Random(2)
    words = ["ice", "Ice", "sea", "wind", "sun"]
    texts = [" ".join(draw.choices(words, k=draw.randint(1, 5))) for _ in range(700)]
    rows = [query(f"q{n}", text, source=f"d{n % 5}") for n, text in enumerate(texts)]
    docs = {f"d{n}": " ".join(draw.choices(words, k=30)).lower() for n in range(5)}
    stored = [doc(*one) for one in docs.items()]

    def counted(rows: Rows, shards: int) -> data.Texts:
        made = artifact(tmp_path, "generate", queries=rows, shards=shards)
        (one,) = data.queries({"generate": made, "ingest": artifact(tmp_path, "ingest", docs=stored)})
        return one

    found = counted(rows, 3)
    assert found.number == 700
    assert found.duplicates == pytest.approx(1 - len({text.lower() for text in texts}) / 700)
    lengths = [len(text.split()) for text in texts]
    assert dict(found.words) == {size: lengths.count(size) for size in set(lengths)}
    assert found.median == statistics.median_low(lengths)

    def share(rows: Rows) -> float:
        grams = []
        for row in rows:
            own, other = row["text"].lower().split(), f" {docs[row['source_doc_id']]} "
            grams += [f" {' '.join(own[n : n + 3])} " in other for n in range(len(own) - 2)]
        return sum(grams) / len(grams)

    # A sample's share is near that of all rows, but another.
    assert found.copied == pytest.approx(share(rows), abs=0.1)
    assert found.copied != pytest.approx(share(rows))
    few = counted(rows[: data.SAMPLED], 2)
    assert few.copied == pytest.approx(share(rows[: data.SAMPLED]))


def test_the_sample_follows_from_ids_alone(tmp_path):
    rows = [query(f"q{n}", f"text of {n}", source="d") for n in range(500)]
    docs = artifact(tmp_path, "ingest", docs=[doc("d", "text of 7")])
    found = []
    for order, shards in ((rows, 1), (rows[::-1], 4), (rows[250:] + rows[:250], 7)):
        made = artifact(tmp_path, "generate", queries=order, shards=shards)
        found += data.queries({"generate": made, "ingest": docs})
    assert found[0] == found[1] == found[2]
    assert [one.query for one in found[0].examples] != ["text of 0", "text of 1", "text of 2"]


def test_documents_by_grade(tmp_path):
    queries = [query("q1", "what moves a glacier"), query("q2", "who sails the sea", None)]
    docs = [
        doc("a", "Gravity is what moves a glacier downhill."),
        doc("b", "A glacier."),
        doc("c", "a GLACIER"),
        doc("x", "without a label"),
    ]
    labels = [label("q1", "a", 3), label("q1", "b", 0), label("q2", "c", 0)]
    made = artifact(tmp_path, "generate", queries=queries, docs=docs, labels=labels, shards=1)
    best, worst = data.documents(made)
    assert (best.name, best.number, best.copied) == ("grade 3", 1, 1.0)
    assert best.examples == [data.Example("what moves a glacier", docs[0]["text"])]
    assert (worst.name, worst.number, worst.duplicates, worst.copied) == ("grade 0", 2, 0.5, 0.0)
    assert dict(worst.words) == {2: 2}
    assert {one.query for one in worst.examples} == {"what moves a glacier", "who sails the sea"}
    assert data.documents(artifact(tmp_path, "generate", queries=queries)) == []


def test_the_source_may_be_a_generated_document(tmp_path):
    generated = artifact(
        tmp_path, "generate", queries=[query("q", "a b c", source="g")], docs=[doc("g", "x a b c")],
        labels=[label("q", "g", 3)], shards=1,
    )  # fmt: skip
    (found,) = data.queries({"generate": generated})
    assert (found.copied, found.examples) == (1.0, [data.Example("a b c", "x a b c")])


def test_dropped_by_reason_and_kind_where_a_model_was_asked(tmp_path):
    ids = {f"d{n}~{kind}": kind for n in range(10) for kind in ("claim", "title")}
    prompts = [answer(prompt_id, {"kind": kind}, (10, 5)) for prompt_id, kind in ids.items()]
    refused, far = ["d0~claim", "d1~claim", "d2~claim"], ["d4~claim", "d4~title", "d5~claim", "d5~title"]
    generated = artifact(
        tmp_path,
        "generate",
        queries=[query(query_id, "t", kind) for query_id, kind in ids.items() if query_id not in refused],
        answers=prompts,
        quarantine=[bad(prompt_id, "refusal") for prompt_id in refused],
    )
    mined = artifact(tmp_path, "mine", quarantine=[bad(query_id, "far") for query_id in far])
    most, refusal = data.dropped({"generate": generated, "mine": mined})
    assert (most.stage, most.reason, dict(most.counts)) == ("mine", "far", {"claim": 2, "title": 2})
    assert most.shares == {"claim": pytest.approx(2 / 7), "title": pytest.approx(2 / 10)}
    assert (refusal.stage, refusal.reason, dict(refusal.counts)) == ("generate", "refusal", {"claim": 3})
    assert refusal.shares == {"claim": pytest.approx(3 / 10)}


def test_dropped_without_a_model_is_a_share_of_documents(tmp_path):
    generated = artifact(tmp_path, "generate", 50, queries=[query("d1~0", "t")], quarantine=[bad("d2", "no query")])
    (drop,) = data.dropped({"generate": generated})
    assert (dict(drop.counts), drop.shares) == ({"no kind": 1}, {"no kind": 1 / 50})


def test_what_asking_took(tmp_path):
    answers = [
        answer("a", {"kind": "claim"}, (100, 10), cut=2),
        answer("b", {"kind": "claim"}, (300, 50), finish="length"),
        answer("c", {"kind": "title"}, (40, 4)),
    ]
    judged = [answer("d", {}, (7, 1))]
    generated, labels = artifact(tmp_path, "generate", answers=answers), artifact(tmp_path, "label", answers=judged)
    assert data.asked({"generate": generated, "label": labels}) == [
        data.PromptStats("generate", "claim", 2, 200.0, 30.0, 0.5, 0.5),
        data.PromptStats("generate", "title", 1, 40.0, 4.0, 0.0, 0.0),
        data.PromptStats("label", "", 1, 7.0, 1.0, 0.0, 0.0),
    ]
    assert data.asked({"generate": artifact(tmp_path, "generate")}) == []


def test_grades_of_training_lists(tmp_path):
    lists = {"g1": ("a", [0.0, 0.04, 1.0]), "g2": ("b", [0.52, None]), "g3": ("a", [0.52]), "g4": (None, [])}
    groups = [
        {
            "query_id": query_id, "split": "train", "source_doc_id": None, "kind": kind,
            "doc_ids": ["d"] * len(grades), "grades": grades, "scores": grades,
            "positives": [False] * len(grades), "relevant_doc_ids": [],
        }
        for query_id, (kind, grades) in lists.items()
    ]  # fmt: skip
    found = data.grades(artifact(tmp_path, "select", groups=groups))
    assert list(found) == ["a", "b", "no kind"]
    assert {kind: {n: count for n, count in enumerate(bins) if count} for kind, bins in found.items()} == {
        "a": {0: 2, 10: 1, 19: 1},
        "b": {10: 1},
        "no kind": {},
    }
    assert {len(bins) for bins in found.values()} == {20}


def wide(plot: str) -> str:
    """The first of a plot's two drawings."""
    return plot.partition("</svg>")[0]


def heights(svg: str) -> list[float]:
    """Of a plot's bars, the highest being 1."""
    bars = re.findall(r'<path d="M \S+ (\S+) \nL \S+ \S+ \nL \S+ (\S+) [^>]*fill: var\(--plot-base', wide(svg))
    sizes = [abs(float(top) - float(bottom)) for bottom, top in bars]
    return [round(size / max(sizes), 3) for size in sizes]


def test_bars_are_shares_of_their_panel():
    # 1% is longer than 47 words: bars of 2 words, the last with all that are longer.
    svg = lengths_plot({"a": {0: 48, 1: 50, 6: 49, 47: 51, 900: 1}, "b": {47: 1}}, "query lengths")
    a, b = heights(svg)[:24], heights(svg)[24:]
    assert a == [round(98 / 199, 3), 0, 0, round(49 / 199, 3), *[0] * 19, round(52 / 199, 3)]
    assert b == [*[0] * 23, 1]
    bins = [0] * 20
    bins[3], bins[19] = 2, 8
    assert heights(grades_plot({"a": bins})) == [0, 0, 0, 0.25, *[0] * 15, 1]


def test_plots_have_a_panel_each_and_take_any_name():
    svg = lengths_plot({"<a> & $b$": {3: 2, 700: 1}, "other": {1: 1}}, "query lengths")
    assert "&lt;a&gt; &amp; $b$ (3)" in svg
    assert "other (1)" in svg
    assert "<title>other, words from 0 to 30: 1 (100.0%)</title>" in svg
    assert wide(grades_plot({"a": [0] * 20, "b": [1] * 20})).count(">grade<") == 2
    assert (lengths_plot({}, "query lengths"), grades_plot({})) == ("", "")
