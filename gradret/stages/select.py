"""Turn scored pairs into training lists: GROUPS, one list a query.

Positives are the query's source document, documents that people judged relevant, documents that score above the
teacher's ``positive_above``, and copies of all these; rules of ``select.mix`` can override this. All queries of a
source document, or of its passages, are on the same side of the dev split. AUDIT counts the composition of the lists
and the negatives that the teacher scores like positives.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.copies.verbatim import families
from gradret.draw import draw
from gradret.errors import DataError
from gradret.lists.audit import Audit
from gradret.lists.candidates import Candidate, in_order, mixed, pools, within_margins
from gradret.lists.dev_split import dev_below, dev_draw
from gradret.lists.filters import Seen, failed, filters_before_scores, reasons, repeated
from gradret.lists.grades import NO_KIND, Marks, Scale, grades, marks, percentiles, scale
from gradret.lists.siblings import best_judged, siblings, without_siblings
from gradret.origins import retriever, searching
from gradret.passage_ids import document_id
from gradret.store.artifacts import Artifact, Draft, make, read_shard, write_shard
from gradret.store.results import Quarantined, Result
from gradret.work.shards import map_shards, run_step

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.config.run import Config

__all__ = ["select"]

Shard = tuple[Path, Path, Path]
"""QUERIES, PAIRS and LABELS of the same queries."""


@dataclass(frozen=True)
class _Facts:
    """Facts about all shards that the worker of one shard needs."""

    scale: Scale
    repeated: pa.Table
    """Repeated queries (see ``gradret.lists.filters.repeated``)."""
    dev_below: float
    """The queries of documents with a draw below this, of 0 to 1, are held out."""
    last_draws: dict[str, int] = field(default_factory=dict)
    """For each kind of query, the largest draw that is kept; empty keeps all."""


def select(
    config: Config,
    deduped: Artifact,
    generated: Artifact,
    mined: Artifact,
    labels: Artifact,
    *,
    docs: Artifact | None = None,
) -> Artifact:
    """Write GROUPS, each query's documents with grades, positives first; dropped queries are quarantined.

    Also writes AUDIT, the composition of the lists by origin and band of ranks, and SUSPECTS, a sample of the
    negatives that score at least as high as the best positive.

    Args:
        config: the run's config.
        deduped: COPIES.
        generated: QUERIES.
        mined: PAIRS.
        labels: LABELS.
        docs: the passages of ``cut``, with LENGTHS; needed if documents are cut.

    Raises:
        DataError: all scores are equal, a score cannot be used as a grade, or no list is left for the train or dev
            split.
    """
    inputs = {"deduped": deduped, "queries": generated, "pairs": mined, "labels": labels}
    inputs |= {"docs": docs} if docs and config.passages.size else {}
    body = functools.partial(_select, config, inputs)
    settings = {"select": config.select, "positive_above": _positive_above(config), "seed": config.seed}
    return make("select", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _select(config: Config, inputs: dict[str, Artifact], draft: Draft) -> None:
    settings = config.select
    queries = inputs["queries"].table("queries")
    shards = _shards(queries, inputs["pairs"], inputs["labels"], draft)
    again = repeated(queries if settings.unique else queries.slice(0, 0))
    score_scale = scale(settings, _counted(config, draft, shards, again))
    draft.notes["percentiles"] = {
        scope: {f"{percent:g}": score for percent, score in zip(percentiles(settings), scores, strict=True)}
        for scope, scores in score_scale.marks.items()
    }
    cut = config.passages.size > 0
    facts = _Facts(score_scale, again, dev_below(queries, settings.dev_share, config.seed, cut=cut))
    if settings.max_per_kind:
        first = run_step(draft, "first", shards, functools.partial(_Selector, config, inputs, facts))
        facts = replace(facts, last_draws=_last_draws(first, config.seed, settings.max_per_kind))
    map_shards(draft, shards, functools.partial(_Selector, config, inputs, facts))
    # Rows out are lists alone, without rows of AUDIT and SUSPECTS.
    draft.counts["rows_out"] = draft.counts.get("train", 0) + draft.counts.get("dev", 0)
    for split in ("train", "dev"):
        if not draft.counts.get(split):
            raise DataError(
                f"no list is left for {split}: {draft.counts['rows_in']:,} queries in, "
                f"{draft.counts['quarantined']:,} dropped ({draft.quarantined}); "
                "generate more queries, filter less, or change select.dev_share"
            )


def _shards(queries: pa.Table, mined: Artifact, labels: Artifact, draft: Draft) -> list[Shard]:
    """The shards of PAIRS and LABELS, each with its queries."""
    import pyarrow.compute as pc

    shards: list[Shard] = []
    for number, (pairs, scores) in enumerate(zip(mined.shards("pairs"), labels.shards("labels"), strict=True)):
        path = draft.path / "work" / "queries" / f"part-{number:05d}.parquet"
        if not path.exists():
            wanted = pc.unique(read_shard(pairs, "pairs", ["query_id"])["query_id"])
            write_shard(path, queries.filter(pc.is_in(queries["query_id"], value_set=wanted)), "queries")
        shards.append((path, pairs, scores))
    return shards


def _counted(config: Config, draft: Draft, shards: list[Shard], again: pa.Table) -> list[tuple[Path, Path]]:
    """QUERIES and LABELS of the queries whose scores percentiles are taken over: those that the filters keep."""
    if not filters_before_scores(config.select):
        return [(queries, labels) for queries, _, labels in shards]
    step = run_step(draft, "filtered", shards, functools.partial(_Filter, config, again))
    if not step.counts["rows_out"]:  # every query is dropped, so any scale will do
        return [(queries, labels) for queries, _, labels in shards]
    return [
        (queries, step.path / "labels" / f"part-{number:05d}.parquet") for number, (queries, *_) in enumerate(shards)
    ]


def _last_draws(first: Draft, seed: int, most: int) -> dict[str, int]:
    """For each kind, the ``most``-th smallest draw of the queries that pass all other filters."""
    import numpy as np

    draws: dict[str, list[int]] = {}
    for path in first.parts("groups"):
        rows = read_shard(path, "groups", ["query_id", "kind"])
        for query_id, kind in zip(rows["query_id"].to_pylist(), rows["kind"].to_pylist(), strict=True):
            draws.setdefault(kind or NO_KIND, []).append(draw("kind", seed, query_id))
    return {kind: int(np.sort(np.array(values, np.uint64))[:most][-1]) for kind, values in draws.items()}


def _positive_above(config: Config) -> float | None:
    teacher = config.label.teacher
    return teacher.positive_above if teacher else None


@dataclass(frozen=True)
class _Related:
    """What belongs together among the documents and queries of a shard."""

    copies: dict[str, list[str]]
    repeats: dict[str, list[str]]
    siblings: dict[str, list[str]]
    """The passages of each document; empty if documents are not cut."""

    def siblings_of(self, doc_id: str) -> list[str]:
        """All passages of the document of which this is one."""
        return self.siblings.get(document_id(doc_id), []) if self.siblings else []


class _Filter:
    """The LABELS of a shard's queries that all filters keep, except for the one by percentile."""

    def __init__(self, config: Config, again: pa.Table) -> None:
        self.settings, self.again, self.cut = config.select, again, config.passages.size > 0
        self.searching = searching(config.mine.retrievers or ())

    def __call__(self, shard: Shard) -> Result:
        import pyarrow as pa
        import pyarrow.compute as pc

        queries = read_shard(shard[0], "queries")
        pairs, labels = read_shard(shard[1], "pairs"), read_shard(shard[2], "labels")
        repeats = _by_first(self.again, queries["query_id"])
        rows = {row["query_id"]: row for row in queries.to_pylist()}
        kept = [
            query_id
            for query_id, pool in _pools(pairs, labels, cut=self.cut)
            if not failed(self.settings, _seen(rows[query_id], pool, repeats, self.searching))
        ]
        table = labels.filter(pc.is_in(labels["query_id"], value_set=pa.array(kept, pa.string())))
        return Result({"labels": table}, labels.num_rows, labels.num_rows)


