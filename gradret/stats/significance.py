"""Summarise a run's results: means with confidence intervals, and differences with their significance.

``tuned`` is compared with every other system by a paired t-test over the queries. All p-values together
are corrected by Holm's method, so that more comparisons do not mean more false positives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from gradret.errors import ContractError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Values = npt.NDArray[np.float64]

__all__ = [
    "ALPHA",
    "Comparison",
    "Mean",
    "Results",
    "compare_pairs",
    "headline_measure",
    "holm",
    "mean",
    "name_of_test",
    "order",
    "p_text",
    "p_value",
    "paired",
    "results",
    "significance",
    "tested",
    "values_of",
]

ALPHA = 0.05
"""Differences with a corrected p below this are called significant."""

_ORDER = ("bm25", "base", "tuned", "hybrid", "teacher")
_RESAMPLES = 2000
_SAME = 1e-12


@dataclass(frozen=True)
class Mean:
    """A system's mean over the queries, with the 95% bootstrap interval; None with fewer than two queries."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Comparison:
    """The difference ``a`` minus ``b``; ``p`` is None with fewer than two queries."""

    a: str
    b: str
    measure: str
    difference: float
    p: float | None
    p_corrected: float | None


@dataclass(frozen=True)
class Results:
    """All systems on the same queries. ``values`` has one number per query, in the order of ``query_ids``."""

    measures: tuple[str, ...]
    query_ids: tuple[str, ...]
    values: dict[str, dict[str, Values]]
    means: dict[str, dict[str, Mean]]
    comparisons: tuple[Comparison, ...]
    test: str = "two-sided"

    @property
    def systems(self) -> list[str]:
        """Names in display order."""
        return list(self.values)

    @property
    def tested(self) -> list[str]:
        """The measures whose differences are tested."""
        return tested(self.measures)

    def comparison(self, other: str, measure: str) -> Comparison | None:
        """Return the comparison of ``tuned`` with ``other``, if both were evaluated."""
        matches = (c for c in self.comparisons if c.b == other and c.measure == measure)
        return next(matches, None)


def results(tables: Mapping[str, pa.Table], measures: Sequence[str], seed: int, test: str = "two-sided") -> Results:
    """Compute means, intervals and comparisons from the systems' METRICS.

    Args:
        tables: METRICS of each system, by its name.
        measures: the measures to show, in order.
        seed: seed of the bootstrap.
        test: ``two-sided``, or ``one-sided``: whether ``tuned`` is better.

    Raises:
        ContractError: the systems were not evaluated on the same queries, or one lacks a measure.
    """
    measures = tuple(dict.fromkeys(measures))
    query_ids: tuple[str, ...] = ()
    values: dict[str, dict[str, Values]] = {}
    for system in order(tables):
        ids, values[system] = values_of(system, tables[system], measures)
        if query_ids and ids != query_ids:
            raise ContractError(f"{system} and {next(iter(values))} were not evaluated on the same queries")
        query_ids = ids
    means = {
        system: {measure: mean(one, seed) for measure, one in by_measure.items()}
        for system, by_measure in values.items()
    }
    return Results(measures, query_ids, values, means, _compare(values, measures, test), test)


def paired(differences: Values, seed: int, test: str = "two-sided") -> tuple[Mean, float | None]:
    """Return the mean of per-query differences with its 95% bootstrap interval, and the p-value of a paired t-test."""
    return mean(differences, seed), p_value(differences, test)


def name_of_test(test: str) -> str:
    """Return the test's name in ``metrics.json``: ``paired t``, or ``paired t, one-sided``."""
    return "paired t" if test == "two-sided" else f"paired t, {test}"


def order(systems: Mapping[str, object]) -> list[str]:
    """Return the systems in display order: bm25, base, tuned, teacher, then any others by name."""
    first = [name for name in _ORDER if name in systems]
    return first + sorted(set(systems) - set(first))


def tested(measures: Sequence[str]) -> list[str]:
    """Return the measures whose differences are tested; the share of judged documents does not measure quality."""
    return [measure for measure in measures if not measure.lower().startswith("judged")]


