import dataclasses
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from gradret.training.batches import Batch, Groups

from .students import rows, table

DOCS = [f"d{number:03d}" for number in range(60)]
ROWS = rows(37, DOCS, seed=5, longest=20)
FIELDS = tuple(field.name for field in dataclasses.fields(Batch))


def groups(seed=0, length=6, made=None):
    return Groups(table(ROWS if made is None else made), pa.array(DOCS), length, seed)


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
            masked = batch.masked_2M[1][batch.masked_2M[0] == row]
            assert {DOCS[number] for number in batch.docs_N[masked]} == known & {DOCS[n] for n in batch.docs_N}
        assert (np.diff(batch.masked_2M[0]) >= 0).all()
    assert any(batch.masked_2M.size for batch in groups().epoch(0, 10))


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
    assert not batch.masked_2M.size


def test_at_most_so_many_positives_the_first_stored_and_the_others_masked():
    row = {**ROWS[0], "doc_ids": DOCS[:12], "grades": [0.5] * 12, "scores": [0.0] * 12}
    # The contract has all positives among relevant_doc_ids; a positive is known relevant without it too.
    row |= {"positives": [True] * 5 + [False] * 7, "relevant_doc_ids": DOCS[:4]}
    other = {**row, "query_id": "q999", "doc_ids": DOCS[2:6], "grades": [0.5] * 4, "scores": [0.0] * 4}
    other |= {"positives": [False] * 4, "relevant_doc_ids": []}
    made = Groups(table([row, other]), pa.array(DOCS), 8, 0, max_positives=2)
    for epoch in range(5):
        batch = made.batch(np.arange(2), epoch)
        listed = batch.docs_N[batch.columns_QG[0][batch.present_QG[0]]]
        assert batch.positives_QG[0].sum() == 2
        assert listed[:2].tolist() == [0, 1]
        assert set(listed[2:]) <= set(range(5, 12))
        assert len(listed) == 8
        assert set(batch.docs_N[batch.masked_2M[1][batch.masked_2M[0] == 0]]) == {2, 3, 4}


def test_a_cycle_takes_every_positive_in_turn_from_a_place_of_its_own():
    """SyCL's binary sampler: (hash of item and seed, plus epoch) modulo the positives, here of grades 1 and 2/3."""
    both = {"doc_ids": DOCS[:4], "grades": [1.0, 2 / 3, 1 / 3, 0.0], "scores": [3.0, 2.0, 1.0, 0.0]}
    both |= {"positives": [True, True, False, False], "relevant_doc_ids": DOCS[:2]}
    many = [{**ROWS[0], **both, "query_id": f"q{number:03d}"} for number in range(40)]
    firsts = []
    for epoch in range(4):
        made = Groups(table(many), pa.array(DOCS), 3, 0, 1, pick_positives="cycle")
        batch = made.batch(np.arange(40), epoch)
        assert (batch.positives_QG == [True, False, False]).all()
        assert (batch.docs_N[batch.columns_QG][:, 1:] == [2, 3]).all()
        firsts.append(batch.docs_N[batch.columns_QG][:, 0])
        assert (firsts[-1] == (batch.draws_Q % 2)).all()
    assert (firsts[0] == 1 - firsts[1]).all()
    assert (firsts[0] == firsts[2]).all()
    assert 10 < firsts[0].sum() < 30


def test_first_positives_of_any_query_are_marked():
    for batch in groups().epoch(0, 10):
        firsts = {row[0] for row, flags in zip(batch.columns_QG, batch.positives_QG, strict=True) if flags[0]}
        assert set(np.flatnonzero(batch.firsts_N)) == firsts


def test_a_query_draws_another_number_each_epoch_whoever_else_is_there():
    first, second = (groups().batch(np.arange(37), epoch) for epoch in (4, 5))
    assert (second.draws_Q - first.draws_Q == 1).all()
    assert len(set(first.draws_Q)) == 37
    assert groups(made=ROWS[3:]).batch(np.arange(1), 4).draws_Q[0] == first.draws_Q[3]
    assert (groups(seed=1).batch(np.arange(37), 4).draws_Q != first.draws_Q).all()


def test_an_epoch_goes_on_in_its_middle():
    whole, rest = (list(groups().epoch(2, 8, start)) for start in (0, 3))
    assert len(rest) == len(whole) - 3
    for left, right in zip(whole[3:], rest, strict=True):
        assert all(np.array_equal(getattr(left, name), getattr(right, name), equal_nan=True) for name in FIELDS)


def test_more_columns_change_nothing_else():
    made = groups()
    plain, wider = made.batch(np.arange(9), 0), made.batch(np.arange(9), 0, more_docs=np.arange(60))
    assert wider.docs_N.tolist() == list(range(60))
    there = plain.present_QG
    assert np.array_equal(plain.docs_N[plain.columns_QG[there]], wider.docs_N[wider.columns_QG[there]])
    assert np.array_equal(plain.grades_QG, wider.grades_QG, equal_nan=True)