class _Selector:
    def __init__(self, config: Config, inputs: dict[str, Artifact], facts: _Facts) -> None:
        self.settings, self.seed, self.facts = config.select, config.seed, facts
        above = _positive_above(config)
        self.positive_above = math.inf if above is None else above
        from_grade = config.select.positive_from
        self.positive_from = math.inf if from_grade is None else from_grade
        self.reasons = reasons(config.select)
        self.searching = searching(config.mine.retrievers or ())
        self.copies = inputs["deduped"].table("copies", ["doc_id", "kept_doc_id"])
        self.cut = config.passages.size > 0
        self.lengths = inputs["docs"].table("lengths") if "docs" in inputs else None

    def __call__(self, shard: Shard) -> Result:
        import pyarrow as pa

        from gradret.store.contracts import schema

        queries = read_shard(shard[0], "queries")
        pairs, labels = read_shard(shard[1], "pairs"), read_shard(shard[2], "labels")
        docs = pa.chunked_array([*queries["source_doc_id"].chunks, *pairs["doc_id"].chunks], pa.string())
        related = self._related(docs, queries["query_id"])
        rows = {row["query_id"]: row for row in queries.to_pylist()}
        audit = Audit()
        groups: list[dict[str, Any]] = []
        dropped: list[Quarantined] = []
        for query_id, pool in _pools(pairs, labels, cut=self.cut):
            group = self._group(rows[query_id], pool, related, audit)
            if isinstance(group, Quarantined):
                dropped.append(group)
            else:
                groups.append(group)
        table = pa.Table.from_pylist(groups, schema("groups"))
        splits = table["split"].to_pylist()
        counts = {"train": splits.count("train"), "dev": splits.count("dev")}
        tables = {"groups": table, **audit.tables()}
        return Result(tables, len(groups) + len(dropped), len(groups), dropped, counts)

    def _group(
        self,
        query: dict[str, Any],
        pool: Sequence[Candidate],
        related: _Related,
        audit: Audit,
    ) -> dict[str, Any] | Quarantined:
        query_id, source, settings = query["query_id"], query["source_doc_id"], self.settings
        listed = mixed(pool, settings.mix)
        if not listed:
            return self._drop(query, "candidates", "none")
        seen = _seen(query, pool, related.repeats, self.searching, self.facts.scale.floor(query["kind"]))
        if failure := failed(settings, seen):
            return self._drop(query, *failure)
        if not self._grade(query["kind"], pool, listed):
            return self._drop(query, "normalise", f"{listed[0].score}")
        relevant = self._relevant(source, pool, related.copies)
        if self.cut:
            listed = without_siblings(listed, relevant)
        for doc in listed:
            by_rule = doc.rule.positive if doc.rule else None
            doc.positive = doc.doc_id in relevant if by_rule is None else by_rule
        kept = in_order(within_margins(listed, settings), settings.mix)
        last_draw = self.facts.last_draws.get(query["kind"] or NO_KIND, math.inf)
        if draw("kind", self.seed, query_id) > last_draw:
            return self._drop(query, "max_per_kind", query["kind"] or NO_KIND)
        audit.add_negatives(query_id, listed)
        audit.add_list(kept)
        return {
            "query_id": query_id,
            "split": "dev" if dev_draw(query, self.seed, cut=self.cut) < self.facts.dev_below else "train",
            "source_doc_id": source,
            "kind": query["kind"],
            "doc_ids": [doc.doc_id for doc in kept],
            "grades": [doc.grade for doc in kept],
            "scores": [doc.score for doc in kept],
            "positives": [doc.positive for doc in kept],
            "relevant_doc_ids": sorted(relevant.union(*map(related.siblings_of, relevant))),
        }

    def _related(self, docs: pa.ChunkedArray, query_ids: pa.ChunkedArray) -> _Related:
        copies, repeats = families(self.copies, docs), _by_first(self.facts.repeated, query_ids)
        if self.lengths is None:
            return _Related(copies, repeats, {})
        ids = {doc_id for doc_id in docs.to_pylist() if doc_id}.union(*copies.values())
        return _Related(copies, repeats, siblings(self.lengths, ids))

    def _drop(self, query: dict[str, Any], by: str, detail: str) -> Quarantined:
        return Quarantined(query["query_id"], self.reasons[by], f"{detail}: {query['text']}")

    def _grade(self, kind: str | None, pool: Sequence[Candidate], listed: Sequence[Candidate]) -> bool:
        """Grade the documents of the list; False if grades compare a query's own scores and these are all alike."""
        import numpy as np

        for doc in listed:
            doc.grade = doc.rule.grade if doc.rule else None
        ungraded = [doc for doc in listed if doc.grade is None]
        if not ungraded:
            return True
        scale_marks: Marks | None = self.facts.scale.of(kind)
        if self.settings.normalise == "query":
            scale_marks = marks(self.settings, np.array([doc.score for doc in pool if doc.score is not None]))
        if scale_marks is None:
            return False
        values = grades(self.settings, scale_marks, np.array([doc.score for doc in ungraded]))
        for doc, grade in zip(ungraded, values.tolist(), strict=True):
            doc.grade = grade
        return True

    def _relevant(self, source: str | None, pool: Sequence[Candidate], copies: dict[str, list[str]]) -> set[str]:
        """Documents known to be relevant to the query, whether in its list or not."""
        known = {doc.doc_id for doc in pool if self._is_relevant(doc)}
        if source and self.settings.positives_by == "all":
            known.add(source)
        return known.union(*(copies.get(doc_id, []) for doc_id in known))

    def _is_relevant(self, doc: Candidate) -> bool:
        by_all = self.settings.positives_by == "all"
        judged = by_all and any(retriever(origin) == "positives" for origin in doc.ranks)
        ruled = doc.rule is not None and doc.rule.positive is True
        scored = doc.score is not None and doc.score > self.positive_above
        return judged or ruled or scored or (doc.grade is not None and doc.grade >= self.positive_from)


def _pools(pairs: pa.Table, labels: pa.Table, *, cut: bool) -> Iterator[tuple[str, list[Candidate]]]:
    """The candidates of each query; if documents are ``cut``, with one passage of each judged document."""
    for query_id, pool in pools(pairs, labels):
        yield query_id, best_judged(pool) if cut else pool


def _seen(
    query: dict[str, Any],
    pool: Sequence[Candidate],
    repeats: dict[str, list[str]],
    searching: frozenset[str],
    floor: float = -math.inf,
) -> Seen:
    original = next(iter(repeats.get(query["query_id"], [])), None)
    return Seen(query["text"], query["source_doc_id"], pool, original, floor, searching)


def _by_first(table: pa.Table, keys: pa.ChunkedArray) -> dict[str, list[str]]:
    """Group the second column of a table by its first column, for the given keys."""
    import pyarrow.compute as pc

    groups: dict[str, list[str]] = {}
    rows = table.filter(pc.is_in(table[0], value_set=keys))
    for key, value in zip(rows[0].to_pylist(), rows[1].to_pylist(), strict=True):
        groups.setdefault(key, []).append(value)
    return groups
