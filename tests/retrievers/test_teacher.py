"""The documents that the teacher ranks high, with their ranks."""

from dataclasses import dataclass

import pytest

from gradret.retrievers.teacher import Teacher
from gradret.teachers import Teacher as TeacherProtocol

DOCS = [(f"d{n:02d}", -float(n)) for n in range(1, 31)]
QUERIES = [{"query_id": f"q{n}"} for n in range(50)]


@dataclass(frozen=True)
class Fixed(TeacherProtocol):
    """A teacher that finds the same for every query: 30 documents."""

    size: int = 30
    searches: bool = True
    reranks: bool = True
    asks_llm: bool = False

    def prepare(self, config, ingested, queries):
        return {}

    def load(self, prepared):
        return self

    def search(self, queries, k):
        return [DOCS[: min(k, self.size)] for _ in queries]


def found(retriever, queries=QUERIES, seed=0):
    return retriever.load({}, seed)(queries)


def test_the_first_and_a_draw_from_those_behind_them():
    drawn = found(Teacher(Fixed(), top=3, sampled=4, within=20))
    for one in drawn:
        assert one[:3] == [("d01", 1), ("d02", 2), ("d03", 3)]
        assert len(one) == 7
        assert all(4 <= rank <= 20 and doc_id == f"d{rank:02d}" for doc_id, rank in one[3:])
        assert one == sorted(one)
    assert {rank for one in drawn for _, rank in one} == set(range(1, 21))
    assert found(Teacher(Fixed(), top=3, sampled=4, within=20), QUERIES[::-1]) == drawn[::-1]
    assert found(Teacher(Fixed(), top=3, sampled=4, within=20), seed=1) != drawn


def test_a_corpus_smaller_than_asked():
    assert found(Teacher(Fixed(5), top=3, sampled=4, within=20), QUERIES[:1]) == [
        [(doc_id, rank) for rank, (doc_id, _) in enumerate(DOCS[:5], 1)]
    ]
    assert found(Teacher(Fixed(2), top=3, sampled=4, within=20), QUERIES[:1]) == [[("d01", 1), ("d02", 2)]]


def test_what_it_is_asked_for():
    assert Teacher(Fixed(), top=3, sampled=4, within=20).k == 7
    with pytest.raises(ValueError, match=r"^within=6 must be at least"):
        Teacher(Fixed(), top=3, sampled=4, within=6)


def test_a_teacher_that_cannot_search_is_refused():
    with pytest.raises(ValueError, match=r"^teacher: .*Fixed cannot search a corpus"):
        Teacher(Fixed(searches=False))