def headline_measure(measures: Sequence[str]) -> str | None:
    """Return nDCG@10, or the first measure if nDCG@10 is not among them."""
    return "nDCG@10" if "nDCG@10" in measures else next(iter(measures), None)


def values_of(system: str, table: pa.Table, measures: Sequence[str]) -> tuple[tuple[str, ...], dict[str, Values]]:
    """Return the query ids, sorted, and each measure's values in that order."""
    import numpy as np
    import pyarrow.compute as pc

    query_ids: tuple[str, ...] = ()
    values: dict[str, Values] = {}
    for measure in measures:
        rows = table.filter(pc.equal(table["measure"], measure)).sort_by("query_id")
        ids = tuple(rows["query_id"].to_pylist())
        if not ids or (query_ids and ids != query_ids):
            raise ContractError(f"{system} was not evaluated with {measure} on every query")
        query_ids = ids
        values[measure] = np.asarray(rows["value"].to_pylist(), np.float64)
    return query_ids, values


def mean(values: Values, seed: int) -> Mean:
    """Return the mean with its 95% interval: percentiles of 2,000 bootstrap samples of the queries."""
    import numpy as np
    from scipy.stats import bootstrap

    value = float(values.mean())
    if len(values) < 2:
        return Mean(value, None, None)
    result = bootstrap(
        (values,),
        np.mean,
        n_resamples=_RESAMPLES,
        batch=max(1, 1_000_000 // len(values)),
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return Mean(value, float(result.confidence_interval.low), float(result.confidence_interval.high))


def _compare(values: Mapping[str, Mapping[str, Values]], measures: Sequence[str], test: str) -> tuple[Comparison, ...]:
    if "tuned" not in values:
        return ()
    others = [system for system in values if system != "tuned"]
    return compare_pairs(values, [("tuned", other, m) for other in others for m in tested(measures)], test)


def compare_pairs(
    values: Mapping[str, Mapping[str, Values]], pairs: Sequence[tuple[str, str, str]], test: str = "two-sided"
) -> tuple[Comparison, ...]:
    """Run paired t-tests for each ``(a, b, measure)``, corrected by Holm's method as one family.

    Args:
        values: one number per query, in the same order everywhere, by system and measure.
        pairs: the comparisons.
        test: ``two-sided``, or ``one-sided``: whether ``a`` is better.
    """
    differences = [values[a][measure] - values[b][measure] for a, b, measure in pairs]
    ps = [p_value(difference, test) for difference in differences]
    return tuple(
        Comparison(*pair, float(difference.mean()), p, corrected)
        for pair, difference, p, corrected in zip(pairs, differences, ps, holm(ps), strict=True)
    )


def significance(comparisons: Sequence[Comparison], test: str = "two-sided") -> list[dict[str, Any]]:
    """Return the comparisons in the format of the JSON files."""
    return [vars(comparison) | {"test": name_of_test(test), "correction": "holm"} for comparison in comparisons]


def p_value(differences: Values, test: str = "two-sided") -> float | None:
    """Return the p-value of a paired t-test on per-query differences; None for fewer than two.

    ``one-sided`` tests whether their mean is above 0. If all differences are equal, their variance is 0, and the
    result is 1.
    """
    from scipy.stats import ttest_1samp

    if len(differences) < 2:
        return None
    if float(differences.max() - differences.min()) <= _SAME:
        return 1.0
    alternative: Literal["greater", "two-sided"] = "greater" if test == "one-sided" else "two-sided"
    return float(ttest_1samp(differences, 0.0, alternative=alternative).pvalue)


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Correct p-values by the method of Holm (1979) as one family; None stays None and is not counted."""
    known = [p for p in ps if p is not None]
    if not known:
        return list(ps)
    from statsmodels.stats.multitest import multipletests

    corrected = iter(multipletests(known, method="holm")[1].tolist())
    return [None if p is None else float(next(corrected)) for p in ps]


def p_text(p: float | None) -> str:
    """Format a p-value: ``p = 0.012``, ``p < 0.001``, or ``p unknown``."""
    if p is None:
        return "p unknown"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
