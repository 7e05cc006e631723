"""Copies and leaks in the report, against counts by hand."""

from __future__ import annotations

import random
import re
from pathlib import Path

from gradret.report.copies import Copy, copies, leaks
from gradret.report.run import report

from ..stages import tiny
from .test_page import config, section, tables

REASONS = ["equal"] * 7 + ["contained"] * 2 + ["near"] * 4


def duplicates(number: int) -> dict[str, str]:
    return {"doc_id": f"d{number:03d}", "kept_doc_id": f"d{number + 50:03d}", "reason": REASONS[number]}


def test_copies_by_reason_with_the_first_of_each(tmp_path: Path) -> None:
    rows = [duplicates(number) for number in range(13)]
    random.Random(0).shuffle(rows)
    deduped = tiny.artifact(
        tmp_path, "dedupe", {"duplicates": [rows[:5], rows[5:6], rows[6:]]}, rows_in=100, too_short=2
    )
    found = copies(deduped)
    assert (found.documents, found.too_short) == (100, 2)
    assert list(found.counts.items()) == [("equal", 7), ("near", 4), ("contained", 2)]
    for reason, shown in found.examples.items():
        mine = [Copy(row["doc_id"], row["kept_doc_id"]) for row in rows if row["reason"] == reason]
        assert shown == mine[:3]


def test_the_section(tmp_path: Path) -> None:
    docs = [tiny.doc(number, f"Text <{number}>.", "Title" if number % 2 else None) for number in range(63)]
    ingested = tiny.artifact(tmp_path, "ingest", {"docs": [docs]}, rows_out=63)
    rows = [duplicates(number) for number in (0, 7, 1)]
    deduped = tiny.artifact(tmp_path, "dedupe", {"duplicates": [rows]}, rows_in=63, too_short=1)
    html = section(report(config(tmp_path), {"ingest": ingested, "dedupe": deduped}), "copies")
    (numbers,) = tables(html)
    assert numbers[1:] == [["equal", "2", "3.2%"], ["contained", "1", "1.6%"], ["too short", "1", "1.6%"]]
    shown = re.findall(r'<div class="query sides"><div>(.*?)</div><div>(.*?)</div></div>', html, re.DOTALL)
    assert [(" ".join(a.split()), " ".join(b.split())) for a, b in shown] == [
        ("Text &lt;0&gt;.", "Text &lt;50&gt;."),
        ("<b>Title</b> Text &lt;1&gt;.", "<b>Title</b> Text &lt;51&gt;."),
        ("<b>Title</b> Text &lt;7&gt;.", "<b>Title</b> Text &lt;57&gt;."),
    ]
    none = tiny.artifact(tmp_path, "dedupe", {}, rows_in=63)
    html = section(report(config(tmp_path), {"dedupe": none}), "copies")
    assert "None among 63 documents." in html


def test_leaks_are_counted_once_a_query_and_the_nearest_are_shown(tmp_path: Path) -> None:
    written = tiny.artifact(tmp_path, "generate", {"queries": [[tiny.query(n, f"training <{n}>") for n in range(6)]]})
    human = tiny.artifact(
        tmp_path, "queries", {"queries": [[tiny.query(n, f"test <{n}>", split="test") for n in range(6, 9)]]}
    )
    near = {(0, 6): 0.8125, (1, 6): 1.0, (1, 7): 0.875, (2, 8): 0.9375, (3, 8): 0.5}
    rows = [
        {"query_id": f"q{one:03d}", "test_query_id": f"q{other:03d}", "similarity": value}
        for (one, other), value in near.items()
    ]
    found = tiny.artifact(tmp_path, "leaks", {"leaks": [rows]})
    counted = leaks(found, written, human)
    assert counted.queries == 4
    assert [(one.text, one.test_text, one.similarity) for one in counted.examples] == [
        ("training <1>", "test <6>", 1.0),
        ("training <2>", "test <8>", 0.9375),
        ("training <1>", "test <7>", 0.875),
    ]
    deduped = tiny.artifact(tmp_path, "dedupe", {}, rows_in=9)
    made = {"dedupe": deduped, "leaks": found, "generate": written, "queries": human}
    html = section(report(config(tmp_path), made), "copies")
    assert "4 dropped." in html
    assert "training &lt;2&gt;</div><div>test &lt;8&gt; <small>test query, similarity 0.94</small>" in html
    made["leaks"] = tiny.artifact(tmp_path, "leaks", {"leaks": [[]]})
    assert "<p>None.</p>" in section(report(config(tmp_path), made), "copies")
