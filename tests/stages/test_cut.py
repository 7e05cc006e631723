"""Passages against the words of their documents, their ids, and how deep to search for documents."""

import itertools
import random
import re
from dataclasses import replace

import pytest

from gradret.config.run import Passages, Search
from gradret.errors import ConfigError
from gradret.passage_ids import document_id, document_ids, passage_ids
from gradret.stages.cut import cut, cut_text, deep, to_passages
from gradret.store.contracts import schema

from . import tiny


def test_a_short_text_is_unchanged():
    assert cut_text("One  two\n\nthree. ", 3, 1) == ["One  two\n\nthree. "]
    assert cut_text("", 3, 1) == [""]


def test_passages_end_with_sentences_that_are_near():
    text = "One two three. Four five six seven. Eight nine ten eleven twelve.\n\nThirteen fourteen fifteen sixteen."
    assert cut_text(text, 5, 0) == [
        "One two three.",
        "Four five six seven.",
        "Eight nine ten eleven twelve.",
        "Thirteen fourteen fifteen sixteen.",
    ]
    assert cut_text("a b c d e f g. h i j", 4, 0) == ["a b c d", "e f g.", "h i j"]


def test_letters_of_a_script_without_spaces_are_words():
    assert cut_text("你好世界。这是测试。", 5, 0) == ["你好世界。", "这是测试。"]
    assert cut_text("你好世界你好世界", 4, 2) == ["你好世界", "世界你好", "你好世界"]


@pytest.mark.parametrize("seed", range(200))
def test_passages_hold_every_word_once_and_repeat_the_overlap(seed):
    draw = random.Random(seed)
    words = [draw.choice(["a", "bb.", "c!", "dé", "(e)"]) for _ in range(draw.randint(1, 80))]
    text = "".join(word + draw.choice([" ", "\n\n", "  ", "\t"]) for word in words)
    size = draw.randint(1, 12)
    overlap = draw.randint(0, size // 2)
    passages = cut_text(text, size, overlap)
    assert all(passage in text for passage in passages)
    parts = [passage.split() for passage in passages]
    assert all(1 <= len(part) <= size for part in parts)
    assert parts[0] + [word for part in parts[1:] for word in part[overlap:]] == words
    for one, other in itertools.pairwise(parts):
        assert one[len(one) - overlap :] == other[:overlap]
    if not overlap and not re.search(r"[.!]", text):
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_ids_name_their_document_whatever_it_contains():
    import pyarrow as pa

    docs = ["d", "d#0", "d#", "#", "d#1#x", "~", "a b#3"]
    ids = [(passage_id, doc) for doc in docs for passage_id in passage_ids(doc, 12)]
    assert len({passage_id for passage_id, _ in ids}) == 12 * len(docs)
    assert [document_id(passage_id) for passage_id, _ in ids] == [doc for _, doc in ids]
    column = pa.chunked_array([[passage_id for passage_id, _ in ids]])
    assert document_ids(column).to_pylist() == [doc for _, doc in ids]
    assert document_id("generated~d#0~1") == "generated~d#0~1"


def test_the_overlap_is_at_most_half():
    with pytest.raises(ConfigError, match=r"overlap: must be from 0 to half of passages.size=10, got 6"):
        Passages(size=10, overlap=6)
    with pytest.raises(ConfigError, match="got 1"):
        Passages(overlap=1)


def test_smaller_vectors_are_compared_on_whole_documents_only(settings):
    with pytest.raises(ConfigError, match=r"search.smaller: compares rankings of whole documents, but passages.size"):
        settings(passages=Passages(size=10), search=Search(smaller=("32",)))


@pytest.fixture
def documents(tmp_path):
    """Documents of 1, 5 and 12 words, in two shards."""
    texts = ["one", "a b c d e", "k l m n o p q r s t u v"]
    docs = [tiny.doc(number, text, "Title" if number else None) for number, text in enumerate(texts)]
    return tiny.artifact(tmp_path, "ingest", {"docs": [docs[:2], docs[2:]]}, rows_out=3)


def test_documents_that_are_not_cut_are_the_ingested_ones(settings, documents):
    assert cut(settings(), documents) is documents
    config = settings()
    assert deep(config, documents) is config


@pytest.mark.usefixtures("ray_session")
def test_passages_keep_title_and_counts_reconcile(settings, documents):
    made = cut(settings(passages=Passages(size=4)), documents)
    rows = made.table("docs").to_pylist()
    assert [(row["doc_id"], row["title"], row["text"]) for row in rows] == [
        ("d000#0", None, "one"),
        ("d001#0", "Title", "a b c"),
        ("d001#1", "Title", "d e"),
        ("d002#0", "Title", "k l m n"),
        ("d002#1", "Title", "o p q r"),
        ("d002#2", "Title", "s t u v"),
    ]
    assert made.table("lengths").to_pylist() == [
        {"doc_id": "d000", "passages": 1},
        {"doc_id": "d001", "passages": 2},
        {"doc_id": "d002", "passages": 3},
    ]
    counts = {name: made.counts[name] for name in ("rows_in", "rows_out", "quarantined", "passages", "documents_cut")}
    assert counts == {"rows_in": 3, "rows_out": 6, "quarantined": 0, "passages": 6, "documents_cut": 2}


@pytest.mark.usefixtures("ray_session")
def test_a_search_is_deep_enough_for_k_documents(settings, documents):
    config = settings(passages=Passages(size=4))
    made = cut(config, documents)
    depths = [deep(replace(config, search=Search(k=k)), made).search.k for k in (1, 2, 3, 1000)]
    assert depths == [1, 4, 6, 6]  # 3 passages of the longest document hide none but the second
    long = cut(replace(config, passages=Passages(size=1)), documents)
    # The longest document's 12 passages could fill 10, and one is left out for its id.
    assert deep(replace(config, search=Search(k=1)), long).search.k == 1
    assert deep(replace(config, search=Search(k=2)), long).search.k == 13


@pytest.mark.usefixtures("ray_session")
def test_a_judgment_of_a_document_becomes_one_of_each_passage(settings, documents):
    import pyarrow as pa

    made = cut(settings(passages=Passages(size=4)), documents)
    judged = [("q1", "d002", 2), ("q1", "unknown", 1), ("q2", "d000", 1)]
    rows = [{"query_id": q, "doc_id": d, "relevance": r, "split": "train"} for q, d, r in judged]
    found = to_passages(made, pa.Table.from_pylist(rows, schema("qrels"))).to_pylist()
    assert [(row["query_id"], row["doc_id"], row["relevance"]) for row in found] == [
        ("q1", "d002#0", 2),
        ("q1", "d002#1", 2),
        ("q1", "d002#2", 2),
        ("q2", "d000#0", 1),
    ]
