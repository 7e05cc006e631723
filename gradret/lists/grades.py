"""Turn scores into grades: by percentiles of the scores, by thresholds, or unchanged.

Percentiles are numpy's, with linear interpolation. Scaling between two percentiles and clipping is from Tamber et al.
(2502.19712), section 3.3.1: the 1st and the 99th, over all queries in the paper, and over those of one corpus, kind and
retriever in the code (both verified). Their code takes them, and the 25th below which it drops a query, over the
queries that the other filters keep.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.errors import DataError
from gradret.store.artifacts import read_shard

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from gradret.config.select import Select

    Values = npt.NDArray[np.float64]

__all__ = ["NO_KIND", "Marks", "Scale", "grades", "marks", "percentiles", "scale"]

ALL, NO_KIND = "all", "no kind"

Marks = list[float]
"""The scores at ``percentiles``, which define the grades of other scores."""


@dataclass(frozen=True)
class Scale:
    """Statistics of the scores of all queries, from which grades follow."""

    marks: dict[str, Marks]
    """Marks of all scores, under ``all``, or of each kind of query; empty if each query has its own marks."""
    floors: dict[str, float]
    """The score at percentile ``score_floor`` of all scores, or of each kind; empty if it is not set."""

    def floor(self, kind: str | None) -> float:
        """The score that the best document of a query of ``kind`` must reach."""
        return self.floors.get(ALL, self.floors.get(kind or NO_KIND, -math.inf))

    def of(self, kind: str | None) -> Marks:
        """The marks for queries of ``kind``; empty if the teacher scored none of their pairs."""
        return self.marks.get(ALL) or self.marks.get(kind or NO_KIND, [])


def percentiles(settings: Select) -> list[float]:
    """The percentiles of ``Marks``; empty if a grade depends on its score alone."""
    if settings.grades == "scaled":
        return [settings.low, settings.high]
    if settings.grades == "quantiles":
        return [100 * level / settings.levels for level in range(1, settings.levels + 1)]
    return []


def marks(settings: Select, scores: Values) -> Marks | None:
    """The scores at ``percentiles``, or None if all scores would get the same grade.

    Reorders ``scores`` in place.
    """
    import numpy as np

    values: Marks = np.percentile(scores, percentiles(settings), overwrite_input=True).tolist()
    return None if values and not values[0] < values[-1] else values


def grades(settings: Select, marks: Marks, scores: Values) -> Values:
    """The grade of each score, from 0 to 1.

    Raises:
        DataError: with ``as_is``, a score is not between 0 and 1.
    """
    import numpy as np

    if settings.grades == "scaled":
        low, high = marks
        return np.clip((scores - low) / (high - low), 0, 1)
    if settings.grades == "thresholds":
        return np.searchsorted(settings.thresholds, scores, side="right") / len(settings.thresholds)
    if settings.grades == "quantiles":
        # A score at a boundary gets the lower level, as in pandas.qcut.
        return np.searchsorted(marks[:-1], scores, side="left") / (settings.levels - 1)
    outside = scores[(scores < 0) | (scores > 1)]
    if len(outside):
        raise DataError(
            f"select.grades=as_is requires scores from 0 to 1, but the teacher gave {outside[0]:.4g}; "
            "set select.grades to scaled, thresholds or quantiles"
        )
    return scores


def scale(settings: Select, shards: Iterable[tuple[Path, Path]]) -> Scale:
    """Compute the scale from all given scores, which take 8 bytes each in memory.

    Args:
        settings: the percentiles, and the scope of their scores.
        shards: QUERIES, and LABELS of those whose scores count.

    Raises:
        DataError: there are no scores, or (nearly) all are equal.
    """
    import numpy as np

    parts: dict[str, list[np.ndarray]] = {}
    for queries, labels in shards:
        for scope, scores in _by_scope(settings, queries, labels):
            parts.setdefault(scope, []).append(scores)
    if not parts:
        raise DataError(
            "select: the teacher scored no pair: all its scores were quarantined; see the quarantine of label"
        )
    scopes = {scope: np.concatenate(of_scope, dtype=np.float64) for scope, of_scope in sorted(parts.items())}
    floors = {}
    if settings.score_floor:
        floors = {scope: float(np.percentile(scores, settings.score_floor)) for scope, scores in scopes.items()}
    if settings.normalise == "query":
        return Scale({}, floors)
    return Scale({scope: _marks(settings, scope, scores) for scope, scores in scopes.items()}, floors)


def _by_scope(settings: Select, queries: Path, labels: Path) -> Iterator[tuple[str, np.ndarray]]:
    """A shard's scores, float32, for each scope in which scores are compared."""
    import pyarrow.compute as pc

    rows = read_shard(labels, "labels", ["query_id", "score"])
    if not rows.num_rows:
        return
    if settings.normalise != "kind":
        yield ALL, rows["score"].to_numpy()
        return
    known = read_shard(queries, "queries", ["query_id", "kind"])
    positions = pc.index_in(rows["query_id"], value_set=known["query_id"])
    kinds = pc.fill_null(known["kind"], NO_KIND).take(positions)
    for kind in pc.unique(kinds).to_pylist():
        yield kind, rows["score"].filter(pc.equal(kinds, kind)).to_numpy()


def _marks(settings: Select, scope: str, scores: Values) -> Marks:
    import numpy as np

    values = marks(settings, scores)
    if values is None:
        where = "" if scope == ALL else f" of queries of the kind {scope!r}"
        raise DataError(
            f"select: the teacher gives the same score, {np.median(scores):.4g}, to (nearly) all pairs{where}, so a "
            "student cannot learn from it; use another label.teacher"
        )
    return values
