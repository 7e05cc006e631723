import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gradret.training.batches import Groups

from .students import rows, table

DOCS = [f"d{number:03d}" for number in range(60)]
ROWS = rows(37, DOCS, seed=5, longest=20)
FIELDS = ("queries_Q", "docs_N", "columns_QG", "present_QG", "grades_QG", "positives_QG", "masked_QN")


def groups(seed=0, length=6, made=None):
    return Groups(table(ROWS if made is None else made), DOCS, length, seed)


def lists(batch):
    """What each query of the batch is given: (doc_id, grade, positive) in order."""
    found = {}
    for row, query in enumerate(batch.queries_Q):
        keep = batch.present_QG[row]
        docs = [DOCS[batch.docs_N[column]] for column in batch.columns_QG[row][keep]]
        found[ROWS[query]["query_id"]] = list(
            zip(docs, batch.grades_QG[row][keep].tolist(), batch.positives_QG[row][keep].tolist(), strict=True)
        )
    return found


def test_an_epoch_holds_every_query_once_and_the_last_batch_may_be_short():
    made = groups()
    batches = list(made.epoch(3, 8))
    assert [len(batch.queries_Q) for batch in batches] == [8, 8, 8, 8, 5]
    assert made.steps(8) == 5
    assert sorted(np.concatenate([batch.queries_Q for batch in batches])) == list(range(37))


def test_dev_batches_come_in_stored_order():
    batches = list(groups().in_order(8))
    assert np.concatenate([batch.queries_Q for batch in batches]).tolist() == list(range(37))


@pytest.mark.parametrize("length", [1, 2, 3, 6, 20, 100])
def test_lists_keep_positives_repeat_nothing_and_stay_short(length):
    for epoch in range(3):
        for batch in groups(length=length).epoch(epoch, 10):
            for query_id, drawn in lists(batch).items():
                row = ROWS[int(query_id[1:])]
                stored = {
                    doc: (np.float32(np.nan if grade is None else grade), positive)
                    for doc, grade, positive in zip(row["doc_ids"], row["grades"], row["positives"], strict=True)
                }
                docs = [doc for doc, _, _ in drawn]
                assert len(docs) == len(set(docs)) == min(length, len(row["doc_ids"]))
                for doc, grade, positive in drawn:
                    np.testing.assert_equal((np.float32(grade), positive), stored[doc])
                flags = [positive for _, _, positive in drawn]
                assert flags == sorted(flags, reverse=True)
                # One place is left for a document that is not positive, where there are two.
                assert min(sum(row["positives"]), max(1, length - 1)) <= sum(flags) <= sum(row["positives"])


def test_lists_are_drawn_anew_each_epoch_from_the_whole_pool():
    row = {**ROWS[0], "doc_ids": DOCS[:12], "grades": [0.5] * 12, "scores": [0.0] * 12}
    row |= {"positives": [True] + [False] * 11, "relevant_doc_ids": [DOCS[0]]}
    made = groups(length=4, made=[row])
    drawn = [tuple(next(iter(made.epoch(epoch, 1))).docs_N.tolist()) for epoch in range(40)]
    assert len(set(drawn)) > 20
    assert set().union(*drawn) == set(range(12))
    assert all(docs[0] == 0 for docs in drawn)


def test_relevant_documents_outside_the_list_are_masked_and_no_others():
    for batch in groups().epoch(0, 10):
        for row, query in enumerate(batch.queries_Q):
            listed = {DOCS[batch.docs_N[column]] for column in batch.columns_QG[row][batch.present_QG[row]]}
            known = set(ROWS[query]["relevant_doc_ids"]) - listed
            assert {DOCS[number] for number in batch.docs_N[batch.masked_QN[row]]} == known & {
                DOCS[number] for number in batch.docs_N
            }
    assert any(batch.masked_QN.any() for batch in groups().epoch(0, 10))


def test_columns_are_the_unique_documents_of_the_lists():
    for batch in groups().epoch(1, 10):
        assert (np.diff(batch.docs_N) > 0).all()
        assert set(batch.columns_QG[batch.present_QG].tolist()) == set(range(len(batch.docs_N)))
        assert (batch.columns_QG[~batch.present_QG] == 0).all()
        assert np.isnan(batch.grades_QG[~batch.present_QG]).all()
        assert not batch.positives_QG[~batch.present_QG].any()


def test_depends_on_seed_and_epoch_alone():
    def drawn(made, epoch):
        return [getattr(batch, name).tolist() for batch in made.epoch(epoch, 8) for name in ("queries_Q", "docs_N")]

    made = groups()
    first = drawn(made, 1)
    # Whatever was asked before, by whom and how often.
    list(made.epoch(0, 5))
    list(made.in_order(3))
    assert drawn(made, 1) == first == drawn(groups(), 1)
    assert drawn(made, 2) != first
    assert drawn(groups(seed=1), 1) != first


CODE = "from tests.training.test_batches import digest; print(digest())"


def digest():
    whole = hashlib.sha256()
    for batch in groups().epoch(1, 8):
        for name in FIELDS:
            whole.update(np.ascontiguousarray(getattr(batch, name)).tobytes())
    return whole.hexdigest()


def test_every_process_sees_the_same_batches():
    """Workers share nothing but seed, epoch and GROUPS; another hash seed must change nothing."""
    other = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        check=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONHASHSEED": "7"},
    )
    assert other.stdout.strip() == digest()


def test_a_query_without_relevant_documents():
    row = {**ROWS[0], "relevant_doc_ids": [], "positives": [False] * len(ROWS[0]["doc_ids"])}
    (batch,) = groups(made=[row]).epoch(0, 4)
    assert not batch.masked_QN.any()
