"""The scores of the dataset's lists, and configs that have none."""

import json

import numpy as np
import pytest

from gradret.errors import ConfigError
from gradret.teachers.lists import Lists


@pytest.fixture
def lists(tmp_path):
    """The dataset of a file of two lists, one of them without scores."""
    rows = [
        {"query_id": "q1", "query": "lift", "positive_passages": [{"docid": "d1", "text": "A wing.", "score": 7.5}]},
        {"query_id": "q2", "query": "shell", "positive_passages": [{"docid": "d2", "text": "A shell."}]},
    ]
    rows[1]["negative_passages"] = [{"docid": "d1", "text": "A wing."}]
    (tmp_path / "train.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (tmp_path / "test.jsonl").write_text('{"query": "other", "pos": ["A jet."]}\n')
    return {"name": "lists", "path": str(tmp_path / "train.jsonl"), "test": str(tmp_path / "test.jsonl")}


def test_scores_are_those_of_the_lists(config, lists):
    grader = Lists().load(Lists().prepare(config("", dataset=lists), None, None))
    scores = grader.score([{"query_id": "q1"}, {"query_id": "q2"}], [["d1", "d2"], ["d1", "d2"]])
    np.testing.assert_array_equal(np.stack(scores), [[7.5, np.nan], [0, 1]])


def test_a_dataset_without_scores_and_documents_that_are_cut(beir, config, lists):
    with pytest.raises(ConfigError, match=r"takes the scores of the dataset lists; set dataset\.name=lists"):
        Lists().prepare(config(beir()), None, None)
    with pytest.raises(ConfigError, match=r"passages\.size: must be 0 with label\.teacher lists"):
        Lists().prepare(config("", dataset=lists, passages={"size": 50}), None, None)
