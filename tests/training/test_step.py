"""The step against plain autograd: any chunk size, one, two and four workers."""

import functools
import multiprocessing

import numpy as np
import pytest
import torch

from . import students

TOLERANCE = {"rtol": 1e-6, "atol": 1e-8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("step")


@pytest.fixture(scope="module")
def given(folder):
    groups, queries, docs = students.training_set(folder)
    return list(groups.epoch(0, 11)), queries, docs


@pytest.fixture(scope="module")
def oracle(given):
    return {kind: students.oracle(kind, *given) for kind in students.STUDENTS}


def same(got, want):
    assert got.keys() == want.keys()
    for name in want:
        torch.testing.assert_close(got[name], want[name], msg=lambda text, name=name: f"{name}: {text}", **TOLERANCE)


def test_the_batches_are_worth_testing(given):
    """Shared documents, an uneven last batch, masked columns, an empty text."""
    batches, _, docs = given
    assert [len(batch.queries_Q) for batch in batches] == [11, 11, 8]
    assert all(len(batch.docs_N) < batch.present_QG.sum() for batch in batches)
    assert all(batch.masked_QN.any() for batch in batches)
    assert any((docs.lengths(batch.docs_N) == 0).any() for batch in batches)


@pytest.mark.parametrize(("kind", "chunk_size"), students.CASES)
def test_one_worker_equals_plain_autograd(given, oracle, kind, chunk_size):
    same(students.stepped(kind, *given, chunk_size), oracle[kind])


@pytest.mark.parametrize("world", [2, 4])
def test_workers_equal_plain_autograd(folder, given, oracle, world):
    # The server imports torch, and what its optimizers import, once for all; its children are fresh otherwise.
    multiprocessing.set_forkserver_preload(["torch", "torch._dynamo", students.__name__])
    start = functools.partial(torch.multiprocessing.start_processes, start_method="forkserver")
    start(students.worker, (world, folder), nprocs=world)
    for rank in range(world):
        results = torch.load(folder / f"{world}-{rank}.pt")
        for kind, chunk_size in students.CASES:
            same(results[kind, chunk_size], oracle[kind])
    # Bit for bit the same on all workers: they never drift apart.
    first, last = torch.load(folder / f"{world}-0.pt"), torch.load(folder / f"{world}-{world - 1}.pt")
    for case in students.CASES:
        for name, value in first[case].items():
            assert torch.equal(value, last[case][name]), (case, name)


def test_chunks_hold_texts_of_like_length_and_every_text_once(given):
    from gradret.training.step import _chunks

    batches, queries, docs = given
    batch = batches[0]
    chunks = _chunks(batch, queries, docs, 7)
    places = np.concatenate([part.numpy() for part, _ in chunks])
    assert sorted(places) == list(range(len(batch.docs_N) + len(batch.queries_Q)))
    lengths = [np.diff(read()[1]) for part, read in chunks if part[0] < len(batch.docs_N)]
    assert all(len(part) <= 7 for part in lengths)
    assert (np.diff(np.concatenate(lengths)) >= 0).all()
