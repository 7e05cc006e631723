"""Generated data, for people to look at before they trust what is trained on it.

All rows are counted, with a shard, the ids of dropped rows and 8 bytes a text in memory. Only what
compares a text with its document is counted on a sample, drawn by a hash of the id.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradret.lists.grades import NO_KIND
from gradret.report.samples import matching
from gradret.store.artifacts import read_shard
from gradret.text import passage, words

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from gradret.store.artifacts import Artifact

__all__ = [
    "GRAM",
    "SAMPLED",
    "Asked",
    "Drop",
    "Example",
    "Texts",
    "asked",
    "documents",
    "dropped",
    "grades",
    "queries",
    "reasons_by_kind",
]

GRAM = 3
"""Words of an n-gram: titles and keywords have few longer ones, and shorter ones meet by chance."""
SAMPLED = 200
"""Queries of a kind, or documents of a grade, that are compared with their document or query."""

_BINS = 20
_SHOWN = 3
_REASONS = 20
_FILTERS = ("generate", "mine")


@dataclass(frozen=True)
class Example:
    """A query and its document: the one it was written about, or one that was written for it."""

    query: str
    document: str


@dataclass(frozen=True)
class Texts:
    """The queries of a kind, or the documents of a grade."""

    name: str
    """The kind or grade."""
    number: int
    words: Mapping[int, int]
    """How many of them have so many words."""
    duplicates: float
    """Share that repeats the words of another; the first of those that are alike is none."""
    copied: float | None
    """Share of the n-grams of the sample's queries that stand in the query's document; None without any."""
    examples: Sequence[Example]

    @property
    def median(self) -> int:
        """Words; of two in the middle the fewer."""
        left = (self.number - 1) // 2
        for size, number in sorted(self.words.items()):
            left -= number
            if left < 0:
                return size
        return 0


@dataclass(frozen=True)
class Drop:
    """What a stage dropped for one reason, by kind of query."""

    stage: str
    reason: str
    counts: Mapping[str, int]
    shares: Mapping[str, float]
    """In generate, of the kind's prompts, or of the documents where no model was asked; else of its queries."""


@dataclass(frozen=True)
class Asked:
    """What asking a language model took."""

    stage: str
    kind: str
    prompts: int
    tokens_in: float
    """Mean over the prompts."""
    tokens_out: float
    """Likewise."""
    cut: float
    """Share of prompts of which a document was cut."""
    unfinished: float
    """Share of answers that came to the limit of tokens."""


def queries(artifacts: Mapping[str, Artifact]) -> list[Texts]:
    """The queries that ``generate`` gave, by kind, the most first, with their source documents."""
    tallies: dict[str, _Tally] = {}
    for batch in artifacts["generate"].batches("queries"):
        for row in batch.to_pylist():
            tallies.setdefault(row["kind"] or NO_KIND, _Tally()).add(row["query_id"], row)
    wanted = {row["source_doc_id"] for tally in tallies.values() for row in tally.sample} - {None}
    docs = {
        row["doc_id"]: passage(row["title"], row["text"])
        for source in ("ingest", "generate")
        if source in artifacts
        for row in matching(artifacts[source], "docs", "doc_id", wanted)
    }
    made = [
        tally.texts(kind, [Example(row["text"], docs.get(row["source_doc_id"], "")) for row in tally.sample])
        for kind, tally in tallies.items()
    ]
    return sorted(made, key=lambda one: (-one.number, one.name))


def documents(generated: Artifact) -> list[Texts]:
    """The documents that were generated, by grade, the best first, with their queries."""
    tallies: dict[float, _Tally] = {}
    for docs, labels in zip(generated.batches("docs"), generated.batches("labels"), strict=True):
        given = {row["doc_id"]: row for row in labels.to_pylist()}
        for doc in docs.to_pylist():
            label = given.get(doc["doc_id"])
            if label:
                row = {"text": doc["text"], "query_id": label["query_id"]}
                tallies.setdefault(round(label["score"], 2), _Tally()).add(doc["doc_id"], row)
    wanted = {row["query_id"] for tally in tallies.values() for row in tally.sample}
    texts = {row["query_id"]: row["text"] for row in matching(generated, "queries", "query_id", wanted)}
    return [
        tally.texts(f"grade {grade:g}", [Example(texts.get(row["query_id"], ""), row["text"]) for row in tally.sample])
        for grade, tally in sorted(tallies.items(), reverse=True)
    ]


class _Tally:
    """Counts the texts of a kind or grade as they come by, and draws the sample."""

    def __init__(self) -> None:
        self.words: Counter[int] = Counter()
        self._hashes = array("Q")
        self._drawn: list[tuple[int, str, dict[str, Any]]] = []

    def add(self, key: str, row: dict[str, Any]) -> None:
        found = words(row["text"])
        self.words[len(found)] += 1
        self._hashes.append(_hash(" ".join(found)))
        # A heap's first is its least: the draw that is to go.
        draw = (-_hash(key), key, row)
        if len(self._drawn) < SAMPLED:
            heapq.heappush(self._drawn, draw)
        else:
            heapq.heappushpop(self._drawn, draw)

    @property
    def sample(self) -> list[dict[str, Any]]:
        return [row for _, _, row in sorted(self._drawn, reverse=True)]

    def texts(self, name: str, examples: Sequence[Example]) -> Texts:
        import numpy as np

        number = len(self._hashes)
        different = len(np.unique(np.frombuffer(self._hashes, np.uint64)))
        return Texts(name, number, self.words, 1 - different / number, _copied(examples), examples[:_SHOWN])


