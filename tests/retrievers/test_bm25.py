"""BM25 over shards: textbook scores, a fixed order, and no document without a common word."""

import math
import random
from collections import Counter

import bm25s
import numpy as np
import pytest
from bm25s.tokenization import Tokenized

from gradret.datasets.pydocs import Pydocs
from gradret.errors import DataError
from gradret.retrievers.bm25 import Bm25
from gradret.search.bm25 import Bm25Index, build_bm25
from tests.stages import tiny

pytestmark = pytest.mark.usefixtures("ray_session")

K1, B = 1.2, 0.75


@pytest.fixture(scope="module")
def texts():
    """By doc_id, whose order is not that of the shards; some are alike, one is empty, one has but a letter."""
    draw = random.Random(0)
    names = [f"d{number}" for number in range(60)]
    draw.shuffle(names)
    written = [tiny.sentence(draw, draw.randint(3, 30)) for _ in range(46)]
    return dict(zip(names, [*written, *(["bal dim kun"] * 12), "", "x"], strict=True))


def built(settings, tmp_path, texts, shards=1, language="none"):
    rows = [{"doc_id": doc_id, "title": None, "text": text, "origin": "corpus"} for doc_id, text in texts.items()]
    parts = [rows[number::shards] for number in range(shards)]
    config = settings(dataset=Pydocs(language=language))
    return build_bm25(config, tiny.artifact(tmp_path, "ingest", {"docs": [*parts, []]}), K1, B)


def by_hand(texts, query):
    """Lucene's BM25 of the documents that share a word, by doc_id, in float64."""
    words = {doc_id: [word for word in text.split() if len(word) > 1] for doc_id, text in texts.items()}
    mean = sum(map(len, words.values())) / len(words)
    holding = Counter(word for found in words.values() for word in set(found))
    scores = {}
    for doc_id, found in words.items():
        counts, norm = Counter(found), K1 * (1 - B + B * len(found) / mean)
        total = sum(
            math.log(1 + (len(words) - holding[word] + 0.5) / (holding[word] + 0.5))
            * counts[word]
            / (counts[word] + norm)
            for word in query.split()
        )
        if total:
            scores[doc_id] = total
    return scores


@pytest.mark.parametrize("shards", [1, 3])
def test_scores_and_order_are_those_of_the_textbook(settings, tmp_path, texts, shards):
    index = Bm25Index(built(settings, tmp_path, texts, shards))
    draw = random.Random(1)
    queries = [tiny.sentence(draw, draw.randint(1, 5)) for _ in range(30)] + ["bal", "bal bal dim", "dim kun bal"]
    stored = index.doc_ids.to_pylist()
    assert sorted(stored) == sorted(texts)
    for query, (doc_ids, scores) in zip(queries, index.search(queries, 10), strict=True):
        want, row = by_hand(texts, query), index.scores(query.split())
        assert {stored[place] for place in np.flatnonzero(row)} == set(want)
        np.testing.assert_allclose(row[row > 0], [want[doc_id] for doc_id in stored if doc_id in want], rtol=1e-5)
        parts = [index.scores(query.split(), start, min(start + 7, 60)) for start in range(0, 60, 7)]
        np.testing.assert_array_equal(np.concatenate(parts), row)
        # Equal texts have equal scores whatever is computed how; nothing else here comes nearer than 1e-5.
        order = sorted(want, key=lambda doc_id: (round(want[doc_id], 7), doc_id), reverse=True)
        assert doc_ids == order[:10]
        np.testing.assert_allclose(scores, [want[doc_id] for doc_id in doc_ids], rtol=1e-5)
    assert len(by_hand(texts, "bal")) > 12  # the cut at 10 goes through documents that tie


def test_shards_change_no_bit(settings, tmp_path, texts):
    one, three = (Bm25Index(built(settings, tmp_path / str(n), texts, n)) for n in (1, 3))
    for text in texts.values():
        first, other = (by_id(index, index.scores(text.split())) for index in (one, three))
        assert first == other
    assert one.idf() == three.idf()


def by_id(index, scores):
    return dict(zip(index.doc_ids.to_pylist(), scores.tolist(), strict=True))


def test_the_index_is_that_of_bm25s(settings, tmp_path, texts):
    """bm25s builds it from all documents in memory; here shards are counted apart and written one by one."""
    index = Bm25Index(built(settings, tmp_path, texts, shards=3))
    words = [[word for word in texts[doc_id].split() if len(word) > 1] for doc_id in index.doc_ids.to_pylist()]
    number = {word: row for row, word in enumerate(sorted({word for text in words for word in text}))}
    whole = bm25s.BM25(method="lucene", k1=K1, b=B)
    ids = [[number[word] for word in text] for text in words]
    whole.index(Tokenized(ids, dict(number)), create_empty_token=False, show_progress=False)
    assert index.index.vocab_dict == number
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(index.index.scores[name], whole.scores[name])
    for query in ("bal", "bal bal dim", "dim kun bal"):
        np.testing.assert_array_equal(index.scores(query.split()), whole.get_scores(query.split()))


def test_idf(settings, tmp_path, texts):
    index = Bm25Index(built(settings, tmp_path, texts))
    holding = Counter(word for text in texts.values() for word in set(text.split()) - {"x"})
    want = {word: math.log(1 + (60 - count + 0.5) / (count + 0.5)) for word, count in holding.items()}
    assert index.idf() == pytest.approx(want)


def test_workers_map_one_copy(settings, tmp_path, texts):
    index = Bm25Index(built(settings, tmp_path, texts))
    assert all(isinstance(index.index.scores[name], np.memmap) for name in ("data", "indices", "indptr"))


def test_queries_that_share_no_word_find_nothing(settings, tmp_path, texts):
    artifact = built(settings, tmp_path, texts)
    rows = [{"query_id": str(n), "text": text} for n, text in enumerate(["", "x", "unheard", "bal"])]
    found = Bm25(k=3).load({"bm25": artifact}, 0)(rows)
    assert found[:3] == [[], [], []]
    assert [rank for _, rank in found[3]] == [1, 2, 3]
    assert Bm25Index(artifact).scores([]).tolist() == [0] * 60


def test_titles_are_read_and_words_are_stemmed(settings, tmp_path):
    docs = [tiny.doc(0, "about wings", "Buckling"), tiny.doc(1, "a shell buckles"), tiny.doc(2, "wing")]
    index = Bm25Index(build_bm25(settings(), tiny.artifact(tmp_path, "ingest", {"docs": [docs]}), K1, B))
    assert [sorted(doc_ids) for doc_ids, _ in index.search(["buckled", "winged"], 5)] == [
        ["d000", "d001"],
        ["d000", "d002"],
    ]


def test_a_corpus_without_a_word(settings, tmp_path):
    with pytest.raises(DataError, match="no document has a word"):
        built(settings, tmp_path, {"a": "", "b": "the", "c": "x"}, language="english")


def test_what_it_is_asked_for():
    with pytest.raises(ValueError, match=r"k: must be at least 1"):
        Bm25(k=0)
