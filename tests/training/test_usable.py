"""Unusable lists are set aside with a reason, and a loss without usable lists stops the run."""

import dataclasses
import math

import numpy as np
import pyarrow as pa
import pytest

from gradret.encoders.static import Static
from gradret.errors import ConfigError, DataError
from gradret.losses import NEEDS
from gradret.losses.bixse import BiXSE
from gradret.losses.infonce import InfoNCE
from gradret.losses.kl import KL
from gradret.losses.margin_mse import MarginMSE
from gradret.losses.ranknet import RankNet
from gradret.store import contracts
from gradret.store.artifacts import Draft
from gradret.training.loop import Job
from gradret.training.prepare import prepare
from gradret.training.tokens import Tokens, read_ids
from gradret.training.usable import broken, count_usable, unusable

from ..stages import tiny
from ..stages.test_train import settings_of

CORPUS = [f"d{number:03d}" for number in range(9)]
UNKNOWN = frozenset(["gone", "nowhere"])
GOOD = {
    "query_id": "q1",
    "split": "train",
    "source_doc_id": "d000",
    "kind": None,
    "doc_ids": ["d000", "d001", "d002"],
    "grades": [1.0, 0.5, None],
    "scores": [3.0, -1.0, None],
    "positives": [True, False, False],
    "relevant_doc_ids": ["d000"],
}


def test_a_good_list_is_not_broken():
    assert not broken(GOOD, UNKNOWN)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"doc_ids": [], "grades": [], "scores": [], "positives": []}, "empty"),
        ({"grades": [1.0, 0.5]}, "differ in length"),
        ({"positives": [True, False, False, False]}, "differ in length"),
        ({"doc_ids": ["d000", "d001", "d000"]}, "a document twice"),
        ({"doc_ids": ["d000", "d001", "gone"]}, "not in the corpus"),
        ({"scores": [math.nan, 0.0, None]}, "not a finite number"),
        ({"scores": [0.0, math.inf, None]}, "not a finite number"),
        ({"grades": [1.0, math.nan, None]}, "outside 0 to 1"),
        ({"grades": [1.0, 1.5, None]}, "outside 0 to 1"),
        ({"grades": [-0.1, 0.5, None]}, "outside 0 to 1"),
        ({"positives": [False, True, False]}, "positive after"),
    ],
)
def test_a_broken_list_has_a_reason(fields, reason):
    assert reason in broken(GOOD | fields, UNKNOWN)


LACKING = {
    "positive": {"positives": [False] * 3},
    "grade": {"grades": [None] * 3},
    "two graded": {"grades": [0.5, None, None]},
    "two grades": {"grades": [0.5, None, 0.5]},
    "teacher scores": {"scores": [3.0, None, None]},
}
NEEDY = {
    "positive": InfoNCE(), "grade": BiXSE(), "two graded": KL(), "two grades": RankNet(), "teacher scores": MarginMSE()
}  # fmt: skip


@pytest.mark.parametrize("need", NEEDS)
def test_a_list_that_lacks_what_the_only_loss_needs_is_unusable(need):
    assert not unusable(GOOD, [NEEDY[need]])
    assert NEEDS[need] in unusable(GOOD | LACKING[need], [NEEDY[need]])
    # Another loss may do with it.
    other = NEEDY["grade" if need == "positive" else "positive"]
    assert not unusable(GOOD | LACKING[need], [NEEDY[need], other])


@pytest.mark.parametrize(
    "fields",
    [
        {"scores": [None, 1.0, 2.0]},
        {"positives": [True, True, True]},
        {"positives": [False, False, False]},
    ],
)
def test_margins_need_a_scored_positive_and_a_scored_document_that_is_none(fields):
    assert unusable(GOOD | fields, [MarginMSE()])


