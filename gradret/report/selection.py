"""Summarise the stage ``select``: queries dropped by each filter, scores and grades, composition of lists, and audit.

The audit is about false negatives: negatives of a list that the teacher scores at least as high as the list's best
positive. Counts are computed one shard at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from gradret.lists.audit import BANDS
from gradret.lists.filters import reasons
from gradret.lists.grades import NO_KIND
from gradret.report.data import reasons_by_kind
from gradret.report.samples import matching
from gradret.store.artifacts import read_shard

if TYPE_CHECKING:
    from gradret.config.select import Select
    from gradret.store.artifacts import Artifact

__all__ = ["Origin", "Selection", "Step", "Suspect", "selection"]

_SHOWN = 2
_COUNTED = ("listed", "positives", "negatives", "suspects")


@dataclass(frozen=True)
class Step:
    """A filter, and the queries that it dropped and left, by kind of query."""

    reason: str
    dropped: Mapping[str, int]
    left: Mapping[str, int]


@dataclass(frozen=True)
class Origin:
    """A retriever's documents in the lists; a document of several retrievers counts for each."""

    name: str
    listed: int
    positives: int
    negatives: Sequence[int]
    """Negatives with a score, by band of ranks, before the margins drop some."""
    suspects: Sequence[int]
    """Negatives that score at least as high as the list's best positive, by band of ranks."""


@dataclass(frozen=True)
class Suspect:
    """A negative that may be a false negative."""

    query: str
    doc_id: str
    positive_doc_id: str
    origin: str
    rank: int
    score: float
    positive_score: float


@dataclass(frozen=True)
class Selection:
    """Summary of the stage ``select``."""

    came: Mapping[str, int]
    """Input queries by kind, most frequent first."""
    steps: Sequence[Step]
    percentiles: Mapping[str, Mapping[str, float]]
    """Scores at the percentiles that define grades, by scope."""
    mapping: str
    """A sentence on how scores become grades."""
    lists: int
    documents: int
    positives: int
    origins: Sequence[Origin]
    bands: Sequence[str]
    """Labels of the bands of ranks."""
    suspects: Sequence[Suspect]
    """A few suspects of each band of ranks, drawn by a hash."""


def selection(settings: Select, artifacts: Mapping[str, Artifact]) -> Selection:
    """Summarise the artifact ``select``, with kinds of dropped queries and texts from ``generate``."""
    selected = artifacts["select"]
    kept, documents, positives = _lists(selected)
    counts, _ = reasons_by_kind(artifacts, ("select",))
    dropped = {reason: count for (_, reason), count in counts.items()}
    came = sum(dropped.values(), Counter(kept))
    return Selection(
        came=dict(sorted(came.items(), key=lambda item: (-item[1], item[0]))),
        steps=_steps(settings, came, dropped),
        percentiles=selected.manifest["notes"].get("percentiles", {}),
        mapping=_mapping(settings),
        lists=kept.total(),
        documents=documents,
        positives=positives,
        origins=_origins(selected),
        bands=[*(f"{first} to {after - 1}" for first, after in pairwise(BANDS)), f"from {BANDS[-1]}"],
        suspects=_suspects(selected, artifacts["generate"]),
    )


def _mapping(settings: Select) -> str:
    over = {"all": "all scores", "kind": "the scores of queries of the same kind", "query": "the query's own scores"}
    scope, thresholds = over[settings.normalise], ", ".join(f"{threshold:g}" for threshold in settings.thresholds)
    how = {
        "scaled": f"scores between percentiles {settings.low:g} and {settings.high:g} of {scope}, scaled and clipped",
        "as_is": "the unchanged scores",
        "thresholds": f"the share of the thresholds {thresholds} that a score reaches",
        "quantiles": f"{settings.levels} levels that {scope} fill equally",
    }
    has_fixed = any(rule.grade is not None for rule in settings.mix)
    return f"Grades are {how[settings.grades]}{'; some rules of select.mix set fixed grades' * has_fixed}."


def _lists(selected: Artifact) -> tuple[Counter[str], int, int]:
    """Number of lists by kind, and of documents and positives in them."""
    import pyarrow.compute as pc

    kinds: Counter[str] = Counter()
    documents = positives = 0
    for path in selected.shards("groups"):
        rows = read_shard(path, "groups", ["kind", "positives"])
        kinds.update(kind or NO_KIND for kind in rows["kind"].to_pylist())
        flags = pc.list_flatten(rows["positives"])
        documents += len(flags)
        positives += pc.sum(flags).as_py() or 0
    return kinds, documents, positives


def _steps(settings: Select, came: Counter[str], dropped: Mapping[str, Counter[str]]) -> list[Step]:
    """Filters in the order in which they apply; those that the config does not set only if they dropped queries."""
    enabled = {"candidates": False, "normalise": settings.normalise == "query"}
    known = reasons(settings)
    shown = [reason for name, reason in known.items() if enabled.get(name, getattr(settings, name, False))]
    order = [reason for reason in known.values() if reason in shown or reason in dropped]
    steps, left = [], came
    for reason in [*order, *(reason for reason in dropped if reason not in order)]:
        count = dropped.get(reason, Counter())
        left = left - count
        steps.append(Step(reason, count, left))
    return steps


def _origins(selected: Artifact) -> list[Origin]:
    sums: dict[str, Counter[tuple[str, int]]] = {}
    for batch in selected.batches("audit"):
        for row in batch.to_pylist():
            counts = sums.setdefault(row["origin"], Counter())
            counts.update({(name, row["first_rank"]): row[name] for name in _COUNTED})
    return [
        Origin(
            name=name,
            listed=sum(counts["listed", band] for band in BANDS),
            positives=sum(counts["positives", band] for band in BANDS),
            negatives=[counts["negatives", band] for band in BANDS],
            suspects=[counts["suspects", band] for band in BANDS],
        )
        for name, counts in sorted(sums.items())
    ]


def _suspects(selected: Artifact, generated: Artifact) -> list[Suspect]:
    """The suspects with the smallest pair_ids of each band, in the order of the bands."""
    drawn: dict[int, list[dict[str, Any]]] = {band: [] for band in BANDS}
    for batch in selected.batches("suspects"):
        for row in batch.to_pylist():
            band = max(first for first in BANDS if first <= row["rank"])
            drawn[band] = _first([*drawn[band], row])
    rows = [row for band in BANDS for row in drawn[band]]
    texts = {
        row["query_id"]: row["text"]
        for row in matching(generated, "queries", "query_id", {row["query_id"] for row in rows})
    }
    names = ("doc_id", "positive_doc_id", "origin", "rank", "score", "positive_score")
    return [Suspect(texts.get(row["query_id"], row["query_id"]), **{name: row[name] for name in names}) for row in rows]


def _first(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first rows by pair_id, each pair once."""
    ranked = sorted(rows, key=lambda row: (row["pair_id"], row["origin"]), reverse=True)
    return sorted({row["pair_id"]: row for row in ranked}.values(), key=lambda row: row["pair_id"])[:_SHOWN]
