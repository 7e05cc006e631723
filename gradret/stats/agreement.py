"""A judge against human labels: how far its grades, and the order it puts pairs in, are theirs."""

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
"""From which grade on a document counts as relevant; in TREC's Deep Learning track a passage does from 2."""


@dataclass(frozen=True)
class Agreement:
    """Human judgments and others, on the pairs that both have.

    What cannot be computed is None: a kappa where both give every pair the same grade, a rank
    correlation where either does, all kappas where the scores are no grades.
    """

    pairs: int
    """(query_id, doc_id) that both judged."""
    kappa: float | None
    """Cohen (1960): 1 is full agreement, 0 what chance gives."""
    quadratic_kappa: float | None
    """Cohen (1968): a disagreement weighs the square of the grades' distance."""
    binary_kappa: dict[int, float | None]
    """Kappa of grades at or above each of ``THRESHOLDS`` against grades below it."""
    kendall_tau: float | None
    """Kendall's tau-b of the scores as they came, over all queries together."""
    spearman: float | None
    """Spearman's rank correlation, likewise."""
    grades: tuple[int, ...]
    """Those that either gave, ascending."""
    confusion: tuple[tuple[int, ...], ...]
    """Number of pairs: a row a human grade, a column the other's, in the order of ``grades``."""
    share_of: int | None
    """Where the other's scores were shares in [0, 1]: the highest human grade, by which they became grades."""


def agreement(human: Judgments, other: Judgments) -> Agreement:
    """How ``other`` agrees with ``human`` on the pairs that both judge.

    Scores that are all whole numbers are grades. Scores in [0, 1], such as a judge's expectation, become
    grades as ``score * highest human grade``, rounded, halves up. Other scores are no grades: they
    have rank correlations only.

    Raises:
        DataError: no pair is in common, or a human grade is not a whole number.
    """
    import numpy as np

    pairs = _common(human, other)
    odd = next((pair for pair, grade in human.items() if not float(grade).is_integer()), None)
    if odd:
        raise DataError(f"human grades must be whole numbers, got {human[odd]} for query {odd[0]}, document {odd[1]}")
    theirs = np.array([human[pair] for pair in pairs], np.int64)
    scores = np.array([other[pair] for pair in pairs], np.float64)
    tau, spearman = _correlations(theirs, scores)
    whole = bool((scores % 1 == 0).all())
    shares = not whole and scores.min() >= 0 and scores.max() <= 1
    if not whole and not shares:
        nothing = dict.fromkeys(THRESHOLDS)
        return Agreement(len(pairs), None, None, nothing, tau, spearman, grades=(), confusion=(), share_of=None)
    top = int(max(human.values())) if shares else None
    own = scores if top is None else np.floor(scores * top + 0.5)
    grades, confusion = _confusion(theirs, own.astype(np.int64))
    return Agreement(
        pairs=len(pairs),
        kappa=_kappa(confusion),
        quadratic_kappa=_kappa(confusion, grades),
        binary_kappa={least: _kappa(_confusion(theirs >= least, own >= least)[1]) for least in THRESHOLDS},
        kendall_tau=tau,
        spearman=spearman,
        grades=tuple(grades.tolist()),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        share_of=top,
    )


def graded_alike(human: Judgments, other: Judgments) -> dict[tuple[str, str], float]:
    """``other``'s scores, whatever their scale, as grades: each as frequent as the human ones on the common pairs.

    So the order of the scores decides which pairs get the highest grade, and the human grades how many do.
    Equal scores get the same grade, that of the place in their middle.

    Raises:
        DataError: no pair is in common.
    """
    import numpy as np
    from scipy.stats import rankdata

    pairs = _common(human, other)
    places = np.ceil(rankdata([other[pair] for pair in pairs])).astype(np.int64) - 1
    grades = np.sort(np.array([human[pair] for pair in pairs], np.float64))[places]
    return dict(zip(pairs, grades.tolist(), strict=True))


def _common(human: Judgments, other: Judgments) -> list[tuple[str, str]]:
    pairs = sorted(human.keys() & other.keys())
    if not pairs:
        raise DataError(f"no pair of query and document in common, of {len(human):,} and {len(other):,} judgments")
    return pairs


def _confusion(theirs: npt.NDArray[Any], own: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], Grades]:
    """The values that occur, ascending, and how often each of theirs meets each of its own."""
    import numpy as np

    values = np.union1d(theirs, own)
    table = np.zeros((len(values), len(values)), np.int64)
    np.add.at(table, (np.searchsorted(values, theirs), np.searchsorted(values, own)), 1)
    return values, table


def _kappa(confusion: Grades, grades: Grades | None = None) -> float | None:
    """With ``grades`` the quadratic one. One value alone leaves nothing to agree on."""
    from statsmodels.stats.inter_rater import cohens_kappa

    if len(confusion) < 2:
        return None
    weighting = {} if grades is None else {"weights": grades, "wt": "quadratic"}
    return float(cohens_kappa(confusion, return_results=False, **weighting))


def _correlations(theirs: Grades, scores: Values) -> tuple[float | None, float | None]:
    """Kendall's tau-b and Spearman's; none where one side gives no order."""
    import numpy as np
    from scipy.stats import kendalltau, spearmanr

    if not np.ptp(theirs) or not np.ptp(scores):
        return None, None
    return float(kendalltau(theirs, scores).statistic), float(spearmanr(theirs, scores).statistic)


def teacher_agreement(labels: Artifact, queries: Artifact) -> Agreement | None:
    """A teacher's LABELS against the dataset's judgments for training; none where they share no pair.

    Judgments of the evaluated split are not looked at.
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
    """Agreement of each file of ``others`` with the file ``human``, by its name as given.

    Raises:
        DataError: as ``read_qrels`` and ``agreement``, naming the files.
    """
    theirs, found = read_qrels(human), {}
    for other in others:
        own = read_qrels(other)
        try:
            found[str(other)] = agreement(theirs, own)
        except DataError as error:
            raise DataError(f"{other} against {human}: {error}") from None
    return found


def terminal_text(found: Mapping[str, Agreement]) -> str:
    """A table with a line a file, and each file's confusion matrix."""
    names = {file: Path(file).name for file in found}
    width = max(map(len, names.values()))
    binary = [f"kappa >={least}" for least in THRESHOLDS]
    lines = [_line(" " * width, ["pairs", "kappa", "quadratic", *binary, "Kendall", "Spearman"])]
    for file, one in found.items():
        values = [one.kappa, one.quadratic_kappa, *one.binary_kappa.values(), one.kendall_tau, one.spearman]
        numbers = ["-" if value is None else f"{value:.4f}" for value in values]
        lines.append(_line(names[file].ljust(width), [f"{one.pairs:,}", *numbers]))
    return "\n".join([*lines, *(_matrix(names[file], one) for file, one in found.items() if one.grades)])


def _matrix(name: str, one: Agreement) -> str:
    width = max(len(str(grade)) for grade in one.grades)
    head = f"\n{name}: rows are human grades, columns its own"
    head += "" if one.share_of is None else f" (score * {one.share_of}, rounded)"
    lines = [_line(" " * width, list(map(str, one.grades)))]
    for grade, row in zip(one.grades, one.confusion, strict=True):
        lines.append(_line(str(grade).rjust(width), [f"{count:,}" for count in row]))
    return "\n".join([head, *lines])


def _line(head: str, cells: Sequence[str]) -> str:
    return head + "".join(f"{cell:>11}" for cell in cells)