def _copied(examples: Sequence[Example]) -> float | None:
    grams = found = 0
    for example in examples:
        if example.document:
            own, others = _grams(example.query), set(_grams(example.document))
            grams += len(own)
            found += sum(gram in others for gram in own)
    return found / grams if grams else None


def _grams(text: str) -> list[tuple[str, ...]]:
    found = words(text)
    return [tuple(found[start : start + GRAM]) for start in range(len(found) - GRAM + 1)]


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def dropped(artifacts: Mapping[str, Artifact]) -> list[Drop]:
    """Why rows were dropped between prompts and pairs, the most first; at most 20 reasons."""
    counts, totals = reasons_by_kind(artifacts, _FILTERS)
    return [
        Drop(stage, reason, count, {kind: n / totals[stage][kind] for kind, n in count.items() if totals[stage][kind]})
        for (stage, reason), count in sorted(counts.items(), key=lambda item: -item[1].total())[:_REASONS]
    ]


def reasons_by_kind(
    artifacts: Mapping[str, Artifact], stages: Sequence[str]
) -> tuple[dict[tuple[str, str], Counter[str]], dict[str, Counter[str]]]:
    """By stage and reason, how many rows were dropped of each kind; and by stage, how many came of each kind."""
    bad = [(stage, *row) for stage in stages if stage in artifacts for row in _quarantined(artifacts[stage])]
    kinds, totals = _kinds(artifacts["generate"], {where for _, where, _ in bad}, stages)
    counts: dict[tuple[str, str], Counter[str]] = {}
    for stage, where, reason in bad:
        counts.setdefault((stage, reason), Counter())[kinds.get(where, NO_KIND)] += 1
    return counts, totals


def _kinds(
    generated: Artifact, wanted: set[str], stages: Sequence[str]
) -> tuple[dict[str, str], dict[str, Counter[str]]]:
    """The kind of each wanted query or prompt, and how many each stage was given of each kind."""
    kinds: dict[str, str] = {}
    written: Counter[str] = Counter()
    for batch in generated.batches("queries"):
        named = [kind or NO_KIND for kind in batch["kind"].to_pylist()]
        written.update(named)
        kinds |= _only(wanted, zip(batch["query_id"].to_pylist(), named, strict=True))
    prompts: Counter[str] = Counter()
    for rows in _answers(generated):
        named = [row["kind"] or NO_KIND for row in rows]
        prompts.update(named)
        kinds |= _only(wanted, zip((row["prompt_id"] for row in rows), named, strict=True))
    given = prompts or Counter({NO_KIND: generated.counts.get("rows_in", 0)})
    return kinds, dict.fromkeys(stages, written) | {"generate": given}


def _only(wanted: set[str], pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {key: value for key, value in pairs if key in wanted}


def _quarantined(artifact: Artifact) -> Iterator[tuple[str, str]]:
    """Where a row stood, and why it was dropped."""
    for path in artifact.shards("quarantine"):
        rows = read_shard(path, "quarantine", ["where", "reason"])
        yield from zip(rows["where"].to_pylist(), rows["reason"].to_pylist(), strict=True)


def asked(artifacts: Mapping[str, Artifact]) -> list[Asked]:
    """What language models were asked, by stage and kind of query."""
    sums: dict[tuple[str, str], Counter[str]] = {}
    for stage in ("generate", "label"):
        for rows in _answers(artifacts[stage]) if stage in artifacts else ():
            for row in rows:
                own = {"prompts": 1, "cut": row["cut"] > 0, "unfinished": row["finish"] == "length"}
                own |= {name: row[name] for name in ("tokens_in", "tokens_out")}
                sums.setdefault((stage, row["kind"]), Counter()).update(own)
    return [
        Asked(
            stage=stage,
            kind=kind,
            prompts=one["prompts"],
            **{name: one[name] / one["prompts"] for name in ("tokens_in", "tokens_out", "cut", "unfinished")},
        )
        for (stage, kind), one in sorted(sums.items())
    ]


def _answers(artifact: Artifact) -> Iterator[list[dict[str, Any]]]:
    """A shard's answers at a time, without their texts, each with its prompt's kind or an empty one."""
    columns = ["prompt_id", "finish", "tokens_in", "tokens_out", "cut", "facts"]
    for path in artifact.shards("answers"):
        rows = read_shard(path, "answers", columns).to_pylist()
        yield [row | {"kind": json.loads(row["facts"]).get("kind") or ""} for row in rows]


def grades(selected: Artifact) -> dict[str, list[int]]:
    """How many grades of the training lists lie in each twentieth of [0, 1], by kind of query, the most first."""
    import numpy as np
    import pyarrow.compute as pc

    bins: dict[str, npt.NDArray[np.int64]] = {}
    for batch in selected.batches("groups"):
        kinds = np.array([kind or NO_KIND for kind in batch["kind"].to_pylist()])
        # A missing grade is NaN, which no bin takes.
        flat = pc.list_flatten(batch["grades"]).to_numpy()
        of = np.repeat(kinds, pc.list_value_length(batch["grades"]).to_numpy())
        for kind in np.unique(kinds).tolist():
            found, _ = np.histogram(flat[of == kind], _BINS, (0.0, 1.0))
            bins[kind] = bins.get(kind, 0) + found
    return {kind: found.tolist() for kind, found in sorted(bins.items(), key=lambda item: -item[1].sum())}
