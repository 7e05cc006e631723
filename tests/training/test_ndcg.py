"""nDCG over a batch's columns against ir_measures."""

import ir_measures
import numpy as np
import pytest
import torch

from gradret.losses import Lists
from gradret.training.step import ndcg


def given(scores, columns, present, grades, masked=None):
    queries, docs = scores.shape
    return Lists(
        scores_QN=scores,
        columns_QG=columns,
        present_QG=present,
        grades_QG=grades,
        teacher_QG=grades,
        positives_QG=torch.zeros_like(present),
        masked_QN=torch.zeros(queries, docs, dtype=torch.bool) if masked is None else masked,
        firsts_N=torch.zeros(docs, dtype=torch.bool),
        draws_Q=torch.zeros(queries, dtype=torch.int64),
    )


def test_agrees_with_ir_measures():
    draw = np.random.default_rng(0)
    queries, docs, length = 20, 60, 15
    scores = draw.normal(size=(queries, docs))
    columns = np.stack([draw.permutation(docs)[:length] for _ in range(queries)])
    present = np.arange(length) < draw.integers(2, length + 1, size=queries)[:, None]
    grades = draw.integers(0, 5, size=(queries, length)).astype(float)
    masked = np.zeros((queries, docs), bool)
    for query in range(queries):
        masked[query, sorted(set(range(docs)) - set(columns[query]))[:5]] = True
    lists = given(*map(torch.from_numpy, (scores, columns, present, grades / 4, masked)))
    judged = 0
    for query, got in enumerate(ndcg(lists).tolist()):
        rows = zip(columns[query], grades[query], present[query], strict=True)
        kept = [(str(column), int(grade)) for column, grade, there in rows if there]
        qrels = [ir_measures.Qrel("q", doc, grade) for doc, grade in kept]
        run = [
            ir_measures.ScoredDoc("q", str(doc), scores[query, doc]) for doc in range(docs) if not masked[query, doc]
        ]
        expected = ir_measures.calc_aggregate([ir_measures.nDCG @ 10], qrels, run)[ir_measures.nDCG @ 10]
        if max(grade for _, grade in kept) > 0:
            judged += 1
            assert got == pytest.approx(expected, abs=1e-9)
    assert judged > queries / 2


def test_a_list_without_gains_counts_as_perfect_and_ungraded_documents_are_left_out():
    scores, columns = torch.tensor([[3.0, 2.0, 1.0]] * 2), torch.tensor([[0, 1, 2]] * 2)
    grades = torch.tensor([[0.0, 0.0, 0.0], [torch.nan, 0.5, 1.0]])
    got = ndcg(given(scores, columns, torch.ones(2, 3, dtype=torch.bool), grades)).tolist()
    best = 1.0 + 0.5 / np.log2(3)
    assert got == pytest.approx([1.0, (0.5 + 1.0 / np.log2(3)) / best])
