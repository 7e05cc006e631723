"""Summarise the generated data, for people to inspect before they trust a model trained on it.

Counts cover all rows, with one shard, the ids of dropped rows and 8 bytes per text in memory. Only comparisons of a
text with its document use a sample, drawn by a hash of the id.
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
    "Drop",
    "Example",
    "PromptStats",
    "Texts",
    "asked",
    "documents",
    "dropped",
    "grades",
    "queries",
    "reasons_by_kind",
]

GRAM = 3
"""Length of an n-gram in words: longer ones are rare in titles and keywords, shorter ones match by chance."""
SAMPLED = 200
"""Number of queries of a kind, or documents of a grade, that are compared with their document or query."""

_BINS = 20
_SHOWN = 3
_REASONS = 20
_FILTERS = ("generate", "mine")


@dataclass(frozen=True)
class Example:
    """A query and its document: the source of the query, or a document generated for it."""

    query: str
    document: str


@dataclass(frozen=True)
class Texts:
    """Statistics of the queries of a kind, or the documents of a grade."""

    name: str
    """The kind or grade."""
    number: int
    words: Mapping[int, int]
    """Number of texts by their number of words."""
    duplicates: float
    """Share of texts with the same words as an earlier text."""
    copied: float | None
    """Share of the n-grams of the sampled queries that occur in the query's document; None if there are none."""
    examples: Sequence[Example]

    @property
    def median(self) -> int:
        """Median number of words; the lower of two middle values."""
        left = (self.number - 1) // 2
        for size, number in sorted(self.words.items()):
            left -= number
            if left < 0:
                return size
        return 0


@dataclass(frozen=True)
class Drop:
    """Rows that a stage dropped for one reason, by kind of query."""

    stage: str
    reason: str
    counts: Mapping[str, int]
    shares: Mapping[str, float]
    """Share of the kind's queries; for generate, of its prompts, or of the documents if no model was prompted."""


@dataclass(frozen=True)
class PromptStats:
    """Statistics of the prompts to a language model."""

    stage: str
    kind: str
    prompts: int
    tokens_in: float
    """Mean number of tokens per prompt."""
    tokens_out: float
    """Mean number of tokens per answer."""
    cut: float
    """Share of prompts with a truncated document."""
    unfinished: float
    """Share of answers that reached the token limit."""


def queries(artifacts: Mapping[str, Artifact]) -> list[Texts]:
    """Statistics of the generated queries by kind, most frequent first, with their source documents as examples."""
    tallies: dict[str, _Tally] = {}
    for batch in artifacts["generate"].batches("queries"):
        for row in batch.to_pylist():
            tallies.setdefault(row["kind"] or NO_KIND, _Tally()).add(row["query_id"], row)
    wanted = {row["source_doc_id"] for tally in tallies.values() for row in tally.sample} - {None}
    docs = {
        row["doc_id"]: passage(row["title"], row["text"])
        for source in ("cut" if "cut" in artifacts else "ingest", "generate")
        if source in artifacts
        for row in matching(artifacts[source], "docs", "doc_id", wanted)
    }
    texts = [
        tally.texts(kind, [Example(row["text"], docs.get(row["source_doc_id"], "")) for row in tally.sample])
        for kind, tally in tallies.items()
    ]
    return sorted(texts, key=lambda each: (-each.number, each.name))


def documents(generated: Artifact) -> list[Texts]:
    """Statistics of the generated documents by grade, highest first, with their queries as examples."""
    tallies: dict[float, _Tally] = {}
    for docs, labels in zip(generated.batches("docs"), generated.batches("labels"), strict=True):
        label_of = {row["doc_id"]: row for row in labels.to_pylist()}
        for doc in docs.to_pylist():
            label = label_of.get(doc["doc_id"])
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
    """Counts the texts of a kind or grade in one pass, and draws the sample."""

    def __init__(self) -> None:
        self.words: Counter[int] = Counter()
        self._hashes = array("Q")
        self._drawn: list[tuple[int, str, dict[str, Any]]] = []

    def add(self, key: str, row: dict[str, Any]) -> None:
        tokens = words(row["text"])
        self.words[len(tokens)] += 1
        self._hashes.append(_hash(" ".join(tokens)))
        # Negated, since heapq keeps the smallest first and the largest draw must go.
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
        distinct = len(np.unique(np.frombuffer(self._hashes, np.uint64)))
        return Texts(name, number, self.words, 1 - distinct / number, _copied_share(examples), examples[:_SHOWN])


