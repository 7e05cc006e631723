"""The dev measures against ir_measures, whatever the blocks they are computed in."""

import ir_measures
import numpy as np
import pyarrow as pa
import pytest
import torch

from gradret.training.batches import Batch, Groups
from gradret.training.dev import ndcg

from .students import rows, table

DOCS = [f"d{number:03d}" for number in range(60)]


def groups(queries):
    return Groups(table(rows(queries, DOCS, longest=15)), pa.array(DOCS), 15, 0)


def expected(batch, vectors):
    """nDCG@10 of each query by ir_measures, from grades times a million; None where it has none."""
    docs, queries = vectors[: len(batch.docs_N)], vectors[len(batch.docs_N) :]
    scores = (queries @ docs.T).numpy()
    values = []
    for query in range(len(batch.queries_Q)):
        listed = batch.columns_QG[query][batch.present_QG[query]].tolist()
        grades = batch.grades_QG[query][batch.present_QG[query]].tolist()
        out = {column for column, grade in zip(listed, grades, strict=True) if np.isnan(grade)}
        out |= set(batch.masked_2M[1][batch.masked_2M[0] == query].tolist())
        qrels = [
            ir_measures.Qrel("q", str(column), round(1e6 * grade))
            for column, grade in zip(listed, grades, strict=True)
            if column not in out
        ]
        run = [ir_measures.ScoredDoc("q", str(c), float(s)) for c, s in enumerate(scores[query]) if c not in out]
        gains = any(qrel.relevance > 0 for qrel in qrels)
        measured = ir_measures.calc_aggregate([ir_measures.nDCG @ 10], qrels, run) if gains else {}
        values.append(measured.get(ir_measures.nDCG @ 10))
    return values


@pytest.mark.parametrize(("block", "columns"), [(512, 16_384), (7, 11), (1, 1)])
@pytest.mark.parametrize("extra", [None, np.arange(0, 60, 3)])
def test_agrees_with_ir_measures_in_any_blocks(block, columns, extra):
    batch = groups(30).batch(np.arange(30), 0, more_docs=extra)
    torch.manual_seed(0)
    vectors = torch.randn(len(batch.docs_N) + 30, 8, dtype=torch.float64)
    want = expected(batch, vectors)
    got = ndcg(batch, vectors, rows=block, columns=columns).tolist()
    assert batch.masked_2M.shape[1] > 10
    assert sum(value is not None and value < 0.99 for value in want) > 15
    for measured, value in zip(got, want, strict=True):
        assert measured == pytest.approx(1.0 if value is None else value, abs=1e-5)


def small(grades):
    """A query whose list is all documents, in this order by score."""
    count = len(grades)
    batch = Batch(
        queries_Q=np.arange(1),
        docs_N=np.arange(count),
        columns_QG=np.arange(count)[None],
        present_QG=np.ones((1, count), bool),
        grades_QG=np.array([grades], np.float32),
        teacher_QG=np.array([grades], np.float32),
        positives_QG=np.zeros((1, count), bool),
        masked_2M=np.zeros((2, 0), np.int64),
        firsts_N=np.zeros(count, bool),
        draws_Q=np.zeros(1, np.int64),
    )
    return batch, torch.tensor([[3.0 - place] for place in range(count)] + [[1.0]])


def test_a_list_without_gains_counts_as_perfect_and_ungraded_documents_are_left_out():
    assert ndcg(*small([0.0, 0.0, 0.0])).tolist() == [1.0]
    best = 1.0 + 0.5 / np.log2(3)
    assert ndcg(*small([np.nan, 0.5, 1.0])).tolist() == pytest.approx([(0.5 + 1.0 / np.log2(3)) / best])
