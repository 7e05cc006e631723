"""Scores become grades: by percentiles of the scores, by thresholds, or as they are.

Percentiles are numpy's, between two scores by linear interpolation. Scaling between two of them with
clipping is Tamber et al.'s (2502.19712), section 3.3.1: there the 1st and the 99th, over all queries in
the paper, and in the code over those of one corpus, kind and retriever (both verified).
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

    from gradret.config.run import Select

    Values = npt.NDArray[np.float64]

__all__ = ["NO_KIND", "Marks", "Scale", "grades", "marks", "percentiles", "scale"]

ALL, NO_KIND = "all", "no kind"

Marks = list[float]
"""The scores at ``percentiles``, between which other scores find their grades."""


@dataclass(frozen=True)
class Scale:
    """What grades follow from beside a query's own scores."""

    marks: dict[str, Marks]
    """Of all scores, under ``all``, or of each kind of query; empty where each query has its own."""
    floor: float
    """The score at percentile ``score_floor``; minus infinity without one."""

    def of(self, kind: str | None) -> Marks:
        """The marks for queries of ``kind``; none if the teacher scored no pair of theirs."""
        return self.marks.get(ALL) or self.marks.get(kind or NO_KIND, [])


def percentiles(settings: Select) -> list[float]:
    """Those whose scores are ``Marks``; none where a grade follows from its score alone."""
    if settings.grades == "scaled":
        return [settings.low, settings.high]
    if settings.grades == "quantiles":
        return [100 * level / settings.levels for level in range(1, settings.levels + 1)]
    return []


def marks(settings: Select, scores: Values) -> Marks | None:
    """The scores at ``percentiles``, or None where all scores would get one grade.

    Leaves ``scores`` in another order.
    """
    import numpy as np

    found: Marks = np.percentile(scores, percentiles(settings), overwrite_input=True).tolist()
    return None if found and not found[0] < found[-1] else found


def grades(settings: Select, marks: Marks, scores: Values) -> Values:
    """The grade of each score, from 0 to 1.

    Raises:
        DataError: a score that is to be a grade as it is lies outside 0 to 1.
    """
    import numpy as np

    if settings.grades == "scaled":
        low, high = marks
        return np.clip((scores - low) / (high - low), 0, 1)
    if settings.grades == "thresholds":
        return np.searchsorted(settings.thresholds, scores, side="right") / len(settings.thresholds)
    if settings.grades == "quantiles":
        # A score at a boundary is on the lower level, as pandas.qcut has it.
        return np.searchsorted(marks[:-1], scores, side="left") / (settings.levels - 1)
    outside = scores[(scores < 0) | (scores > 1)]
    if len(outside):
        raise DataError(
            f"select.grades=as_is takes scores from 0 to 1 as grades, and the teacher gave {outside[0]:.4g}; "
            "set select.grades to scaled, thresholds or quantiles"
        )
    return scores


def scale(settings: Select, shards: Iterable[tuple[Path, Path]]) -> Scale:
    """The scale of all scores, in memory as 8 bytes each.

    Args:
        settings: say which percentiles, and of which scores.
        shards: QUERIES and LABELS of the same queries.

    Raises:
        DataError: there are no scores, or they are (nearly) all the same.
    """
    import numpy as np

    parts: dict[str, list[np.ndarray]] = {}
    for queries, labels in shards:
        for scope, scores in _by_scope(settings, queries, labels):
            parts.setdefault(scope, []).append(scores)
    if not parts:
        raise DataError("the teacher scored no pair: all its scores were quarantined; see the quarantine of label")
    floor = -math.inf
    if settings.score_floor:
        whole = np.concatenate([part for own in parts.values() for part in own], dtype=np.float64)
        floor = float(np.percentile(whole, settings.score_floor, overwrite_input=True))
    if settings.normalise == "query":
        return Scale({}, floor)
    return Scale({scope: _marks(settings, scope, own) for scope, own in sorted(parts.items())}, floor)


def _by_scope(settings: Select, queries: Path, labels: Path) -> Iterator[tuple[str, np.ndarray]]:
    """A shard's scores, float32, apart for every scope in which scores are compared."""
    import pyarrow.compute as pc

    rows = read_shard(labels, "labels", ["query_id", "score"])
    if not rows.num_rows:
        return
    if settings.normalise != "kind":
        yield ALL, rows["score"].to_numpy()
        return
    known = read_shard(queries, "queries", ["query_id", "kind"])
    places = pc.index_in(rows["query_id"], value_set=known["query_id"])
    kinds = pc.fill_null(known["kind"], NO_KIND).take(places)
    for kind in pc.unique(kinds).to_pylist():
        yield kind, rows["score"].filter(pc.equal(kinds, kind)).to_numpy()


def _marks(settings: Select, scope: str, parts: list[np.ndarray]) -> Marks:
    import numpy as np

    scores = np.concatenate(parts, dtype=np.float64)
    found = marks(settings, scores)
    if found is None:
        where = "" if scope == ALL else f" of queries of the kind {scope!r}"
        raise DataError(
            f"the teacher gives the same score, {np.median(scores):.4g}, to (nearly) all pairs{where}; nothing to learn"
        )
    return found