def _copied_share(examples: Sequence[Example]) -> float | None:
    total = copied = 0
    for example in examples:
        if example.document:
            grams, of_document = _grams(example.query), set(_grams(example.document))
            total += len(grams)
            copied += sum(gram in of_document for gram in grams)
    return copied / total if total else None


def _grams(text: str) -> list[tuple[str, ...]]:
    tokens = words(text)
    return [tuple(tokens[start : start + GRAM]) for start in range(len(tokens) - GRAM + 1)]


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def dropped(artifacts: Mapping[str, Artifact]) -> list[Drop]:
    """Reasons why rows were dropped between prompts and pairs, most frequent first; at most 20."""
    counts, totals = reasons_by_kind(artifacts, _FILTERS)
    return [
        Drop(stage, reason, count, {kind: n / totals[stage][kind] for kind, n in count.items() if totals[stage][kind]})
        for (stage, reason), count in sorted(counts.items(), key=lambda item: -item[1].total())[:_REASONS]
    ]


def reasons_by_kind(
    artifacts: Mapping[str, Artifact], stages: Sequence[str]
) -> tuple[dict[tuple[str, str], Counter[str]], dict[str, Counter[str]]]:
    """Count dropped rows of each kind by stage and reason, and input rows of each kind by stage."""
    bad = [(stage, *row) for stage in stages if stage in artifacts for row in _quarantined(artifacts[stage])]
    kinds, totals = _kinds(artifacts["generate"], {where for _, where, _ in bad}, stages)
    counts: dict[tuple[str, str], Counter[str]] = {}
    for stage, where, reason in bad:
        counts.setdefault((stage, reason), Counter())[kinds.get(where, NO_KIND)] += 1
    return counts, totals


def _kinds(
    generated: Artifact, wanted: set[str], stages: Sequence[str]
) -> tuple[dict[str, str], dict[str, Counter[str]]]:
    """The kind of each wanted query or prompt, and the number of input rows of each kind by stage."""
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
    """Place and reason of each quarantined row."""
    for path in artifact.shards("quarantine"):
        rows = read_shard(path, "quarantine", ["where", "reason"])
        yield from zip(rows["where"].to_pylist(), rows["reason"].to_pylist(), strict=True)


def asked(artifacts: Mapping[str, Artifact]) -> list[PromptStats]:
    """Statistics of prompts by stage and kind of query."""
    sums: dict[tuple[str, str], Counter[str]] = {}
    for stage in ("generate", "label"):
        for rows in _answers(artifacts[stage]) if stage in artifacts else ():
            for row in rows:
                numbers = {"prompts": 1, "cut": row["cut"] > 0, "unfinished": row["finish"] == "length"}
                numbers |= {name: row[name] for name in ("tokens_in", "tokens_out")}
                sums.setdefault((stage, row["kind"]), Counter()).update(numbers)
    return [
        PromptStats(
            stage=stage,
            kind=kind,
            prompts=total["prompts"],
            **{name: total[name] / total["prompts"] for name in ("tokens_in", "tokens_out", "cut", "unfinished")},
        )
        for (stage, kind), total in sorted(sums.items())
    ]


def _answers(artifact: Artifact) -> Iterator[list[dict[str, Any]]]:
    """Yield the answers of each shard, without texts, with the kind of the prompt (may be empty)."""
    columns = ["prompt_id", "finish", "tokens_in", "tokens_out", "cut", "facts"]
    for path in artifact.shards("answers"):
        rows = read_shard(path, "answers", columns).to_pylist()
        yield [row | {"kind": json.loads(row["facts"]).get("kind") or ""} for row in rows]


def grades(selected: Artifact) -> dict[str, list[int]]:
    """Histograms of the grades in training lists, with 20 bins over [0, 1], by kind of query, most frequent first."""
    import numpy as np
    import pyarrow.compute as pc

    bins: dict[str, npt.NDArray[np.int64]] = {}
    for batch in selected.batches("groups"):
        kinds = np.array([kind or NO_KIND for kind in batch["kind"].to_pylist()])
        # A missing grade is NaN, which falls into no bin.
        flat = pc.list_flatten(batch["grades"]).to_numpy()
        kind_of = np.repeat(kinds, pc.list_value_length(batch["grades"]).to_numpy())
        for kind in np.unique(kinds).tolist():
            counts, _ = np.histogram(flat[kind_of == kind], _BINS, (0.0, 1.0))
            bins[kind] = bins.get(kind, 0) + counts
    return {kind: counts.tolist() for kind, counts in sorted(bins.items(), key=lambda item: -item[1].sum())}
