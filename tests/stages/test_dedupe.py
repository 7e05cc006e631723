"""Copies against a slow statement of the rule; what is sampled does not depend on how documents come."""

import random

import pyarrow as pa
import pytest

from gradret import artifacts, contracts
from gradret.errors import DataError
from gradret.stages.dedupe import copies, dedupe, normalise


def slow(texts, window):
    """The rule, one sentence a statement."""
    kept = {}
    for text in set(texts.values()):
        kept[text] = min(doc_id for doc_id in texts if texts[doc_id] == text)
    holder = {doc_id: kept[text] for doc_id, text in texts.items() if kept[text] != doc_id}
    for key in (lambda text: text, lambda text: text[::-1]):
        order = sorted(kept, key=key)
        contained = {}
        for place, text in enumerate(order):
            for longer in order[place + 1 : place + 1 + window]:
                if text in longer:
                    contained[text] = longer
                    break
        for text, longer in contained.items():
            holder[kept[text]] = kept[longer]
        kept = {text: doc_id for text, doc_id in kept.items() if text not in contained}

    def end(doc_id):
        return end(holder[doc_id]) if doc_id in holder else doc_id

    return {doc_id: end(doc_id) for doc_id in holder}


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("window", [0, 1, 3, 9])
def test_copies_are_those_of_the_slow_rule(seed, window):
    draw = random.Random(f"{seed} {window}")
    texts = {f"d{n}": "".join(draw.choices("ab ", k=draw.randint(1, 6))) for n in range(draw.randint(1, 25))}
    found = copies(texts, window)
    assert found == slow(texts, window)
    assert not set(found.values()) & set(found)
    assert all(texts[doc_id] in texts[kept] for doc_id, kept in found.items())
    shuffled = dict(draw.sample(sorted(texts.items()), len(texts)))
    assert copies(shuffled, window) == found


def test_of_equal_texts_the_smallest_id_stays():
    assert copies({"c": "x", "a": "x", "b": "x"}, 9) == {"b": "a", "c": "a"}


def test_chains_end_at_a_document_that_is_kept():
    assert copies({"1": "a", "2": "ab", "3": "abc", "4": "ab"}, 1) == {"1": "3", "2": "3", "4": "3"}


def test_the_beginning_and_the_end_of_a_text_are_found_and_its_middle_is_not():
    texts = {"all": "one two three", "head": "one two", "tail": "two three", "middle": "two"}
    assert copies(texts, 9) == {"head": "all", "tail": "all", "middle": "all"}
    assert copies({"all": "one two three", "middle": "wo t"}, 9) == {}


def test_the_second_pass_sees_only_what_the_first_kept():
    # Backwards "ba" would come right after "b", but p went in the first pass, so "xk" does, which holds no b.
    texts = {"p": "ab", "q": "abzz", "r": "b", "t": "kx"}
    assert copies(texts, 1) == {"p": "q"}


def test_equal_copies_do_not_use_up_the_window():
    assert copies({str(n): "ab" for n in range(20)} | {"long": "abc"}, 1)["0"] == "long"


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  Two  WORDS, 3 numbers_4!  ", "two words numbers"),
        ("Caf\u00e9 na\u00efve \ufb01ne", "cafe naive fine"),
        ("Cafe\u0301", "cafe"),
        ("\u00bd \u2460 \u4e2d\u6587 \u0394", "\u4e2d\u6587 \u03b4"),
        ("", ""),
        ("12:30 -- 99%", ""),
        ("a" * 3000, "a" * 2048),
    ],
)
def test_normalise(text, normal):
    assert normalise(text) == normal


@pytest.fixture
def ingested(tmp_path):
    """DOCS of texts by id, in shards of a size."""

    def make(texts, size=100, order=sorted):
        rows = [{"doc_id": doc_id, "title": None, "text": texts[doc_id], "origin": "corpus"} for doc_id in order(texts)]

        def _body(draft):
            for number, shard in enumerate(batched(rows, size)):
                draft.write("docs", pa.Table.from_pylist(shard, contracts.schema("docs")), number)

        storage = str(tmp_path / "storage")
        settings = {"rows": rows, "size": size}
        return artifacts.make("ingest", storage, module="gradret.text", settings=settings, inputs={}, body=_body)

    return make


def batched(rows, size):
    return [rows[start : start + size] for start in range(0, len(rows), size)]


TEXTS = {f"d{n:02}": f"a document about {'abcdefghijklmnopqrstuvwxyz'[n]}" for n in range(20)}
TEXTS |= {"x1": TEXTS["d00"].upper(), "x2": "about c", "short": "no 1234567890"}


def ids(made, table, column="doc_id"):
    return made.table(table)[column].to_pylist()


def test_sample_duplicates_and_counts(config, ingested):
    made = dedupe(config("x", dedupe={"min_chars": 7}), ingested(TEXTS))
    assert ids(made, "sample") == [f"d{n:02}" for n in range(20)]
    assert made.table("duplicates").to_pylist() == [
        {"doc_id": "x1", "kept_doc_id": "d00"},
        {"doc_id": "x2", "kept_doc_id": "d02"},
    ]
    assert made.counts == {"rows_in": 23, "sampled": 20, "copies": 2, "too_short": 1, "not_drawn": 0}


def test_order_and_sharding_do_not_matter(config, ingested):
    several = [
        dedupe(config("x", dedupe={"max_docs": 7}), ingested(TEXTS, size, order))
        for size, order in [(100, sorted), (3, sorted), (5, lambda texts: sorted(texts, reverse=True))]
    ]
    assert len({made.path for made in several}) == 3
    for table in ("sample", "duplicates"):
        assert several[0].table(table) == several[1].table(table) == several[2].table(table)


def test_a_smaller_sample_is_part_of_a_larger_and_another_seed_draws_another(config, ingested):
    docs = ingested(TEXTS)
    samples = {
        key: set(ids(dedupe(config("x", seed=key[0], dedupe={"max_docs": key[1]}), docs), "sample"))
        for key in [(0, 5), (0, 10), (1, 10)]
    }
    assert len(samples[0, 5]) == 5
    assert samples[0, 5] < samples[0, 10] != samples[1, 10]


def test_nothing_is_long_enough(config, ingested):
    with pytest.raises(DataError, match="none of the 23 documents has 1000 letters"):
        dedupe(config("x", dedupe={"min_chars": 1000}), ingested(TEXTS))


def test_a_corpus_without_copies_has_an_empty_table(config, ingested):
    made = dedupe(config("x"), ingested({"a": "some words here", "b": "other words there"}))
    assert made.table("duplicates").num_rows == 0
