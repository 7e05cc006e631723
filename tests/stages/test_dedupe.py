"""Copies against slow implementations of the rules; results do not depend on sharding or partitions."""

import hashlib
import itertools
import random

import pyarrow as pa
import pytest

from gradret.copies import contained as containment
from gradret.copies import minhash
from gradret.copies.contained import contained
from gradret.copies.minhash import shingles
from gradret.errors import DataError
from gradret.stages.dedupe import dedupe
from gradret.store import artifacts, contracts
from gradret.text import normalise

pytestmark = pytest.mark.usefixtures("ray_session")


def slow(texts, window):
    """The rule, one sentence a statement."""
    kept, reasons = {}, {}
    for text in set(texts.values()):
        kept[text] = min(doc_id for doc_id in texts if texts[doc_id] == text)
    holder = {doc_id: kept[text] for doc_id, text in texts.items() if kept[text] != doc_id}
    reasons = dict.fromkeys(holder, "equal")
    for key in (lambda text: text, lambda text: text[::-1]):
        held = slowly_contained(sorted(kept, key=key), window, key)
        for text, longer in held.items():
            holder[kept[text]], reasons[kept[text]] = kept[longer], "contained"
        kept = {text: doc_id for text, doc_id in kept.items() if text not in held}

    def end(doc_id):
        return end(holder[doc_id]) if doc_id in holder else doc_id

    return {doc_id: (end(doc_id), reasons[doc_id]) for doc_id in holder}


def slowly_contained(order, window, key):
    held = {}
    for place, text in enumerate(order):
        for longer in order[place + 1 : place + 1 + window]:
            if key(text)[:2048] in key(longer)[:2048] and text in longer:
                held[text] = longer
                break
    return held


