"""What selection did: queries in and out of every filter, scores and grades, what the lists hold, and the audit.

The audit is of false negatives: documents of a list that are no positives and that the teacher scores as
high as the list's best positive. Everything is counted a shard at a time.
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
    from gradret.config.run import Select
    from gradret.store.artifacts import Artifact

__all__ = ["Origin", "Selection", "Step", "Suspect", "selection"]

_SHOWN = 2
_COUNTED = ("listed", "positives", "negatives", "suspects")


@dataclass(frozen=True)
class Step:
    """What looks at queries and drops some, by kind of query."""

    reason: str
    dropped: Mapping[str, int]
    left: Mapping[str, int]


@dataclass(frozen=True)
class Origin:
    """A retriever's share in the lists; a document that several found counts for each."""

    name: str
    listed: int
    positives: int
    negatives: Sequence[int]
    """By band of ranks: documents with a score that are no positives, before the margins."""
    suspects: Sequence[int]
    """By band of ranks: those of them that score as high as the list's best positive, or higher."""


@dataclass(frozen=True)
class Suspect:
    """A document that may be a positive."""

    query: str
    doc_id: str
    positive_doc_id: str
    origin: str
    rank: int
    score: float
    positive_score: float


@dataclass(frozen=True)
class Selection:
    """What the stage ``select`` did."""

    came: Mapping[str, int]
    """Queries by kind, the most first."""
    steps: Sequence[Step]
    percentiles: Mapping[str, Mapping[str, float]]
    """By scope, the scores at the percentiles that grades follow from."""
    mapping: str
    """How scores became grades, in a sentence."""
    lists: int
    documents: int
    positives: int
    origins: Sequence[Origin]
    bands: Sequence[str]
    """Bands of ranks as people read them."""
    suspects: Sequence[Suspect]
    """A few of every band of ranks, drawn by a hash."""


def selection(settings: Select, artifacts: Mapping[str, Artifact]) -> Selection:
    """Read from the artifact ``select``; kinds of dropped queries and texts come from ``generate``."""
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
    scope, thresholds = over[settings.normalise], ", ".join(f"{one:g}" for one in settings.thresholds)
    how = {
        "scaled": f"scores between percentiles {settings.low:g} and {settings.high:g} of {scope}, scaled and clipped",
        "as_is": "the scores as they are",
        "thresholds": f"the share of the thresholds {thresholds} that a score reaches",
        "quantiles": f"{settings.levels} levels that {scope} fill equally",
    }
    ruled = "; some rules of select.mix give their own" if any(rule.grade is not None for rule in settings.mix) else ""
    return f"Grades are {how[settings.grades]}{ruled}."


def _lists(selected: Artifact) -> tuple[Counter[str], int, int]:
    """Lists by kind, and the documents and positives in them."""
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
    """In the order in which queries are looked at; those that the config leaves off only where they dropped some."""
    on = {"candidates": False, "normalise": settings.normalise == "query"}
    known = reasons(settings)
    shown = [reason for name, reason in known.items() if on.get(name, getattr(settings, name, False))]
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
            own = sums.setdefault(row["origin"], Counter())
            own.update({(name, row["first_rank"]): row[name] for name in _COUNTED})
    return [
        Origin(
            name=name,
            listed=sum(own["listed", band] for band in BANDS),
            positives=sum(own["positives", band] for band in BANDS),
            negatives=[own["negatives", band] for band in BANDS],
            suspects=[own["suspects", band] for band in BANDS],
        )
        for name, own in sorted(sums.items())
    ]


def _suspects(selected: Artifact, generated: Artifact) -> list[Suspect]:
    """Those with the smallest pair_ids of each band, the first bands first."""
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
    """The first rows by pair_id, no pair twice."""
    ranked = sorted(rows, key=lambda row: (row["pair_id"], row["origin"]), reverse=True)
    return sorted({row["pair_id"]: row for row in ranked}.values(), key=lambda row: row["pair_id"])[:_SHOWN]
