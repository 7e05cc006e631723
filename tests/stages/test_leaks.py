"""Leaks against sets of 4-grams in plain Python; without a leak, the test queries change nothing."""

import json
import random
import unicodedata

import numpy as np
import pytest

from gradret.config.run import Mine
from gradret.stages.leaks import leaks

from . import tiny

pytestmark = pytest.mark.usefixtures("ray_session")


def grams(text):
    found = set()
    for word in unicodedata.normalize("NFKC", text).lower().split():
        padded = f" {word} "
        found |= {padded[start : start + 4] for start in range(max(1, len(padded) - 3))}
    return found


def slow(train, test, threshold):
    found = {}
    for one in train:
        for two in test:
            sets = grams(one["text"]), grams(two["text"])
            similarity = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
            if similarity >= threshold:
                found[one["query_id"], two["query_id"]] = similarity
    return found


def found(made):
    return {(row["query_id"], row["test_query_id"]): row["similarity"] for row in made.table("leaks").to_pylist()}


@pytest.fixture
def check(tmp_path, settings):
    """LEAKS of training queries, in shards, and the dataset's queries."""

    def run(train, human, threshold=0.8, size=1000):
        shards = [train[start : start + size] for start in range(0, len(train), size)]
        generated = tiny.artifact(tmp_path, "generate", {"queries": shards})
        queries = tiny.artifact(tmp_path, "queries", {"queries": [human]})
        return leaks(settings(mine=Mine(leak_similarity=threshold)), generated, queries)

    return run


def some_queries(draw, number, first, split):
    """Queries of few words, so that some are alike."""
    words = ["sorting", "lists", "of", "a", "dictionary", "caf\u00e9"]
    texts = [" ".join(draw.choices(words, k=draw.randint(1, 5))) for _ in range(number)]
    return [tiny.query(first + place, text, split=split) for place, text in enumerate(texts)]


@pytest.mark.parametrize(("threshold", "size"), [(0.8, 1000), (0.5, 7), (1.0, 40), (1 / 3, 1000)])
def test_pairs_and_similarities_are_those_of_plain_sets(check, threshold, size):
    draw = random.Random(size)
    train, test = some_queries(draw, 60, 0, None), some_queries(draw, 30, 500, "test")
    made = check(train, test, threshold, size)
    wanted = slow(train, test, threshold)
    assert found(made).keys() == wanted.keys()
    assert wanted
    np.testing.assert_allclose([found(made)[pair] for pair in wanted], list(wanted.values()), rtol=1e-6)
    assert made.counts["leaks"] == len({query_id for query_id, _ in wanted})


def test_equal_but_for_case_and_form(check):
    train = [tiny.query(1, "\uff37hat is a \ufb01le"), tiny.query(2, "x")]
    assert found(check(train, [tiny.query(9, "what IS a file", split="test"), tiny.query(8, "X", split="test")])) == {
        ("q001", "q009"): 1.0,
        ("q002", "q008"): 1.0,
    }


def test_equal_but_for_vowel_points_and_joiners(check):
    train = [tiny.query(1, "كَتَبَ الوَلَدُ رِسالَةً"), tiny.query(2, "क\u094d\u200dषेत्र की भाषा")]
    test = [tiny.query(9, "كتب الولد رسالة", split="test"), tiny.query(8, "क\u094dषेत्र की भाषा", split="test")]
    assert found(check(train, test)) == {("q001", "q009"): 1.0, ("q002", "q008"): 1.0}


def test_a_test_query_that_is_trained_on_is_a_leak_of_itself(check):
    same = tiny.query(3, "how to sort a list", split="test")
    assert found(check([same], [same])) == {("q003", "q003"): 1.0}


def test_held_out_queries_are_leaks_even_without_the_check(tmp_path, settings):
    train = [tiny.query(1, "how to sort a list", "d001"), tiny.query(2, "how to sort lists", "d002")]
    generated = tiny.artifact(tmp_path, "generate", {"queries": [train]})
    test = tiny.artifact(tmp_path, "held_out", {"queries": [[train[0] | {"split": "test"}]]})
    made = leaks(settings(mine=Mine(leak_similarity=0)), generated, test)
    assert found(made) == {("q001", "q001"): 1.0}


def test_queries_of_other_splits_are_no_test_queries(check):
    train = [tiny.query(1, "how to sort a list")]
    human = [tiny.query(2, "how to sort a list"), tiny.query(3, "how to sort a list", split="train")]
    assert found(check(train, [*human, tiny.query(4, "something else", split="test")])) == {}


def test_without_a_leak_the_result_is_the_same_whatever_was_looked_for(check):
    train = [tiny.query(1, "how to sort a list"), tiny.query(2, "walking a tree")]
    one = check(train, [tiny.query(3, "lift of a wing", split="test")])
    two = check(train[:1], [tiny.query(4, "buckling of shells", split="test")], 0.9)
    none = check(train, [tiny.query(5, "how to sort a list", split="test")], 0)
    assert one.path == two.path == none.path
    assert one.table("leaks").num_rows == 0
    manifest = json.dumps(one.manifest)
    assert not any(word in manifest for word in ("q003", "wing", "0.8", "leak_check"))


def test_a_leak_changes_the_result_and_sharding_does_not(check):
    train = [tiny.query(number, f"how to sort {word}") for number, word in enumerate(tiny.WORDS[:9])]
    human = [tiny.query(100, train[4]["text"], split="test")]
    leaked, dealt = check(train, human), check(train, human, size=2)
    assert leaked.path == dealt.path != check(train, [tiny.query(100, "shells", split="test")]).path
    assert found(leaked) == {("q004", "q100"): 1.0}
