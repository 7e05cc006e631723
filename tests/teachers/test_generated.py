"""The grades for which documents were written, as a teacher's scores."""

import numpy as np
import pytest

from gradret.config.loading import parse
from gradret.errors import ConfigError
from gradret.pairs import pair_id
from gradret.teachers.generated import Generated


@pytest.fixture
def generated(artifact):
    grades = {("q1", "a"): 1.0, ("q1", "b"): 3.0, ("q2", "x"): 0.0}
    keys = ("query_id", "doc_id")
    labels = [
        dict(zip(keys, pair, strict=True)) | {"pair_id": pair_id(*pair), "source": "generated", "score": score}
        for pair, score in grades.items()
    ]
    return artifact("generate", labels=labels)


def test_grades_and_nothing_for_what_was_not_written_for_the_query(generated):
    teacher = Generated()
    grader = teacher.load(teacher.prepare(None, None, generated))
    queries = [{"query_id": query_id} for query_id in ("q2", "q1", "q3")]
    scores = grader.score(queries, [["a", "x"], ["b", "a"], ["a"]])
    assert [row.dtype for row in scores] == [np.float32] * 3
    np.testing.assert_equal([row.tolist() for row in scores], [[np.nan, 0.0], [3.0, 1.0], [np.nan]])


def test_it_does_not_search():
    assert Generated().searches is False


def test_without_generated_documents(artifact):
    other = artifact("generate", queries=[{"query_id": "q1", "text": "x", "generator": "extractive"}])
    with pytest.raises(ConfigError, match=r"^label\.teacher: .*set generate\.generator to graded_documents"):
        Generated().prepare(None, None, other)


@pytest.mark.parametrize("above", [None, 1.5])
def test_which_grades_are_positives_comes_from_the_config(above):
    node = {"name": "generated", "positive_above": above}
    config = parse({"name": "toy", "dataset": "pydocs", "label": {"teacher": node}})
    assert config.label.teacher == Generated(above)
