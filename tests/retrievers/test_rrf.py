"""Reciprocal rank fusion against exact fractions."""

import random
from fractions import Fraction

import pytest

from gradret.retrievers.ranks import Ranks
from gradret.retrievers.rrf import Rrf
from gradret.retrievers.source import Source
from tests.stages.outside import Listed

QUERIES = [{"query_id": f"q{n}", "source_doc_id": None} for n in range(40)]


def listed(lists):
    return Listed(";".join(f"q{n}:{','.join(docs)}" for n, docs in enumerate(lists)))


def fused(retriever, queries=QUERIES):
    return retriever.load(retriever.prepare(None, None, None), 0)(queries)


def by_hand(lists, k, constant):
    sums = {}
    for docs in lists:
        for rank, doc_id in enumerate(docs, 1):
            sums[doc_id] = sums.get(doc_id, 0) + Fraction(1, constant + rank)
    best = sorted(sums, key=lambda doc_id: (sums[doc_id], doc_id), reverse=True)[:k]
    return [(doc_id, rank) for rank, doc_id in enumerate(best, 1)]


@pytest.mark.parametrize("constant", [0, 1, 60])
def test_sums_of_reciprocal_ranks(constant):
    """Three rankings of few documents: many tie, in every order of the sum."""
    draw = random.Random(constant)
    rankings = [[draw.sample("abcdefghij", draw.randint(0, 8)) for _ in QUERIES] for _ in range(3)]
    got = fused(Rrf(tuple(map(listed, rankings)), k=6, constant=constant))
    assert got == [by_hand(lists, 6, constant) for lists in zip(*rankings, strict=True)]


def test_the_papers_formula_in_numbers():
    """1/61 + 1/62 beats 1/61 alone; b and c tie and go by name, descending."""
    assert fused(Rrf((listed([["a", "b"]]), listed([["c", "a"]]), listed([["b"], [], []]))), QUERIES[:2]) == [
        [("b", 1), ("a", 2), ("c", 3)],
        [],
    ]


def test_true_ranks_of_what_leaves_some_out_count():
    first = Ranks(listed([["x", "a", "b"]]), first=2, last=3)
    # 1/62 for a, 1/63 for b, and 1/61 + 1/63 for b.
    assert fused(Rrf((first, listed([["b"]])), k=2), QUERIES[:1]) == [[("b", 1), ("a", 2)]]
    assert fused(Rrf((first, listed([["c"]])), k=2), QUERIES[:1]) == [[("c", 1), ("a", 2)]]


def test_each_part_gets_what_it_prepared(artifact):
    class Named(Listed):
        def prepare(self, config, ingested, queries):
            return {"mine": artifact(self.found.partition(":")[2]), "a.b": artifact("other")}

        def load(self, prepared, seed):
            assert {name: made.stage for name, made in prepared.items()} == {
                "mine": self.found.partition(":")[2],
                "a.b": "other",
            }
            return super().load(prepared, seed)

    assert fused(Rrf((Named("q0:x"), Source(), Named("q0:y"))), QUERIES[:1]) == [[("y", 1), ("x", 2)]]


@pytest.mark.parametrize(
    ("keys", "message"), [({"k": 0}, "k: must be at least 1"), ({"constant": -1}, "constant: must be at least 0")]
)
def test_what_cannot_be(keys, message):
    with pytest.raises(ValueError, match=message):
        Rrf((Source(),), **keys)
