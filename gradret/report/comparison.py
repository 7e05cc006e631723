"""Systems on several datasets in one table: a row a dataset, means, differences, marks.

Every other system is compared with the first by a paired t-test over the queries of each row. The
p-values of one system, over all rows and measures, are corrected as one family after Holm: that is how
Tamber et al. (2025) mark their tables. Shares of judged documents are shown and not tested.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gradret.report.tables import grid
from gradret.stats.significance import ALPHA, Mean, holm, mean, name_of_test, p_text, paired, tested

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Values = npt.NDArray[np.float64]

__all__ = ["MARK", "Difference", "Row", "Table", "as_data", "compare", "markdown", "note", "terminal_text"]

MARK = "†"


@dataclass(frozen=True)
class Row:
    """A row of the table: a dataset, or the mean of several."""

    name: str
    parts: int
    queries: int
    means: dict[str, dict[str, Mean]]
    """By system and measure."""


@dataclass(frozen=True)
class Difference:
    """``a`` minus ``b`` in a row; ``p`` is None where fewer than two queries leave nothing to test."""

    row: str
    a: str
    b: str
    measure: str
    mean: Mean
    p: float | None
    p_corrected: float | None = None

    @property
    def significant(self) -> bool:
        """Whether the corrected p is below ``ALPHA``."""
        return self.p_corrected is not None and self.p_corrected < ALPHA


@dataclass(frozen=True)
class Table:
    """All systems on all datasets."""

    systems: tuple[str, ...]
    measures: tuple[str, ...]
    rows: tuple[Row, ...]
    averages: dict[str, dict[str, float]]
    """Means over the rows, by system and measure."""
    differences: tuple[Difference, ...]
    test: str

    def difference(self, row: str, system: str, measure: str) -> Difference | None:
        """Of a system to the first one, where it is tested."""
        found = (one for one in self.differences if (one.row, one.a, one.measure) == (row, system, measure))
        return next(found, None)

    @property
    def family(self) -> int:
        """How many p-values of a system were corrected together."""
        return max((sum(one.a == system for one in self.differences) for system in self.systems), default=0)


def compare(
    values: Mapping[str, Sequence[Mapping[str, Mapping[str, Values]]]], measures: Sequence[str], seed: int, test: str
) -> Table:
    """The table of values by row, part of the row, system and measure: a number a query, in one order.

    In a row of several parts every part counts the same, however many queries it has: a query's values are
    weighted so that their mean is the mean of the parts, and so are the differences that are tested.

    Args:
        values: every part has the same systems and measures.
        measures: in the order in which they are shown.
        seed: of the bootstrap.
        test: ``two-sided``, or ``one-sided``: whether a system is better than the first.
    """
    systems = tuple(next(iter(values.values()))[0])
    rows, differences = [], []
    for name, parts in values.items():
        own = {system: {m: _joined([part[system][m] for part in parts]) for m in measures} for system in systems}
        means = {system: {m: mean(own[system][m], seed) for m in measures} for system in systems}
        rows.append(Row(name, len(parts), len(own[systems[0]][measures[0]]), means))
        for system in systems[1:]:
            for measure in tested(measures):
                found = paired(own[system][measure] - own[systems[0]][measure], seed, test)
                differences.append(Difference(name, system, systems[0], measure, *found))
    averages = {s: {m: sum(row.means[s][m].value for row in rows) / len(rows) for m in measures} for s in systems}
    return Table(systems, tuple(measures), tuple(rows), averages, _corrected(differences, systems), test)


def _joined(parts: Sequence[Values]) -> Values:
    import numpy as np

    total = sum(map(len, parts))
    return np.concatenate([part * (total / (len(parts) * len(part))) for part in parts]) if len(parts) > 1 else parts[0]


def _corrected(differences: Sequence[Difference], systems: Sequence[str]) -> tuple[Difference, ...]:
    found: list[Difference] = []
    for system in systems:
        own = [one for one in differences if one.a == system]
        corrected = holm([one.p for one in own])
        found += [replace(one, p_corrected=p) for one, p in zip(own, corrected, strict=True)]
    return tuple(found)


def terminal_text(table: Table) -> str:
    """The table as plain text."""
    return "\n\n".join([*map(grid, _grids(table)), note(table)])


def markdown(table: Table) -> str:
    """The table as Markdown."""
    grids = []
    for head, *rows in _grids(table):
        lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
        grids.append("\n".join(f"| {' | '.join(cells)} |" for cells in lines))
    return "\n\n".join([*grids, note(table)]) + "\n"


def note(table: Table) -> str:
    """What the marks and means mean."""
    said = []
    if table.differences:
        what = "is better than" if table.test == "one-sided" else "differs from"
        tests = "1 test" if table.family == 1 else f"{table.family} tests of a system"
        said.append(
            f"{MARK} {what} {table.systems[0]}: {table.test} paired t-test over the queries, "
            f"Holm-corrected over {tests}, p < {ALPHA}."
        )
    said += [f"{row.name}: the mean of {row.parts} parts." for row in table.rows if row.parts > 1]
    return " ".join(said)


def _grids(table: Table) -> list[list[list[str]]]:
    """Tables of cells: one of systems for one dataset; ``before -> after`` for two systems; else one a measure."""
    if len(table.rows) == 1:
        return [_of_systems(table, table.rows[0])]
    if len(table.systems) <= 2:
        head = [" -> ".join(table.systems), *table.measures]
        lines = [[row.name, *(_arrow(table, row, m) for m in table.measures)] for row in table.rows]
        means = [" -> ".join(f"{table.averages[s][m]:.4f}" for s in table.systems) for m in table.measures]
        return [[head, *lines, ["mean", *means]]]
    return [_of_measure(table, measure) for measure in table.measures]


def _of_systems(table: Table, row: Row) -> list[list[str]]:
    lines = [[f"{row.name}, {row.queries:,} queries", *table.measures]]
    for system in table.systems:
        cells = []
        for measure in table.measures:
            one = table.difference(row.name, system, measure)
            change = f" ({one.mean.value:+.4f}, {p_text(one.p_corrected)})" if one else ""
            cells.append(f"{row.means[system][measure].value:.4f}{_mark(one)}{change}")
        lines.append([system, *cells])
    return lines


def _of_measure(table: Table, measure: str) -> list[list[str]]:
    lines = [[row.name, *(_cell(table, row, system, measure) for system in table.systems)] for row in table.rows]
    means = [f"{table.averages[system][measure]:.4f}" for system in table.systems]
    return [[measure, *table.systems], *lines, ["mean", *means]]


def _arrow(table: Table, row: Row, measure: str) -> str:
    return " -> ".join(_cell(table, row, system, measure) for system in table.systems)


def _cell(table: Table, row: Row, system: str, measure: str) -> str:
    return f"{row.means[system][measure].value:.4f}{_mark(table.difference(row.name, system, measure))}"


def _mark(one: Difference | None) -> str:
    return MARK if one and one.significant else ""


def as_data(table: Table) -> dict[str, Any]:
    """What ``metrics.json`` holds of it."""
    return {
        "datasets": {
            row.name: {
                "queries": row.queries,
                "parts": row.parts,
                "systems": {system: {m: one.value for m, one in means.items()} for system, means in row.means.items()},
                "intervals": {
                    system: {m: [one.low, one.high] for m, one in means.items()} for system, means in row.means.items()
                },
            }
            for row in table.rows
        },
        "mean": table.averages,
        "significance": [
            {
                "dataset": one.row,
                "a": one.a,
                "b": one.b,
                "measure": one.measure,
                "difference": one.mean.value,
                "interval": [one.mean.low, one.mean.high],
                "p": one.p,
                "p_corrected": one.p_corrected,
                "test": name_of_test(table.test),
                "correction": "holm",
            }
            for one in table.differences
        ],
    }