def test_a_loss_that_can_use_no_list_is_refused_by_name_and_need():
    lists = [GOOD | LACKING["two grades"], GOOD | LACKING["two grades"] | LACKING["positive"]]
    assert count_usable(lists, [KL(), InfoNCE()]) == {"train.loss[0] kl": 2, "train.loss[1] infonce": 1}
    message = r"train\.loss\[1\]: ranknet needs two documents of different grades in a list, but none of the 2 training"
    with pytest.raises(ConfigError, match=message):
        count_usable(lists, [KL(), RankNet()])


def prepared(folder, groups, texts=("bal dim",) * 9, shards=3, **settings):
    """Prepare the lists; the documents are in shards, in an order that is not that of their ids, one of them empty."""
    tiny._static(folder / "model")
    train = dataclasses.replace(settings_of(encoder=Static()), list_length=2, **settings)
    work = folder / "work"
    job = Job(train, 0, folder / "model", work, folder / "metrics.jsonl")
    docs = [tiny.doc(number, text) for number, text in reversed(list(enumerate(texts)))]
    made = tiny.artifact(folder, "ingest", {"docs": [docs[number::shards] for number in range(shards)] + [[]]})
    queries = pa.table({"query_id": [row["query_id"] for row in groups], "text": ["kun"] * len(groups)})
    draft = Draft(folder, "train")
    return prepare(job, draft, made.shards("docs"), queries, pa.Table.from_pylist(groups, contracts.schema("groups")))


def test_what_is_set_aside_and_what_is_left_add_up(tmp_path, ray_session):
    groups = [
        GOOD,
        GOOD | {"query_id": "q2", "split": "dev"},
        GOOD | {"query_id": "q3", "scores": [math.nan, 1.0, None]},
        GOOD | {"query_id": "q4"} | LACKING["positive"] | LACKING["grade"],
        GOOD | {"query_id": "q5"} | LACKING["positive"],
        GOOD | {"query_id": "q6", "doc_ids": ["d000", "gone", "d001"]},
    ]
    found = prepared(tmp_path, groups)
    assert found.counts == {"train": 2, "dev": 1}
    assert [query_id for query_id, _ in found.set_aside] == ["q3", "q4", "q6"]
    assert found.usable == {"train.loss[0] kl": 2, "train.loss[1] infonce": 1}


@pytest.mark.parametrize(
    ("settings", "used"), [({"choose_by": "dev_loss"}, 3), ({"choose_by": "last", "dev_docs": 2}, 5)]
)
def test_only_texts_that_training_reads_are_tokenized(tmp_path, ray_session, settings, used):
    """Those of lists, and of the sampled corpus; numbered by doc_id, whatever the shards."""
    words = [["bal"] * (number + 1) for number in range(9)]
    groups = [GOOD, GOOD | {"query_id": "q2", "split": "dev"}]
    for shards in (1, 3):
        folder = tmp_path / str(shards)
        prepared(folder, groups, [" ".join(text) for text in words], shards, **settings)
        ids = read_ids(folder / "work").to_pylist()
        tokens = Tokens(folder / "work" / "tokens" / "docs")
        assert ids == sorted(ids)
        assert {"d000", "d001", "d002"} <= set(ids)
        assert tokens.lengths(np.arange(len(ids))).tolist() == [int(doc_id[1:]) + 1 for doc_id in ids]
        assert used - 2 <= len(ids) <= used
        assert {ids[number] for number in np.load(folder / "work" / "sample.npy")} <= set(ids)
        assert not (folder / "work" / "parts").exists()


@pytest.mark.parametrize("split", ["train", "dev"])
def test_nothing_left_to_train_on_or_to_choose_by_is_refused(tmp_path, split):
    other = {"train": "dev", "dev": "train"}[split]
    groups = [GOOD | {"split": other}, GOOD | {"query_id": "q2", "split": split, "scores": [math.inf, None, None]}]
    with pytest.raises(DataError, match=f"none of the 2 lists can be used for {split}.* a score that is not a finite"):
        prepared(tmp_path, groups)
