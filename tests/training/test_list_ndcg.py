"""nDCG of lists against ir_measures."""

import ir_measures
import numpy as np
import pytest
import torch

from gradret.losses import Lists
from gradret.training.step import list_ndcg


def test_agrees_with_ir_measures():
    draw = np.random.default_rng(0)
    queries, docs, length = 20, 60, 15
    scores = draw.normal(size=(queries, docs))
    columns = np.stack([draw.permutation(docs)[:length] for _ in range(queries)])
    present = np.arange(length) < draw.integers(2, length + 1, size=queries)[:, None]
    grades = draw.integers(0, 5, size=(queries, length)).astype(float)
    lists = Lists(
        scores_QN=torch.from_numpy(scores),
        columns_QG=torch.from_numpy(columns),
        present_QG=torch.from_numpy(present),
        grades_QG=torch.from_numpy(grades / 4),
        positives_QG=torch.zeros(queries, length, dtype=torch.bool),
        masked_QN=torch.zeros(queries, docs, dtype=torch.bool),
    )
    for query, got in enumerate(list_ndcg(lists).tolist()):
        kept = [(str(c), g) for c, g, p in zip(columns[query], grades[query], present[query], strict=True) if p]
        qrels = [ir_measures.Qrel("q", doc, int(grade)) for doc, grade in kept]
        run = [ir_measures.ScoredDoc("q", doc, scores[query, int(doc)]) for doc, _ in kept]
        expected = ir_measures.calc_aggregate([ir_measures.nDCG @ 10], qrels, run)[ir_measures.nDCG @ 10]
        if max(grade for _, grade in kept) > 0:
            assert got == pytest.approx(expected, abs=1e-9)


def test_a_list_without_gains_counts_as_perfect_and_ungraded_documents_as_zero():
    lists = Lists(
        scores_QN=torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]]),
        columns_QG=torch.tensor([[0, 1, 2], [0, 1, 2]]),
        present_QG=torch.ones(2, 3, dtype=torch.bool),
        grades_QG=torch.tensor([[0.0, 0.0, 0.0], [torch.nan, 1.0, 0.0]]),
        positives_QG=torch.zeros(2, 3, dtype=torch.bool),
        masked_QN=torch.zeros(2, 3, dtype=torch.bool),
    )
    assert list_ndcg(lists).tolist() == pytest.approx([1.0, 1 / np.log2(3)])
