"""Generate queries for sampled documents (QUERIES), or graded documents for queries (QUERIES, DOCS and LABELS)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.components import name_of
from gradret.errors import DataError
from gradret.prompts import digests
from gradret.stages.training_queries import any_training_queries
from gradret.store.artifacts import Artifact, Draft, make, read_shard
from gradret.store.results import Quarantined, Result
from gradret.work.asking import ask
from gradret.work.shards import map_shards, split_rows

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.config.run import Config
    from gradret.generators import Generator, Write

__all__ = ["generate"]

_ROWS_A_SHARD = 2000


def generate(config: Config, ingested: Artifact, deduped: Artifact) -> Artifact:
    """Write QUERIES for the documents of SAMPLE; a document or prompt that yields no query is quarantined.

    A generator that writes documents draws QUERIES and writes DOCS and LABELS for them; it depends on these
    queries alone. With ``generate.training_queries`` the dataset's human training queries are added, in a shard of
    their own.

    Raises:
        DataError: the generator wrote nothing.
    """
    generator: Generator = config.generate.generator
    prepared = generator.prepare(config, ingested, deduped)
    inputs = prepared if generator.takes_queries else {"docs": ingested, "sample": deduped} | prepared
    human = any_training_queries(config) if config.generate.training_queries else None
    if human:
        inputs = inputs | {"training_queries": human}
    body = functools.partial(_generate, config, ingested, deduped, prepared, human=human)
    settings = {
        "generator": generator,
        "templates": digests(generator.templates),
        "seed": config.seed,
        "language": config.dataset.language,
    }
    return make("generate", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _generate(
    config: Config,
    ingested: Artifact,
    deduped: Artifact,
    prepared: dict[str, Artifact],
    draft: Draft,
    *,
    human: Artifact | None,
) -> None:
    settings, generator = config.generate, config.generate.generator
    if generator.takes_queries:
        table, rows = "queries", generator.drawn(prepared, config.seed)
    else:
        table, rows = "docs", _sampled(ingested, deduped)
    shards = split_rows(draft, rows, table, _ROWS_A_SHARD)
    load = functools.partial(generator.load, prepared, rows.num_rows, config.seed)
    if generator.asks_llm:
        limit = settings.max_bad_share
        ask(draft, shards, load, generator.engine, seed=config.seed, max_bad_share=limit, unit="prompts")
    else:
        writer = load if table == "queries" else functools.partial(_Writer, load, name_of(generator))
        map_shards(draft, shards, writer, workers=settings.resources, total=rows.num_rows, unit=table)
    if not draft.counts.get("rows_out"):
        raise DataError(
            f"generate: {name_of(generator)} wrote nothing for any of {rows.num_rows:,} {table} ({draft.quarantined})"
        )
    if human:
        _add_training_queries(human, draft, len(shards))


def _add_training_queries(human: Artifact, draft: Draft, shard: int) -> None:
    """Write the training queries that the generator did not draw, as the given shard."""
    import pyarrow.compute as pc

    rows = human.table("queries")
    for path in draft.parts("queries")[:shard]:
        rows = rows.filter(pc.invert(pc.is_in(rows["query_id"], value_set=read_shard(path, "queries")["query_id"])))
    draft.write("queries", rows, shard)
    draft.count(training_queries=rows.num_rows, rows_out=rows.num_rows)


def _sampled(ingested: Artifact, deduped: Artifact) -> pa.Table:
    """Rows of DOCS in SAMPLE, sorted by doc_id; reads one shard of DOCS at a time.

    Its strings have 64-bit offsets: sorting more than 2 GiB of text overflows those of DOCS.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    sample = deduped.table("sample")["doc_id"].combine_chunks()
    parts = [docs.filter(pc.is_in(docs["doc_id"], value_set=sample)) for docs in ingested.batches("docs")]
    rows = pa.concat_tables(parts)
    return rows.cast(pa.schema([field.with_type(pa.large_string()) for field in rows.schema])).sort_by("doc_id")


class _Writer:
    def __init__(self, load: Callable[[], Write], name: str) -> None:
        self.write, self.name = load(), name

    def __call__(self, path: Path) -> Result:
        import pyarrow as pa

        from gradret.store.contracts import schema

        rows: list[dict[str, Any]] = []
        failed = []
        docs = read_shard(path, "docs").to_pylist()
        for doc in docs:
            written = list(dict.fromkeys(self.write(doc["doc_id"], doc["title"] or "", doc["text"])))
            if not written:
                failed.append(Quarantined(doc["doc_id"], "no query could be written", doc["text"][:200]))
            for number, query in enumerate(written):
                rows.append(
                    {
                        "query_id": f"{doc['doc_id']}~{number}",
                        "text": query.text,
                        "source_doc_id": doc["doc_id"],
                        "kind": query.kind,
                        "generator": self.name,
                    }
                )
        table = pa.Table.from_pylist(rows, schema("queries"))
        return Result({"queries": table}, len(docs), len(docs) - len(failed), failed)
