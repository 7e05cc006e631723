"""Write queries about the sampled documents: QUERIES."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.artifacts import Artifact, Draft, make, read_shard
from gradret.components import name_of
from gradret.errors import DataError
from gradret.stages._map import Pool, Quarantined, Result, map_shards, split_rows

if TYPE_CHECKING:
    from gradret.config import Config
    from gradret.generators import Generator

__all__ = ["generate"]

_DOCS_A_SHARD = 2000


def generate(config: Config, ingested: Artifact, deduped: Artifact) -> Artifact:
    """QUERIES about the documents of SAMPLE; a document that yields none is quarantined.

    Raises:
        DataError: no document yields a query.
    """
    generator: Generator = config.generate.generator
    prepared = generator.prepare(config, ingested, deduped)
    inputs = {"docs": ingested, "sample": deduped} | prepared
    body = functools.partial(_generate, config, ingested, deduped, prepared)
    settings = {"generate": config.generate, "seed": config.seed, "language": config.dataset.language}
    return make("generate", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _generate(
    config: Config, ingested: Artifact, deduped: Artifact, prepared: dict[str, Artifact], draft: Draft
) -> None:
    import pyarrow as pa

    sample = set(deduped.table("sample")["doc_id"].to_pylist())
    docs = ingested.table("docs")
    docs = docs.filter(pa.array([doc_id in sample for doc_id in docs["doc_id"].to_pylist()], pa.bool_()))
    shards = split_rows(draft, docs, "docs", _DOCS_A_SHARD)
    load = functools.partial(_Writer, config, prepared, docs.num_rows)
    resources = config.generate.resources
    pool = Pool(actors=resources.actors, gpus=resources.gpus)
    map_shards(draft, shards, load, pool=pool, total=docs.num_rows, unit="documents")
    if not draft.counts.get("rows_out"):
        raise DataError(f"not one of {docs.num_rows:,} documents yielded a query ({draft.quarantined})")


class _Writer:
    def __init__(self, config: Config, prepared: dict[str, Artifact], sampled: int) -> None:
        self.write = config.generate.generator.load(prepared, sampled, config.seed)
        self.name = name_of(config.generate.generator)

    def __call__(self, path: Path) -> Result:
        import pyarrow as pa

        from gradret.contracts import schema

        rows: list[dict[str, Any]] = []
        silent = []
        docs = read_shard(path, "docs").to_pylist()
        for doc in docs:
            written = list(dict.fromkeys(self.write(doc["doc_id"], doc["title"] or "", doc["text"])))
            if not written:
                silent.append(Quarantined(doc["doc_id"], "no query could be written", doc["text"][:200]))
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
        return Result({"queries": table}, len(docs), len(docs) - len(silent), silent)
