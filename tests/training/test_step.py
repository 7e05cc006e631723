"""The training step: the same result for any chunk size and number of workers, for every loss and encoder family."""

import dataclasses
import functools
import multiprocessing
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gradret.losses import Mean
from gradret.training import step

from . import students

TOLERANCE = {"rtol": 1e-6, "atol": 1e-8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("step")
    students.make_models(folder)
    for family in students.FAMILIES:
        students.training_set(folder, family)
    return folder


@pytest.fixture(scope="module")
def oracle(folder):
    return functools.cache(functools.partial(students.oracle, folder))


@pytest.fixture(scope="module")
def alone(folder):
    """What one worker gives."""
    return functools.cache(functools.partial(students.stepped, folder))


def same(got, want):
    assert got.keys() == want.keys()
    for name in want:
        torch.testing.assert_close(got[name], want[name], msg=lambda text, name=name: f"{name}: {text}", **TOLERANCE)


def test_the_batches_are_worth_testing(folder):
    """Shared documents, an uneven last batch, masked columns, texts of many lengths, steps that move the weights."""
    groups, texts = students.training_set(folder, "transformer")
    batches = list(groups.epoch(0, 11))
    assert [len(batch.queries_Q) for batch in batches] == [11, 11, 8]
    assert all(len(batch.docs_N) < batch.present_QG.sum() for batch in batches)
    assert all(batch.masked_2M.size for batch in batches)
    assert len(set(texts.docs.lengths(np.arange(40)))) > 6


@pytest.mark.parametrize("case", [*students.CASES, *students.WHOLE, *students.ACCUMULATED], ids=str)
def test_one_worker_equals_plain_autograd(alone, oracle, case):
    want = oracle(case.family, case.loss, case.accumulate)
    last = f"gradient {-(-3 // case.accumulate) - 1}."
    assert any(want[name].abs().max() > 0 for name in want if name.startswith(last))
    same(alone(case), want)


@pytest.mark.parametrize("world", [2, 4])
def test_workers_equal_one(folder, alone, world):
    # The server imports torch, and what its optimizers import, once for all; its children are fresh otherwise.
    multiprocessing.set_forkserver_preload(["torch", "torch._dynamo", "transformers", students.__name__])
    start = functools.partial(torch.multiprocessing.start_processes, start_method="forkserver")
    start(students.worker, (world, folder), nprocs=world)
    first, last = torch.load(folder / f"{world}-0.pt"), torch.load(folder / f"{world}-{world - 1}.pt")
    for case in [*students.CASES, *students.WHOLE, *students.ACCUMULATED, *students.DROPPED]:
        key = dataclasses.astuple(case)
        same(first[key], alone(case))
        # Bit for bit the same on all workers: they never drift apart.
        assert all(torch.equal(value, last[key][name]) for name, value in first[key].items()), case


def test_dropout_is_on_and_the_second_encoding_repeats_it(folder, alone):
    """Against one pass over the same chunks that keeps its graph."""
    case = students.Case("transformer", "sum", 7, dropout=0.2)
    groups, texts = students.training_set(folder, case.family)
    texts = dataclasses.replace(texts, chunk_size=case.chunk_size)
    model, objective = students.student(folder, case.family, case.dropout), students.objective(case.loss)
    batch = next(groups.epoch(0, 11))
    model.train(True)
    chunks = step._chunks(model, batch, texts)
    assert len(chunks) > 4
    parts = [step._encode_chunk(model, chunk, texts, 0) for chunk in chunks]
    places = torch.cat([chunk.places for chunk in chunks])
    loss = objective(batch, torch.cat(parts)[places.argsort()])
    loss.backward()
    got = alone(case)
    torch.testing.assert_close(got["loss 0"], loss.detach(), **TOLERANCE)
    for number, parameter in enumerate([*model.parameters(), *objective.parameters()]):
        if parameter.grad is not None:
            torch.testing.assert_close(got[f"gradient 0.{number}"], parameter.grad, **TOLERANCE)
    without = alone(dataclasses.replace(case, dropout=0.0))
    assert abs(got["loss 0"] - without["loss 0"]) > 1e-4


def test_dropout_differs_between_steps_and_chunks(folder):
    model = students.student(folder, "transformer", 0.2)
    model.train(True)

    def drawn(*seeds):
        with step._seeded(model, *seeds):
            return torch.rand(4).tolist()

    seeds = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]
    assert len({tuple(drawn(*seed)) for seed in seeds}) == len(seeds)
    assert drawn(0, 1, 2) == drawn(0, 1, 2)


def test_evaluation_drops_nothing(folder):
    groups, texts = students.training_set(folder, "transformer")
    batch = next(groups.epoch(0, 11))
    with_it, without = (students.student(folder, "transformer", share) for share in (0.2, 0.0))
    with_it.train(True)
    torch.testing.assert_close(step.encode(with_it, batch, texts), step.encode(without, batch, texts), **TOLERANCE)


def test_chunks_hold_texts_of_like_length_and_every_text_once(folder):
    groups, texts = students.training_set(folder, "transformer")
    batch = next(groups.epoch(0, 11))
    chunks = step._chunks(SimpleNamespace(dropout=0), batch, dataclasses.replace(texts, chunk_size=7))
    places = np.concatenate([chunk.places.numpy() for chunk in chunks])
    assert sorted(places) == list(range(len(batch.docs_N) + len(batch.queries_Q)))
    lengths = [[*texts.docs.lengths(chunk.docs), *texts.queries.lengths(chunk.queries)] for chunk in chunks]
    assert all(len(part) <= 7 for part in lengths)
    assert all(max(left) <= min(right) for left, right in pairwise(lengths))


def test_a_batch_that_no_loss_can_use_moves_nothing(folder):
    class Idle(torch.nn.Module):
        def forward(self, lists):
            return Mean(lists.scores_QN.new_zeros(()), torch.tensor(0))

    groups, texts = students.training_set(folder, "static")
    model, objective = students.student(folder, "static"), students.objective("kl")
    objective.losses = torch.nn.ModuleList([Idle()])
    assert step.backward(model, objective, [next(groups.epoch(0, 11))], texts) == 0
    assert not any(parameter.grad.any() for parameter in model.parameters())
