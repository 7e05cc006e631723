"""Measure how well a judge's grades, and its ranking of pairs, agree with human labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.errors import DataError
from gradret.judgments import read_qrels

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from gradret.store.artifacts import Artifact

    Values = npt.NDArray[np.float64]
    Grades = npt.NDArray[np.int64]

__all__ = [
    "THRESHOLDS",
    "Agreement",
    "Judgments",
    "agreement",
    "compare",
    "graded_alike",
    "teacher_agreement",
    "terminal_text",
]

Judgments = Mapping[tuple[str, str], float]
"""Relevance by (query_id, doc_id)."""

THRESHOLDS = (1, 2)
"""Lowest grades at which a document counts as relevant; in TREC's Deep Learning track, 2 for a passage."""


@dataclass(frozen=True)
class Agreement:
    """Agreement between human and other judgments, on the pairs that both have.

    A number that cannot be computed is None: a kappa if both give every pair the same grade, a rank
    correlation if either does, and all kappas if the scores are not grades.
    """

    pairs: int
    """Number of pairs (query_id, doc_id) that both judged."""
    kappa: float | None
    """Cohen (1960): 1 is full agreement, 0 is agreement expected by chance."""
    quadratic_kappa: float | None
    """Cohen (1968): a disagreement is weighted by the squared difference of the grades."""
    binary_kappa: dict[int, float | None]
    """Kappa of binary grades, relevant or not, for each of ``THRESHOLDS``."""
    kendall_tau: float | None
    """Kendall's tau-b of the unchanged scores, over all queries together."""
    spearman: float | None
    """Spearman's rank correlation, likewise."""
    grades: tuple[int, ...]
    """Grades that either gave, ascending."""
    confusion: tuple[tuple[int, ...], ...]
    """Number of pairs: one row per human grade, one column per other grade, in the order of ``grades``."""
    share_of: int | None
    """If the other scores were fractions in [0, 1]: the highest human grade, by which they were multiplied."""


def agreement(human: Judgments, other: Judgments) -> Agreement:
    """Return how well ``other`` agrees with ``human`` on the pairs that both judge.

    Scores that are all whole numbers are grades. Scores in [0, 1], such as a judge's expected grade, become
    grades as ``score * highest human grade``, with halves rounded up. Other scores are not grades and
    have only rank correlations.

    Raises:
        DataError: they have no pair in common, or a human grade is not a whole number.
    """
    import numpy as np

    pairs = _common(human, other)
    bad = next((pair for pair, grade in human.items() if not float(grade).is_integer()), None)
    if bad:
        raise DataError(f"human grades must be whole numbers, got {human[bad]} for query {bad[0]}, document {bad[1]}")
    human_grades = np.array([human[pair] for pair in pairs], np.int64)
    scores = np.array([other[pair] for pair in pairs], np.float64)
    tau, spearman = _correlations(human_grades, scores)
    whole = bool((scores % 1 == 0).all())
    fractions = not whole and scores.min() >= 0 and scores.max() <= 1
    if not whole and not fractions:
        no_kappas = dict.fromkeys(THRESHOLDS)
        return Agreement(len(pairs), None, None, no_kappas, tau, spearman, grades=(), confusion=(), share_of=None)
    top = int(max(human.values())) if fractions else None
    other_grades = scores if top is None else np.floor(scores * top + 0.5)
    grades, confusion = _confusion(human_grades, other_grades.astype(np.int64))
    return Agreement(
        pairs=len(pairs),
        kappa=_kappa(confusion),
        quadratic_kappa=_kappa(confusion, grades),
        binary_kappa={
            least: _kappa(_confusion(human_grades >= least, other_grades >= least)[1]) for least in THRESHOLDS
        },
        kendall_tau=tau,
        spearman=spearman,
        grades=tuple(grades.tolist()),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        share_of=top,
    )


def graded_alike(human: Judgments, other: Judgments) -> dict[tuple[str, str], float]:
    """Map ``other``'s scores, on any scale, to grades that are as frequent as the human ones on the common pairs.

    So the order of the scores decides which pairs get the highest grade, and the human grades decide how many.
    Equal scores get the same grade, that of their mean rank.

    Raises:
        DataError: they have no pair in common.
    """
    import numpy as np
    from scipy.stats import rankdata

    pairs = _common(human, other)
    ranks = np.ceil(rankdata([other[pair] for pair in pairs])).astype(np.int64) - 1
    grades = np.sort(np.array([human[pair] for pair in pairs], np.float64))[ranks]
    return dict(zip(pairs, grades.tolist(), strict=True))


