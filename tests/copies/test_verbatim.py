"""Verbatim copies: which are removed from rankings, and which are relevant together."""

import random

import pyarrow as pa
import pytest

from gradret.copies.verbatim import SPARE, Originals, families, verbatim

from ..stages import tiny


def copies(pairs):
    return [{"doc_id": doc_id, "kept_doc_id": kept, "reason": "equal"} for doc_id, kept in sorted(pairs.items())]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("In 2019, 5%", "in  2019,\n5%"),
        ("The end.", "The end"),
        ("ﬁne", "fine"),
        ("Is it?", "is it"),
        ("今天很好。", "今天很好"),
        ("好吗？", "好吗"),
        ("दूध ताज़ा है।", "दूध ताज़ा है"),
        ("أين البحر؟", "أين البحر"),
    ],
)
def test_the_same_words(one, other):
    assert verbatim(one) == verbatim(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("In 2019", "In 2020"), ("C", "C++"), ("a-b", "a b"), ("5", "-5"), ("1.5", "15"), ("naïve", "naive"), ("a", "")],
)
def test_other_words(one, other):
    assert verbatim(one) != verbatim(other)
    assert verbatim(one) not in verbatim(other)


def test_a_ranking_without_copies(tmp_path):
    deduped = tiny.artifact(tmp_path, "dedupe", {"copies": [copies({"b": "a", "d": "a"})]})
    originals = Originals(deduped)
    assert originals.first(["b", "c", "d", "a", "e"], 2) == ["c", "a"]
    assert originals.depth(20) == 22
    assert Originals(None).first(["b", "a"], 5) == ["b", "a"]
    assert Originals(None).depth(20) == 20
    many = tiny.artifact(tmp_path, "dedupe", {"copies": [copies({f"x{n:03d}": "a" for n in range(300)})]})
    assert Originals(many).depth(20) == 20 + SPARE == 100  # as Tamber et al. search


def test_families_are_all_documents_of_one_text():
    draw = random.Random(0)
    for _ in range(30):
        root = {f"d{n:02d}": f"d{draw.randrange(6):02d}" for n in range(6, 20)}
        rows = {doc_id: kept for doc_id, kept in root.items() if draw.random() < 0.7}
        table = pa.Table.from_pylist(copies(rows)).select(["doc_id", "kept_doc_id"])
        asked = sorted(draw.sample([f"d{n:02d}" for n in range(20)], 9))
        found = families(table, pa.chunked_array([asked[:4], asked[4:]], pa.string()))
        for doc_id in asked:
            mine = rows.get(doc_id, doc_id)
            want = {mine} | {other for other, kept in rows.items() if kept == mine}
            assert set(found.get(doc_id, [doc_id])) == want
