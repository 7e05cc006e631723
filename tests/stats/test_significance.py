"""Means, intervals, the t-test and Holm's correction against formulas written out here."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pytest

from gradret.errors import ContractError
from gradret.report.tables import terminal_table
from gradret.stats.significance import headline_measure, name_of_test, order, p_text, results
from gradret.store import contracts

from ..report.by_hand import holm


def table(values: Mapping[str, Sequence[float]]) -> pa.Table:
    rows = [
        {"query_id": f"q{number:03d}", "measure": measure, "value": value}
        for measure, column in values.items()
        for number, value in enumerate(column)
    ]
    random.Random(3).shuffle(rows)
    return pa.Table.from_pylist(rows, contracts.schema("metrics"))


def draws(seed: int, count: int = 40, shift: float = 0.0) -> list[float]:
    draw = random.Random(seed)
    return [draw.random() + shift for _ in range(count)]


def t_test(differences: Sequence[float]) -> float:
    """Two-sided p by the formula, the tail of Student's t integrated with Simpson's rule."""
    n = len(differences)
    mean = sum(differences) / n
    t = abs(mean) / math.sqrt(sum((d - mean) ** 2 for d in differences) / (n - 1) / n)
    df = n - 1
    log_scale = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - 0.5 * math.log(df * math.pi)
    steps = 20_000
    width = t / steps
    weights = [1 if i in (0, steps) else 4 if i % 2 else 2 for i in range(steps + 1)]
    body = sum(
        w * math.exp(log_scale - (df + 1) / 2 * math.log1p((i * width) ** 2 / df)) for i, w in enumerate(weights)
    )
    return 1 - 2 * body * width / 3


def test_means_differences_and_significance() -> None:
    columns = {
        "teacher": {"MAP": draws(1), "nDCG@10": draws(2)},
        "tuned": {"MAP": draws(3, shift=0.2), "nDCG@10": draws(4, shift=0.05)},
        "base": {"MAP": draws(5), "nDCG@10": draws(6)},
        "bm25": {"MAP": draws(7), "nDCG@10": draws(8)},
    }
    found = results({name: table(column) for name, column in columns.items()}, ["nDCG@10", "MAP"], seed=0)

    assert found.systems == ["bm25", "base", "tuned", "teacher"]
    assert found.measures == ("nDCG@10", "MAP")
    for system, measures in columns.items():
        for measure, column in measures.items():
            assert found.means[system][measure].value == pytest.approx(sum(column) / 40, abs=1e-12)
    pairs = [(c.b, c.measure) for c in found.comparisons]
    assert pairs == [(b, m) for b in ("bm25", "base", "teacher") for m in ("nDCG@10", "MAP")]
    differences = [[a - b for a, b in zip(columns["tuned"][m], columns[b][m], strict=True)] for b, m in pairs]
    ps = [t_test(one) for one in differences]
    for c, difference, p, corrected in zip(found.comparisons, differences, ps, holm(ps), strict=True):
        assert c.difference == pytest.approx(sum(difference) / 40, abs=1e-12)
        assert c.p == pytest.approx(p, abs=1e-9)
        assert c.p_corrected == pytest.approx(corrected, abs=1e-8)
    assert min(ps) < 0.01 < max(ps)


def test_intervals_hold_the_mean_at_the_right_width_and_repeat() -> None:
    column = draws(9, count=400)
    mean, *again = (
        results({"tuned": table({"MAP": column})}, ["MAP"], seed=s).means["tuned"]["MAP"] for s in (1, 1, 2)
    )
    assert again[0] == mean
    assert again[1] != mean
    assert mean.low is not None
    assert mean.high is not None
    assert mean.low < mean.value < mean.high
    spread = math.sqrt(sum((v - mean.value) ** 2 for v in column) / 399)
    assert mean.high - mean.low == pytest.approx(2 * 1.96 * spread / 20, rel=0.1)


@pytest.mark.parametrize("difference", [0.0, 0.1])
def test_differences_without_spread_prove_nothing(difference: float) -> None:
    column = draws(10)
    other = [value + difference for value in column]
    found = results({"tuned": table({"MAP": column}), "base": table({"MAP": other})}, ["MAP"], seed=0)
    assert (found.comparisons[0].p, found.comparisons[0].p_corrected) == (1.0, 1.0)


def test_a_one_sided_test_asks_whether_tuned_is_better() -> None:
    better, worse = draws(3, shift=0.1), draws(5)
    two = t_test([a - b for a, b in zip(better, worse, strict=True)])
    tables = {"tuned": table({"MAP": better}), "base": table({"MAP": worse})}
    assert results(tables, ["MAP"], seed=0).comparisons[0].p == pytest.approx(two, abs=1e-9)
    assert results(tables, ["MAP"], seed=0, test="one-sided").comparisons[0].p == pytest.approx(two / 2, abs=1e-9)
    swapped = {"tuned": tables["base"], "base": tables["tuned"]}
    assert results(swapped, ["MAP"], seed=0, test="one-sided").comparisons[0].p == pytest.approx(1 - two / 2, abs=1e-9)
    assert [name_of_test(test) for test in ("two-sided", "one-sided")] == ["paired t", "paired t, one-sided"]


def test_one_query_leaves_nothing_to_test() -> None:
    found = results({"tuned": table({"MAP": [0.5]}), "base": table({"MAP": [0.25]})}, ["MAP"], seed=0)
    assert (found.comparisons[0].difference, found.comparisons[0].p, found.comparisons[0].p_corrected) == (
        0.25,
        None,
        None,
    )
    assert found.means["tuned"]["MAP"].low is None


def test_no_system_and_no_tuned_system() -> None:
    assert results({}, ["MAP"], seed=0).systems == []
    assert results({"bm25": table({"MAP": [0.5, 0.6]})}, ["MAP"], seed=0).comparisons == ()


def test_other_queries_are_refused() -> None:
    tables = {"tuned": table({"MAP": [0.5]}), "base": table({"MAP": [0.5, 0.6]})}
    with pytest.raises(ContractError, match="tuned and base were not evaluated on the same queries"):
        results(tables, ["MAP"], seed=0)


def test_a_missing_measure_is_refused() -> None:
    with pytest.raises(ContractError, match="tuned was not evaluated with nDCG@10 on every query"):
        results({"tuned": table({"MAP": [0.5]})}, ["MAP", "nDCG@10"], seed=0)


def test_names() -> None:
    assert order({"x": 0, "tuned": 0, "bm25": 0, "a": 0}) == ["bm25", "tuned", "a", "x"]
    assert headline_measure(["MAP", "nDCG@10"]) == "nDCG@10"
    assert headline_measure(["MAP"]) == "MAP"
    assert headline_measure([]) is None
    assert [p_text(p) for p in (None, 0.0004, 0.0126)] == ["p unknown", "p < 0.001", "p = 0.013"]


def test_terminal_table() -> None:
    def _item(other: str, measure: str, difference: float, p: float | None) -> dict[str, object]:
        return {"a": "tuned", "b": other, "measure": measure, "difference": difference, "p_corrected": p}

    metrics = {
        "queries": 1234,
        "systems": {
            "tuned": {"nDCG@10": 0.6523, "MAP": 0.5},
            "base": {"nDCG@10": 0.5436, "MAP": 0.4},
            "bm25": {"nDCG@10": 0.6546, "MAP": 0.45},
        },
        "significance": [
            _item("base", "nDCG@10", 0.1087, 0.00001),
            _item("base", "MAP", 0.1, 0.02),
            _item("bm25", "nDCG@10", -0.0023, 1.0),
            _item("bm25", "MAP", 0.05, None),
        ],
        "remarks": ["One.", "Two."],
    }
    assert terminal_table(metrics) == (
        "1,234 queries  nDCG@10     MAP\n"
        "bm25            0.6546  0.4500\n"
        "base            0.5436  0.4000\n"
        "tuned           0.6523  0.5000\n"
        "\n"
        "                tuned - base         tuned - bm25\n"
        "nDCG@10  +0.1087 (p < 0.001)  -0.0023 (p = 1.000)\n"
        "MAP      +0.1000 (p = 0.020)  +0.0500 (p unknown)\n\nOne.\n\nTwo."
    )


def test_terminal_table_of_a_partial_flow() -> None:
    assert terminal_table({"queries": 0, "systems": {}, "significance": [], "remarks": []}) == "no system was evaluated"
    alone = terminal_table({"queries": 2, "systems": {"bm25": {"MAP": 0.5}}, "significance": [], "remarks": []})
    assert alone == "2 queries     MAP\nbm25       0.5000"
