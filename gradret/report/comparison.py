"""Compare systems on several datasets in one table: a row per dataset, with means, differences and significance marks.

Each system is compared with the first one by a paired t-test over the queries of each row. The p-values of a system,
over all rows and measures, are one family for Holm's correction, as in the tables of Tamber et al. (2025). Shares of
judged documents are shown but not tested.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gradret.report.remarks import few
from gradret.report.tables import grid
from gradret.stats.significance import ALPHA, Mean, holm, mean, name_of_test, p_text, paired, tested

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Values = npt.NDArray[np.float64]

__all__ = [
    "MARK",
    "Difference",
    "Row",
    "Table",
    "as_data",
    "compare",
    "few_queries",
    "legend",
    "markdown",
    "note",
    "terminal_text",
]

MARK = "†"


@dataclass(frozen=True)
class Row:
    """A row of the table: a dataset, or the mean of several datasets."""

    name: str
    parts: int
    """Number of datasets."""
    queries: int
    means: dict[str, dict[str, Mean]]
    """Means by system and measure."""


@dataclass(frozen=True)
class Difference:
    """The difference ``a - b`` of two systems in a row; ``p`` is None below two queries."""

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
        """The difference of a system from the first one; None if it is not tested."""
        key = (row, system, measure)
        return next((each for each in self.differences if (each.row, each.a, each.measure) == key), None)

    @property
    def family(self) -> int:
        """Number of p-values that are corrected together, per system."""
        return max((sum(each.a == system for each in self.differences) for system in self.systems), default=0)


def compare(
    values: Mapping[str, Sequence[Mapping[str, Mapping[str, Values]]]], measures: Sequence[str], seed: int, test: str
) -> Table:
    """Build the table from the values of all queries.

    In a row of several parts, every part counts equally, whatever its number of queries: values are weighted so that
    their mean is the mean of the parts; so are the differences that are tested.

    Args:
        values: for each row and part of it, by system and measure: one value per query, in the same order for all
            systems. Every part has the same systems and measures.
        measures: measures in display order.
        seed: seed of the bootstrap.
        test: ``two-sided``, or ``one-sided`` (whether a system is better than the first).
    """
    systems = tuple(next(iter(values.values()))[0])
    rows, differences = [], []
    for name, parts in values.items():
        of_row = {system: {m: _weigh([part[system][m] for part in parts]) for m in measures} for system in systems}
        means = {system: {m: mean(of_row[system][m], seed) for m in measures} for system in systems}
        rows.append(Row(name, len(parts), len(of_row[systems[0]][measures[0]]), means))
        for system in systems[1:]:
            for measure in tested(measures):
                difference, p = paired(of_row[system][measure] - of_row[systems[0]][measure], seed, test)
                differences.append(Difference(name, system, systems[0], measure, difference, p))
    averages = {s: {m: sum(row.means[s][m].value for row in rows) / len(rows) for m in measures} for s in systems}
    return Table(systems, tuple(measures), tuple(rows), averages, _correct(differences, systems), test)


def _weigh(parts: Sequence[Values]) -> Values:
    """Concatenate the parts, weighted so that the mean of all values is the mean of the parts' means."""
    import numpy as np

    total = sum(map(len, parts))
    return np.concatenate([part * (total / (len(parts) * len(part))) for part in parts]) if len(parts) > 1 else parts[0]


def _correct(differences: Sequence[Difference], systems: Sequence[str]) -> tuple[Difference, ...]:
    corrected: list[Difference] = []
    for system in systems:
        family = [difference for difference in differences if difference.a == system]
        ps = holm([difference.p for difference in family])
        corrected += [replace(difference, p_corrected=p) for difference, p in zip(family, ps, strict=True)]
    return tuple(corrected)


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
    """The legend, and rows of few queries."""
    return " ".join([legend(table), *few_queries(table)]).strip()


def legend(table: Table) -> str:
    """Legend of the marks and of rows that are means."""
    sentences = []
    if table.differences:
        relation = "is better than" if table.test == "one-sided" else "differs from"
        tests = "1 test" if table.family == 1 else f"{table.family} tests per system"
        sentences.append(
            f"{MARK} {relation} {table.systems[0]}: {table.test} paired t-test over the queries, "
            f"Holm-corrected over {tests}, p < {ALPHA}."
        )
    sentences += [f"{row.name}: mean of {row.parts} parts." for row in table.rows if row.parts > 1]
    return " ".join(sentences)


def few_queries(table: Table) -> list[str]:
    """A sentence if rows have few test queries, else none."""
    return few({row.name: row.queries for row in table.rows})


def _grids(table: Table) -> list[list[list[str]]]:
    """Tables of cells: for one dataset, systems as rows; for two systems, ``before -> after``; else one per measure."""
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
            difference = table.difference(row.name, system, measure)
            change = f" ({difference.mean.value:+.4f}, {p_text(difference.p_corrected)})" if difference else ""
            cells.append(f"{row.means[system][measure].value:.4f}{_mark(difference)}{change}")
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


def _mark(difference: Difference | None) -> str:
    return MARK if difference and difference.significant else ""


def as_data(table: Table) -> dict[str, Any]:
    """The table for ``metrics.json``."""
    return {
        "datasets": {
            row.name: {
                "queries": row.queries,
                "parts": row.parts,
                "systems": {s: {m: mean.value for m, mean in means.items()} for s, means in row.means.items()},
                "intervals": {
                    s: {m: [mean.low, mean.high] for m, mean in means.items()} for s, means in row.means.items()
                },
            }
            for row in table.rows
        },
        "mean": table.averages,
        "significance": [
            {
                "dataset": difference.row,
                "a": difference.a,
                "b": difference.b,
                "measure": difference.measure,
                "difference": difference.mean.value,
                "interval": [difference.mean.low, difference.mean.high],
                "p": difference.p,
                "p_corrected": difference.p_corrected,
                "test": name_of_test(table.test),
                "correction": "holm",
            }
            for difference in table.differences
        ],
    }
