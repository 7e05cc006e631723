"""Each filter, on texts that imitate what small models write and on texts that only look so."""

import random

import pytest

from gradret.errors import ConfigError
from gradret.generators._filters import Filters, Query

PROMPT = """You help to build a search engine.
- It has fewer than 20 words and is in the language of the document.

Write a question that the document answers. Ask for what a reader would most want to learn from it.

Example 1, about another document: Bread goes stale fastest in the refrigerator.
Answer 1: How should bread be stored so that it stays fresh?
Answer 2: patent law
"""
DOCUMENT = (
    "Thin shells buckle under axial load long before their material yields. The load depends on dents of the wall."
)


def query(text, doc_id="d1", kind="search", document=DOCUMENT):
    return Query(f"{doc_id}~{kind}", text, kind, doc_id, document)


def faults(*queries, **settings):
    return Filters(**settings).query_faults(queries)


@pytest.mark.parametrize(
    "line",
    [
        "Write a question that the document answers.",
        "What a question that the document answers?",
        "A question that the document answers about shells",
        "What has fewer than 20 words and is in the language of the document?",
        "How should bread be stored so that it stays fresh?",
        "How should the bread be stored so that it stays fresh",
        "Bread goes stale fastest in the fridge",
        "Answer 2: Patent law.",
    ],
)
def test_a_copy_of_the_prompt_is_found_despite_small_edits(line):
    assert Filters().answer_fault(line, PROMPT, "") == "copy of the prompt"


@pytest.mark.parametrize(
    "line",
    [
        "How should thin shells be stored?",
        "What is the question that buckling theory answers?",
        "which patent law covers bread",
        "In the language of engineers, a thin shell yields at its edge",
        "薄い殻はなぜ座屈するのか",
    ],
)
def test_words_in_common_with_the_prompt_are_no_copy(line):
    assert Filters().answer_fault(line, PROMPT, "") == ""


def test_thresholds_of_answers():
    edited = "A question that the document answers about shells"
    assert Filters(prompt=0.7).answer_fault(edited, PROMPT, "") == "copy of the prompt"
    assert Filters(prompt=0.9, mention=False).answer_fault(edited, PROMPT, "") == ""
    assert (
        Filters(prompt=0, mention=False).answer_fault("Write a question that the document answers.", PROMPT, "") == ""
    )
    assert Filters().answer_fault("Shells buckle.", PROMPT, "question") == "not a question"
    assert Filters(form=False).answer_fault("Shells buckle.", PROMPT, "question") == ""
    assert Filters().answer_fault("why the article praises shells", PROMPT, "") == "mentions the document"
    assert Filters(mention=False).answer_fault("why the article praises shells", PROMPT, "") == ""


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("thin shells buckle under axial load", "copied from the document"),
        ("Why thin shells buckle under axial load!", "copied from the document"),
        ("buckling of thin shells under axial load", ""),
        ("thin shells buckle", ""),
        ("how do heat pumps work", "not about the document"),
        ("everything everyday words", "not about the document"),
        ("the load of a snow roof", ""),
        ("warum knickt die Schale und der Stab", "another language than the document"),
        ("薄い殻はなぜ座屈するのか", "another language than the document"),
    ],
)
def test_a_query_is_held_against_its_document(text, fault):
    assert faults(query(text)) == ({"d1~search": fault} if fault else {})


def test_thresholds_of_documents():
    copy, foreign = query(DOCUMENT), query("warum knickt die Schale")
    assert faults(copy, document=0) == faults(foreign, language=False, topic=0) == {}
    assert faults(query("the load of a heavy snow roof"), topic=0.3) == {"d1~search": "not about the document"}
    assert faults(query(DOCUMENT, kind="title")) == {}
    assert faults(query(DOCUMENT, kind="title"), extractive=[]) == {"d1~title": "copied from the document"}
    assert faults(query("so thin shells buckle under axial load as we know"), document=0.6)


@pytest.mark.parametrize(
    ("first", "second", "near"),
    [
        ("why do thin shells buckle", "Why do thin shells buckle?", True),
        ("buckling of a thin shell under load", "buckling of thin shells under load", True),
        ("why do thin shells buckle", "what load makes a shell buckle", False),
        ("薄い殻はなぜ座屈するのか", "薄い殻はなぜ座屈するのか？", True),
        ("薄い殻はなぜ座屈するのか", "軸荷重による薄肉円筒の座屈", False),
    ],
)
def test_near_duplicates_of_a_document_keep_the_first(first, second, near):
    rows = query(first, kind="question"), query(second, kind="search")
    settings = {"language": False, "document": 0, "topic": 0, "similar": 0.6}
    assert faults(*rows, **settings) == ({"d1~search": "near-duplicate of another kind"} if near else {})
    assert faults(*rows, **settings | {"similar": 0}) == {}


def test_the_same_query_for_several_documents_says_nothing():
    rows = [
        query(text, doc_id)
        for doc_id, text in zip(
            "abcd",
            ["main idea of the page", "The main idea of the page", "Main idea of the page!", "shells"],
            strict=True,
        )
    ]
    found = dict.fromkeys(("a~search", "b~search", "c~search"), "same query for several documents")
    assert faults(*rows, similar=0.6, topic=0) == found
    assert faults(*rows, similar=0.6, topic=0, documents=4) == faults(*rows, similar=0.6, topic=0, documents=0) == {}
    # Two notes about one thing may well have the same query.
    assert faults(*rows[:2], rows[3], similar=0.6, topic=0) == {}


def test_duplicates_are_those_of_a_slow_comparison():
    def grams(text):
        return {f" {word} "[at : at + 4] for word in text.split() for at in range(max(1, len(word) - 1))}

    def near(one, other):
        left, right = grams(one.text), grams(other.text)
        return len(left & right) >= 0.7 * len(left | right)

    seen = set()
    for seed in range(20):
        draw = random.Random(seed)
        texts = [" ".join(draw.choices(["wing", "plate", "heat", "shell", "gas"], k=3)) for _ in range(30)]
        rows = [query(text, f"d{number // 3}", f"k{number % 3}") for number, text in enumerate(texts)]
        expected, kept = {}, []
        for row in rows:
            same = [other for other in rows if near(row, other)]
            if len({other.doc_id for other in same}) >= 4:
                expected[row.query_id] = "same query for several documents"
            elif any(other.doc_id == row.doc_id for other in kept if other in same):
                expected[row.query_id] = "near-duplicate of another kind"
            else:
                kept.append(row)
        assert faults(*rows, similar=0.7, documents=4, document=0, language=False, topic=0) == expected
        seen |= set(expected.values())
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"prompt": 1.1}, "prompt"),
        ({"document": -1}, "document"),
        ({"similar": 2}, "similar"),
        ({"documents": 1}, "documents"),
        ({"documents": -1}, "documents"),
    ],
)
def test_settings_out_of_range_are_refused(settings, says):
    with pytest.raises(ConfigError, match=rf" {says}: must be"):
        Filters(**settings)