def _common(human: Judgments, other: Judgments) -> list[tuple[str, str]]:
    pairs = sorted(human.keys() & other.keys())
    if not pairs:
        raise DataError(f"the {len(human):,} and {len(other):,} judgments have no pair of query and document in common")
    return pairs


def _confusion(human: npt.NDArray[Any], other: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], Grades]:
    """Return the values that occur, ascending, and the confusion matrix, with one row per human value."""
    import numpy as np

    values = np.union1d(human, other)
    table = np.zeros((len(values), len(values)), np.int64)
    np.add.at(table, (np.searchsorted(values, human), np.searchsorted(values, other)), 1)
    return values, table


def _kappa(confusion: Grades, grades: Grades | None = None) -> float | None:
    """Return kappa, with quadratic weights if ``grades`` are given; None if there is only one value."""
    from statsmodels.stats.inter_rater import cohens_kappa

    if len(confusion) < 2:
        return None
    weighting = {} if grades is None else {"weights": grades, "wt": "quadratic"}
    return float(cohens_kappa(confusion, return_results=False, **weighting))


def _correlations(human: Grades, scores: Values) -> tuple[float | None, float | None]:
    """Return Kendall's tau-b and Spearman's correlation; None if all values of one side are equal."""
    import numpy as np
    from scipy.stats import kendalltau, spearmanr

    if not np.ptp(human) or not np.ptp(scores):
        return None, None
    return float(kendalltau(human, scores).statistic), float(spearmanr(human, scores).statistic)


def teacher_agreement(labels: Artifact, queries: Artifact) -> Agreement | None:
    """Compare a teacher's LABELS with the dataset's judgments for training; None if they have no pair in common.

    Judgments of the evaluated split are not used.
    """
    import pyarrow.compute as pc

    human: dict[tuple[str, str], float] = {}
    for batch in queries.batches("qrels"):
        human |= _judgments(batch.filter(pc.not_equal(batch["split"], "test")), "relevance")
    scores: dict[tuple[str, str], float] = {}
    for batch in labels.batches("labels"):
        scores |= {pair: score for pair, score in _judgments(batch, "score").items() if pair in human}
    return agreement(human, scores) if scores else None


def _judgments(rows: pa.Table, column: str) -> dict[tuple[str, str], float]:
    pairs = zip(rows["query_id"].to_pylist(), rows["doc_id"].to_pylist(), strict=True)
    return dict(zip(pairs, rows[column].to_pylist(), strict=True))


def compare(human: str | Path, others: Sequence[str | Path]) -> dict[str, Agreement]:
    """Return the agreement of each file of ``others`` with the file ``human``, by the file name as given.

    Raises:
        DataError: raised by ``read_qrels`` or ``agreement``; the message names the files.
    """
    human_grades, agreements = read_qrels(human), {}
    for other in others:
        judgments = read_qrels(other)
        try:
            agreements[str(other)] = agreement(human_grades, judgments)
        except DataError as error:
            raise DataError(f"{other} against {human}: {error}") from None
    return agreements


def terminal_text(agreements: Mapping[str, Agreement]) -> str:
    """Format a table with one line per file, and each file's confusion matrix."""
    names = {file: Path(file).name for file in agreements}
    width = max(map(len, names.values()))
    binary = [f"kappa >={least}" for least in THRESHOLDS]
    lines = [_line(" " * width, ["pairs", "kappa", "quadratic", *binary, "Kendall", "Spearman"])]
    for file, result in agreements.items():
        kappas = [result.kappa, result.quadratic_kappa, *result.binary_kappa.values()]
        values = [*kappas, result.kendall_tau, result.spearman]
        numbers = ["-" if value is None else f"{value:.4f}" for value in values]
        lines.append(_line(names[file].ljust(width), [f"{result.pairs:,}", *numbers]))
    return "\n".join([*lines, *(_matrix(names[file], result) for file, result in agreements.items() if result.grades)])


def _matrix(name: str, result: Agreement) -> str:
    width = max(len(str(grade)) for grade in result.grades)
    head = f"\n{name}: rows are human grades, columns are the file's"
    head += "" if result.share_of is None else f" (score * {result.share_of}, rounded)"
    lines = [_line(" " * width, list(map(str, result.grades)))]
    for grade, row in zip(result.grades, result.confusion, strict=True):
        lines.append(_line(str(grade).rjust(width), [f"{count:,}" for count in row]))
    return "\n".join([head, *lines])


def _line(head: str, cells: Sequence[str]) -> str:
    return head + "".join(f"{cell:>11}" for cell in cells)
