"""Ranks and names in PAIRS, the same for all retrievers."""

from gradret.origins import origins
from gradret.retrievers import ranked
from gradret.retrievers.bm25 import Bm25
from gradret.retrievers.dense import Dense
from gradret.retrievers.ranks import Ranks
from gradret.retrievers.rrf import Rrf
from gradret.retrievers.source import Source
from tests.stages.outside import Listed


def test_ranks_begin_with_one():
    assert ranked(iter(["b", "a"])) == [("b", 1), ("a", 2)]
    assert ranked([]) == []


def test_one_name_a_retriever():
    far = Ranks(Ranks(Bm25(k=100), last=50), first=20, last=50)
    assert origins([Source(), Bm25(), far, Dense(), Bm25(k1=2.0), Rrf((Bm25(), Dense())), Listed()]) == [
        "source",
        "bm25",
        "bm25.2",
        "dense",
        "bm25.3",
        "rrf",
        "tests.stages.outside:Listed",
    ]
    assert origins([far]) == ["bm25"]
