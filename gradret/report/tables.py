"""Numbers of a run: means with intervals, differences with their significance, the final table.

``tuned`` is compared with every other system by a two-sided paired t-test over the queries, and
all p-values together are corrected after Holm, so that the more one looks the less one finds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
    "headline_measure",
    "order",
    "p_text",
    "paired",
    "results",
    "terminal_table",
]

ALPHA = 0.05
"""Differences with a corrected p below this are called significant."""

_ORDER = ("bm25", "base", "tuned", "teacher")
_RESAMPLES = 2000
_SAME = 1e-12


@dataclass(frozen=True)
class Mean:
    """A system's mean over the queries, with the 95% bootstrap interval; none below two queries."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Comparison:
    """``a`` minus ``b``; ``p`` is None where fewer than two queries leave nothing to test."""

    a: str
    b: str
    measure: str
    difference: float
    p: float | None
    p_corrected: float | None


@dataclass(frozen=True)
class Results:
    """All systems on the same queries. ``values`` has a number a query, in the order of ``query_ids``."""

    measures: tuple[str, ...]
    query_ids: tuple[str, ...]
    values: dict[str, dict[str, Values]]
    means: dict[str, dict[str, Mean]]
    comparisons: tuple[Comparison, ...]

    @property
    def systems(self) -> list[str]:
        """Names in the order in which they are shown."""
        return list(self.values)

    def comparison(self, other: str, measure: str) -> Comparison | None:
        """``tuned`` against ``other``, if both were evaluated."""
        found = (c for c in self.comparisons if c.b == other and c.measure == measure)
        return next(found, None)


def results(tables: Mapping[str, pa.Table], measures: Sequence[str], seed: int) -> Results:
    """Means, intervals and comparisons of the systems' METRICS.

    Args:
        tables: METRICS of each system, by its name.
        measures: which to show, in order.
        seed: of the bootstrap.

    Raises:
        ContractError: the systems were not evaluated on the same queries, or one lacks a measure.
    """
    measures = tuple(dict.fromkeys(measures))
    query_ids: tuple[str, ...] = ()
    values: dict[str, dict[str, Values]] = {}
    for system in order(tables):
        ids, values[system] = _values(system, tables[system], measures)
        if query_ids and ids != query_ids:
            raise ContractError(f"{system} and {next(iter(values))} were not evaluated on the same queries")
        query_ids = ids
    means = {
        system: {measure: _mean(one, seed) for measure, one in by_measure.items()}
        for system, by_measure in values.items()
    }
    return Results(measures, query_ids, values, means, _compare(values, measures))


def paired(differences: Values, seed: int) -> tuple[Mean, float | None]:
    """The mean of a query's differences with its 95% bootstrap interval, and the p of a two-sided paired t-test."""
    return _mean(differences, seed), _p_value(differences)


def order(systems: Mapping[str, object]) -> list[str]:
    """bm25, base, tuned, teacher, and any others by name."""
    first = [name for name in _ORDER if name in systems]
    return first + sorted(set(systems) - set(first))


def headline_measure(measures: Sequence[str]) -> str | None:
    """nDCG@10, or the first measure where that was not asked for."""
    return "nDCG@10" if "nDCG@10" in measures else next(iter(measures), None)


def _values(system: str, table: pa.Table, measures: tuple[str, ...]) -> tuple[tuple[str, ...], dict[str, Values]]:
    """Query ids, sorted, and each measure's values in that order."""
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


def _mean(values: Values, seed: int) -> Mean:
    import numpy as np
    from scipy.stats import bootstrap

    mean = float(values.mean())
    if len(values) < 2:
        return Mean(mean, None, None)
    found = bootstrap(
        (values,),
        np.mean,
        n_resamples=_RESAMPLES,
        batch=max(1, 1_000_000 // len(values)),
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return Mean(mean, float(found.confidence_interval.low), float(found.confidence_interval.high))


def _compare(values: Mapping[str, Mapping[str, Values]], measures: Sequence[str]) -> tuple[Comparison, ...]:
    if "tuned" not in values:
        return ()
    pairs = [(other, measure) for other in values if other != "tuned" for measure in measures]
    differences = [values["tuned"][measure] - values[other][measure] for other, measure in pairs]
    ps = [_p_value(difference) for difference in differences]
    return tuple(
        Comparison("tuned", other, measure, float(difference.mean()), p, corrected)
        for (other, measure), difference, p, corrected in zip(pairs, differences, ps, _holm(ps), strict=True)
    )


def _p_value(differences: Values) -> float | None:
    """Two-sided paired t-test. Differences that are all the same have no spread to test against: 1."""
    from scipy.stats import ttest_1samp

    if len(differences) < 2:
        return None
    if float(differences.max() - differences.min()) <= _SAME:
        return 1.0
    return float(ttest_1samp(differences, 0.0).pvalue)


def _holm(ps: Sequence[float | None]) -> list[float | None]:
    known = [p for p in ps if p is not None]
    if not known:
        return list(ps)
    from statsmodels.stats.multitest import multipletests

    corrected = iter(multipletests(known, method="holm")[1].tolist())
    return [None if p is None else float(next(corrected)) for p in ps]


def terminal_table(metrics: Mapping[str, Any]) -> str:
    """The plain-text table that ``gradret run`` ends with.

    Args:
        metrics: what ``metrics.json`` holds.
    """
    systems = metrics["systems"]
    if not systems:
        return "no system was evaluated"
    measures = list(next(iter(systems.values())))
    rows = [[name, *(f"{systems[name][measure]:.4f}" for measure in measures)] for name in order(systems)]
    text = _grid([[f"{metrics['queries']:,} queries", *measures], *rows])
    found = {(item["b"], item["measure"]): item for item in metrics["significance"]}
    others = [name for name in ("base", "bm25") if any(name == other for other, _ in found)]
    if not others:
        return text
    rows = [[measure, *(_change(found[other, measure]) for other in others)] for measure in measures]
    return f"{text}\n\n{_grid([['', *(f'tuned - {other}' for other in others)], *rows])}"


def p_text(p: float | None) -> str:
    """``p = 0.012``, ``p < 0.001``, or ``p unknown``."""
    if p is None:
        return "p unknown"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _change(item: Mapping[str, Any]) -> str:
    return f"{item['difference']:+.4f} ({p_text(item['p_corrected'])})"


def _grid(rows: list[list[str]]) -> str:
    """Columns in line: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells]))
    return "\n".join(lines)