def some_texts(draw, number):
    """Texts of few letters, so that many hold each other, and some long ones with beginnings and ends in common."""
    texts = ["".join(draw.choices("ab", k=draw.randint(1, 7))) for _ in range(number)]
    long = ["".join(draw.choices("ab", k=2100)) for _ in range(2)]
    texts += [draw.choice(long) + "".join(draw.choices("ab", k=draw.randint(0, 3))) for _ in range(number // 4)]
    texts += ["".join(draw.choices("ab", k=draw.randint(0, 3))) + draw.choice(long) for _ in range(number // 4)]
    draw.shuffle(texts)
    return {f"d{number:03}": text for number, text in enumerate(texts)}


def found(made):
    rows = made.table("duplicates").to_pylist()
    return {row["doc_id"]: (row["kept_doc_id"], row["reason"]) for row in rows}


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("window", [0, 1, 3, 9])
def test_a_text_is_looked_for_in_its_next_neighbours_and_in_those_of_the_next_part(seed, window):
    draw = random.Random(f"{seed} {window}")
    order = sorted(set(some_texts(draw, 20).values()))
    part = draw.randint(0, len(order))
    wanted = slowly_contained(order, window, lambda text: text)
    held = [(order[place], order[other]) for place, other in contained(order[:part], order[part:], window)]
    assert held == [(text, wanted[text]) for text in order[:part] if text in wanted]


@pytest.mark.parametrize(
    ("seed", "window", "shard", "part_bytes", "actors"),
    [(1, 9, 1000, 1 << 20, 0), (2, 3, 7, 3000, 3), (3, 9, 20, 3000, 1), (4, 1, 50, 9000, 2), (5, 0, 30, 3000, 0)],
)
def test_copies_are_those_of_the_slow_rule(config, ingested, monkeypatch, seed, window, shard, part_bytes, actors):
    draw = random.Random(seed)
    texts = some_texts(draw, 60)
    monkeypatch.setattr(containment, "_PARTITION_BYTES", part_bytes)
    order = draw.choice([sorted, lambda texts: sorted(texts, reverse=True)])
    settings = {"min_chars": 1, "window": window, "resources": {"actors": actors}}
    made = dedupe(config("x", dedupe=settings), ingested(texts, shard, order))
    assert found(made) == slow(texts, window)
    assert set(ids(made, "sample")) == texts.keys() - found(made).keys()
    # Each text is one word here, so a copy with every character is an equal text.
    equal = {doc_id: min(other for other in texts if texts[other] == text) for doc_id, text in texts.items()}
    assert {row["doc_id"]: row["kept_doc_id"] for row in made.table("copies").to_pylist()} == {
        doc_id: first for doc_id, first in equal.items() if first != doc_id
    }


def test_every_text_a_part_of_its_own(config, ingested, monkeypatch):
    texts = {str(n): "a" * n + "b" for n in range(1, 8)} | {f"x{n}": "a" * n for n in range(1, 8)}
    monkeypatch.setattr(containment, "_PARTITION_BYTES", 1)
    made = dedupe(config("x", dedupe={"min_chars": 1, "window": 5}), ingested(texts, 4))
    assert found(made) == slow(texts, 5)
    assert found(made)["x1"] == ("7", "contained")


def test_of_equal_texts_the_smallest_id_stays(config, ingested):
    made = dedupe(config("x", dedupe={"min_chars": 1}), ingested({"c": "x", "a": "x", "b": "x"}, 1))
    assert found(made) == {"b": ("a", "equal"), "c": ("a", "equal")}


def test_chains_end_at_a_document_that_is_kept(config, ingested):
    # 4 equals 2, which 3 holds, which backwards 5 holds.
    texts = {"2": "b c", "4": "b c", "3": "b c d", "5": "a b c d"}
    made = dedupe(config("x", dedupe={"min_chars": 1, "window": 1}), ingested(texts, 2))
    assert {doc_id: kept for doc_id, (kept, _) in found(made).items()} == {"2": "5", "4": "5", "3": "5"}


def test_the_second_pass_sees_only_what_the_first_kept(config, ingested):
    # Backwards "ba" would come right after "b", but p went in the first pass, so "xk" does, which holds no b.
    texts = {"p": "ab", "q": "abzz", "r": "b", "t": "kx"}
    made = dedupe(config("x", dedupe={"min_chars": 1, "window": 1}), ingested(texts, 2))
    assert found(made) == {"p": ("q", "contained")}


def test_a_common_beginning_or_end_makes_no_copy_of_a_long_text(config, ingested):
    body = " ".join(itertools.islice(itertools.cycle(["lorem", "ipsum", "dolor", "amet"]), 800))
    texts = {"one": f"{body} one", "two": f"{body} two", "body": body, "x": f"x {body}", "y": f"y {body}"}
    made = dedupe(config("x"), ingested(texts))
    assert found(made) == {"body": ("one", "contained")}


FACTS = [
    ["In 2019 the council spent 237 thousand on the tram.", "In 2020 the council spent 967 thousand on the tram."],
    ["The iPhone 12 has a notch.", "The iPhone 15 has a notch."],
    ["See Section 12(3) of the act.", "See Section 14(1) of the act."],
    ["How to write a loop in C", "How to write a loop in C++", "How to write a loop in C#"],
    ["Release 1.2 fixes the parser", "Release 12 fixes the parser"],
    ["It rose by 5 percent", "It rose by 52 percent", "It rose by -5 percent"],
]


@pytest.mark.parametrize("texts", FACTS, ids=lambda texts: texts[0])
def test_other_facts_are_no_copies_though_the_rule_for_queries_takes_them_for_equal(config, ingested, texts):
    made = dedupe(config("x"), ingested({f"d{number}": text for number, text in enumerate(texts)}))
    assert ids(made, "sample") == ["d0"]
    assert ids(made, "duplicates") == [f"d{number}" for number in range(1, len(texts))]
    assert ids(made, "copies") == []


def test_copies_word_for_word_among_documents_that_the_rule_for_queries_takes_for_equal(config, ingested):
    texts = {
        "a": "In 2019 it cost 5 crowns.",
        "b": "In 2021 it cost 7 crowns.",
        "c": "in 2021  it cost 7 crowns",
        "d": "Note. In 2021 it cost 7 crowns.",
        "e": "In 2019 it cost 5 crowns!",
    }
    made = dedupe(config("x"), ingested(texts))
    assert ids(made, "sample") == ["d"]  # it holds the letters of all others
    assert {row["doc_id"]: row["kept_doc_id"] for row in made.table("copies").to_pylist()} == {
        "b": "d", "c": "d", "e": "a"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  Two  WORDS, 3 numbers_4!  ", "two words numbers"),
        ("Caf\u00e9 na\u00efve \ufb01ne", "cafe naive fine"),
        ("Cafe\u0301", "cafe"),
        ("\u00bd \u2460 \u4e2d\u6587 \u0394", "\u4e2d\u6587 \u03b4"),
        ("", ""),
        ("12:30 -- 99%", ""),
        ("a" * 3000, "a" * 3000),
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
        {"doc_id": "x1", "kept_doc_id": "d00", "reason": "equal"},
        {"doc_id": "x2", "kept_doc_id": "d02", "reason": "contained"},
    ]
    assert made.counts == {
        "rows_in": 23,
        "sampled": 20,
        "not_drawn": 0,
        "too_short": 1,
        "copies": 2,
        "verbatim": 2,
        "equal": 1,
        "contained": 1,
        "near": 0,
    }


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
    with pytest.raises(DataError, match=r"none of the 23 documents has dedupe\.min_chars=1000"):
        dedupe(config("x", dedupe={"min_chars": 1000}), ingested(TEXTS))


def test_a_corpus_without_copies_has_an_empty_table(config, ingested):
    made = dedupe(config("x"), ingested({"a": "some words here", "b": "other words there"}))
    assert made.table("duplicates").num_rows == 0


def test_the_sample_is_drawn_by_a_hash_of_seed_and_id(config, ingested):
    made = dedupe(config("x", seed=3, dedupe={"max_docs": 4, "window": 0}), ingested(TEXTS))
    kept = [doc_id for doc_id in TEXTS if doc_id not in {"x1", "short"}]
    kept.sort(key=lambda doc_id: hashlib.sha256(f"3:{doc_id}".encode()).hexdigest())
    assert ids(made, "sample") == sorted(kept[:4])


def test_a_run_that_stops_before_every_step_comes_to_the_same_result(config, ingested, monkeypatch):
    texts = some_texts(random.Random(0), 30)
    docs, settings = ingested(texts, 20), {"min_chars": 1, "near": 0.8}
    monkeypatch.setattr(containment, "_PARTITION_BYTES", 10_000)
    whole = dedupe(config("x", storage=docs.path / "elsewhere", dedupe=settings), docs)
    begun, run_step = [], containment.run_step

    def one_more(draft, name, *arguments):
        if name not in begun:
            begun.append(name)
            raise KeyboardInterrupt
        return run_step(draft, name, *arguments)

    monkeypatch.setattr(containment, "run_step", one_more)
    monkeypatch.setattr(minhash, "run_step", one_more)
    for _ in range(8):
        with pytest.raises(KeyboardInterrupt):
            dedupe(config("x", dedupe=settings), docs)
    resumed = dedupe(config("x", dedupe=settings), docs)
    assert len(begun) == 8
    assert found(resumed) == found(whole) == slow(texts, 9)
    assert resumed.counts == whole.counts
    assert not (resumed.path / "work").exists()


def jaccard(one, two):
    return len(one & two) / len(one | two)


def exactly_near(texts, threshold):
    """The smallest doc_id of each document's group, from all pairs at ``threshold`` or more."""
    group = {doc_id: doc_id for doc_id in texts}
    for one, two in itertools.combinations(sorted(texts), 2):
        if jaccard(five_words(texts[one]), five_words(texts[two])) >= threshold:
            low, high = sorted([group[one], group[two]])
            group = {doc_id: low if first == high else first for doc_id, first in group.items()}
    return {doc_id: (first, "near") for doc_id, first in group.items() if first != doc_id}


def five_words(text):
    words = text.split()
    return set(zip(*(words[start:] for start in range(5)), strict=False)) or {tuple(words)}


def near_texts(draw):
    """Documents of 80 words: families in which each differs from the one before by one word, and strangers."""
    texts, words = {}, [a + b + c for a in "bdfgkl" for b in "aiou" for c in "mnrst"]
    for family in range(12):
        words_now = draw.choices(words, k=80)
        for member in range(draw.randint(1, 7)):
            texts[f"{draw.randrange(10**6):06}-{family}-{member}"] = " ".join(words_now)
            words_now[draw.choice([0, 20, 40, 60, 79])] = "".join(draw.choices("vwxyz", k=9))
    return texts


@pytest.mark.parametrize(("seed", "part_bytes", "shard"), [(0, 1 << 20, 1000), (1, 3000, 9)])
def test_near_copies_are_the_groups_of_exact_jaccard(config, ingested, monkeypatch, seed, part_bytes, shard):
    texts = near_texts(random.Random(seed))
    monkeypatch.setattr(containment, "_PARTITION_BYTES", part_bytes)
    made = dedupe(config("x", dedupe={"near": 0.7}), ingested(texts, shard))
    surely, maybe = exactly_near(texts, 0.8), exactly_near(texts, 0.55)
    assert surely == maybe, "an estimate may be off by three standard errors, and nothing is that close"
    assert found(made) == surely
    assert set(ids(made, "sample")) == texts.keys() - surely.keys()
    assert made.counts["near"] == len(surely) > 20
    apart = [jaccard(five_words(texts[doc_id]), five_words(texts[kept])) for doc_id, (kept, _) in surely.items()]
    assert min(apart) < 0.7 < max(apart), "a group is larger than what its first is near to"


def test_copies_of_a_near_copy_end_at_the_document_that_is_kept(config, ingested):
    words = [f"{a}{b}" for a in "abcdefgh" for b in "abcdefgh"]
    one, two = " ".join(words), " ".join([*words[:-1], "other"])
    texts = {"3": one, "1": two, "2": two, "4": " ".join(words[:20]), "5": "abc abd abe"}
    made = dedupe(config("x", dedupe={"near": 0.9}), ingested(texts))
    assert found(made) == {"2": ("1", "equal"), "3": ("1", "near"), "4": ("1", "contained")}


def test_a_threshold_of_one_finds_only_equal_sets(config, ingested):
    words = [f"{a}{b}" for a in "abcdefgh" for b in "abcdefgh"]
    turned, other = [*words[1:], words[0]], [*words[:-1], "other"]
    texts = {number: " ".join(twice * 2) for number, twice in enumerate([words, turned, other])}
    made = dedupe(config("x", dedupe={"near": 1.0}), ingested({str(number): text for number, text in texts.items()}))
    assert five_words(texts[0]) == five_words(texts[1])
    assert found(made) == {"1": ("0", "near")}
    assert ids(made, "sample") == ["0", "2"]


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.97, 1.0])
def test_a_pair_at_the_threshold_is_compared(threshold):
    bands, width = minhash._bands(threshold)
    assert bands * width <= 128
    assert 1 - (1 - threshold**width) ** bands >= 0.95


@pytest.mark.parametrize("text", ["", "one", "one two three four", "a b c d e", "a b c d e f a b c d e"])
def test_shingles(text):
    assert {tuple(shingle.split()) for shingle in shingles(text)} == five_words(text)


def test_shingles_are_five_letters_where_there_are_no_blanks():
    assert shingles("人工智能改变 x") == {"人工智能改", "工智能改变", "智能改变 x"}
    assert shingles("น้ำแข็งไส") == {"น้ำแข็ง", "ำแข็งไ", "แข็งไส"}
