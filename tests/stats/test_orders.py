import numpy as np
import pytest
from scipy.stats import pearsonr

from gradret.stats.orders import both_orders


def test_scores_within_queries_as_scipy_correlates_them():
    draw = np.random.default_rng(0)
    queries = [(draw.random(n) + level, draw.random(n) + level) for n, level in zip((4, 7, 2), (0, 9, 90), strict=True)]
    centred = [[side - side.mean() for side in query] for query in queries]
    found = both_orders([*queries, ([1.0], [0.0]), ([], [])])
    assert found.queries == 3
    assert found.correlation == pytest.approx(pearsonr(*map(np.concatenate, zip(*centred, strict=True))).statistic)


@pytest.mark.parametrize(
    ("queries", "correlation"),
    [
        ([([1, 0, 0], [1, 0, 0]), ([0, 1], [0, 1])], 1.0),
        ([([1, 0], [0, 1])], -1.0),
        # Whoever picks the places 1 and 2 of four picks other documents in reverse; places 1 and 3 likewise.
        ([([1, 1, 0, 0], [0, 0, 1, 1])], -1.0),
        ([([1, 1, 0, 0], [1, 0, 1, 0])], 0.0),
        # All documents of one query and none of another: nothing is told apart within either.
        ([([1, 1], [1, 1]), ([0, 0], [0, 0])], None),
        ([([1, 0], [1, 1])], None),
        ([], None),
    ],
)
def test_known_cases(queries, correlation):
    found = both_orders(queries)
    assert found.correlation == (correlation if correlation is None else pytest.approx(correlation))
    assert found.queries == len(queries)
