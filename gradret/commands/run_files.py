"""``gradret evaluate --qrels``: compare TREC run files by a file of judgments, without corpus or storage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.compressed import plain_name
from gradret.errors import DataError
from gradret.judgments import read_qrels, whole_number
from gradret.measures import Judgments, compute_metrics, parse_measures
from gradret.report.comparison import Table, compare
from gradret.search.trec import read_run
from gradret.stats.significance import values_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Values = npt.NDArray[np.float64]

__all__ = ["RunComparison", "compare_runs"]

_SEED = 0


@dataclass(frozen=True)
class RunComparison:
    """The table of the runs, and counts of each run's mismatches with the judgments."""

    table: Table
    counts: dict[str, dict[str, int]]

    @property
    def remarks(self) -> list[str]:
        """One line for each run with mismatches."""
        texts = {
            "without_results": "{:,} judged queries have no results and count as 0",
            "unjudged_queries": "{:,} of its queries have no judgment and do not count",
        }
        lines = []
        for run, counts in self.counts.items():
            parts = [text.format(counts[name]) for name, text in texts.items() if counts.get(name)]
            lines += [f"{run}: {', '.join(parts)}"] if parts else []
        return lines


def compare_runs(
    qrels: str | Path, runs: Sequence[str | Path], measures: Sequence[str], test: str = "two-sided"
) -> RunComparison:
    """Measure every run, and compare each with the first.

    Args:
        qrels: a file of judgments, in TREC's or BEIR's format.
        runs: TREC run files.
        measures: names of measures, as in ``evaluate.measures``.
        test: ``two-sided`` or ``one-sided``, as in ``evaluate.test``.

    Raises:
        ConfigError: a measure cannot be computed.
        DataError: a file cannot be read, a grade is not a whole number, or a run has none of the judged queries.
    """
    parsed = parse_measures(measures)
    judgments = _judgments(qrels)
    values: dict[str, dict[str, Values]] = {}
    counts: dict[str, dict[str, int]] = {}
    for path, name in zip(runs, _names(runs), strict=True):
        metrics, counts[name] = compute_metrics(parsed, judgments, [read_run(path)], str(path))
        if counts[name]["without_results"] == len(judgments):
            raise DataError(f"{path}: none of its queries has a judgment in {qrels}")
        values[name] = values_of(name, metrics, list(parsed))[1]
    return RunComparison(compare({Path(qrels).name: [values]}, list(parsed), _SEED, test), counts)


def _judgments(qrels: str | Path) -> Judgments:
    judgments: Judgments = {}
    for (query_id, doc_id), grade in read_qrels(qrels).items():
        judgments.setdefault(query_id, {})[doc_id] = _whole(qrels, query_id, doc_id, grade)
    if not judgments:
        raise DataError(f"{qrels}: contains no judgments")
    return judgments


def _whole(qrels: str | Path, query_id: str, doc_id: str, grade: float) -> int:
    try:
        whole = whole_number(grade)
    except OverflowError as error:
        raise DataError(f"{qrels}: query {query_id}, document {doc_id}: the grade {error}") from None
    if whole is None:
        raise DataError(f"{qrels}: grades must be whole numbers, got {grade} for {query_id} and {doc_id}")
    return whole


def _names(runs: Sequence[str | Path]) -> list[str]:
    """File names without their suffix, or the paths as given if two names are the same."""
    names = [plain_name(Path(run)).name.removesuffix(".trec").removesuffix(".run") for run in runs]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]
