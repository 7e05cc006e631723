"""Compare TREC run files by the judgments of a file, without a corpus and without a storage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.errors import DataError
from gradret.measures import Judgments, measured, parse_measures
from gradret.report.comparison import Table, compare
from gradret.search.trec import read_run
from gradret.stats.agreement import read_qrels
from gradret.stats.significance import values_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Values = npt.NDArray[np.float64]

__all__ = ["Compared", "compare_runs"]

_SEED = 0


@dataclass(frozen=True)
class Compared:
    """The table of the runs, and by run what did not fit the judgments."""

    table: Table
    counts: dict[str, dict[str, int]]

    @property
    def remarks(self) -> list[str]:
        """A line a run that something did not fit of."""
        said = {
            "without_results": "{:,} judged queries have no results and count as 0",
            "unjudged_queries": "{:,} of its queries have no judgment and do not count",
        }
        lines = []
        for run, counts in self.counts.items():
            found = [text.format(counts[name]) for name, text in said.items() if counts.get(name)]
            lines += [f"{run}: {', '.join(found)}"] if found else []
        return lines


def compare_runs(
    qrels: str | Path, runs: Sequence[str | Path], measures: Sequence[str], test: str = "two-sided"
) -> Compared:
    """Measure every run, and compare the others with the first.

    Args:
        qrels: judgments, TREC's or BEIR's.
        runs: run files.
        measures: as ``evaluate.measures``.
        test: as ``evaluate.test``.

    Raises:
        ConfigError: a measure cannot be computed.
        DataError: a file cannot be read, a grade is not a whole number, or a run has none of the queries.
    """
    parsed = parse_measures(measures)
    judgments = _judgments(qrels)
    values: dict[str, dict[str, Values]] = {}
    counts: dict[str, dict[str, int]] = {}
    for path, name in zip(runs, _names(runs), strict=True):
        metrics, counts[name] = measured(parsed, judgments, [read_run(path)], str(path))
        if counts[name]["without_results"] == len(judgments):
            raise DataError(f"{path}: none of its queries has a judgment in {qrels}")
        values[name] = values_of(name, metrics, list(parsed))[1]
    return Compared(compare({Path(qrels).name: [values]}, list(parsed), _SEED, test), counts)


def _judgments(qrels: str | Path) -> Judgments:
    judgments: Judgments = {}
    for (query_id, doc_id), grade in read_qrels(qrels).items():
        if not float(grade).is_integer():
            raise DataError(f"{qrels}: grades must be whole numbers, got {grade} for {query_id} and {doc_id}")
        judgments.setdefault(query_id, {})[doc_id] = int(grade)
    if not judgments:
        raise DataError(f"{qrels}: holds no judgments")
    return judgments


def _names(runs: Sequence[str | Path]) -> list[str]:
    """File names without what all end in, or, where two are the same, the paths as given."""
    names = [Path(run).name.removesuffix(".gz").removesuffix(".trec").removesuffix(".run") for run in runs]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]
