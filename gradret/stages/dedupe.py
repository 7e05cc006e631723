"""Choose the documents to write queries about: SAMPLE, and which documents are copies: DUPLICATES.

The rule is Tamber et al.'s (2502.19712, their released preparation script): normalise, sort by
text and again by reversed text, and take a document that is contained in one of its next
neighbours for its copy. Here, too: of equal texts the smallest doc_id stays, neighbours are
different texts, the second pass sees only what the first one kept, and what matches in its first
2,048 characters (backwards: its last) must be contained in whole. Only writing queries leaves
copies out; index and evaluation use every document, for a copy may be a judged one.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.copies.contained import without_copies
from gradret.copies.minhash import near_copies
from gradret.draw import draw
from gradret.errors import DataError
from gradret.store.artifacts import Artifact, Draft, make, read_shard
from gradret.work.shards import Pool

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.config.run import Config

__all__ = ["dedupe"]


def dedupe(config: Config, ingested: Artifact) -> Artifact:
    """SAMPLE (documents to write queries about) and DUPLICATES (``doc_id`` is a copy of ``kept_doc_id``).

    Neither depends on how DOCS is sharded. A copy's reason is ``equal``, ``contained`` or ``near``.

    Raises:
        DataError: no document is long enough to write a query about.
    """
    settings = {"dedupe": config.dedupe, "seed": config.seed}
    body = functools.partial(_dedupe, config, ingested)
    return make("dedupe", config.storage_path, module=__name__, settings=settings, inputs={"docs": ingested}, body=body)


def _dedupe(config: Config, ingested: Artifact, draft: Draft) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    settings = config.dedupe
    pool = Pool(actors=settings.resources.actors, gpus=settings.resources.gpus)
    docs = ingested.shards("docs")
    files = without_copies(draft, docs, min_chars=settings.min_chars, window=settings.window, pool=pool)
    copies = _written(draft)
    if settings.near:
        copies = pa.concat_tables([copies, near_copies(draft, files, settings.near, pool)])
    copies = _resolve_chains(copies)
    kept = _kept(files, copies)
    if not len(kept):
        raise DataError(
            f"none of the {draft.counts['rows_in']:,} documents has {settings.min_chars} letters once digits and "
            "punctuation are gone; nothing to write queries about"
        )
    sample = _sample(kept, config.seed, settings.max_docs)
    draft.write("sample", sample)
    draft.write("duplicates", copies)
    draft.count(sampled=sample.num_rows, not_drawn=len(kept) - sample.num_rows, copies=copies.num_rows)
    for reason in ("equal", "contained", "near"):
        draft.count(**{reason: pc.sum(pc.equal(copies["reason"], reason), min_count=0).as_py()})


def _written(draft: Draft) -> pa.Table:
    """DUPLICATES that the steps left."""
    import pyarrow as pa

    from gradret.store.contracts import schema

    paths = sorted((draft.path / "work").glob("*/duplicates/part-*.parquet"))
    return pa.concat_tables([schema("duplicates").empty_table(), *(read_shard(path, "duplicates") for path in paths)])


def _resolve_chains(copies: pa.Table) -> pa.Table:
    """DUPLICATES by doc_id, each with the document at the end of its chain, which is no copy."""
    import numpy as np
    import pyarrow.compute as pc

    copies = copies.sort_by("doc_id").combine_chunks()
    kept = copies["kept_doc_id"]
    # Where a copy's own kept document stands as a copy, -1 at the end; every round doubles what a row sees of it.
    after = pc.fill_null(pc.index_in(kept, value_set=copies["doc_id"]), -1).to_numpy().astype(np.int64)
    last = np.arange(len(after))
    while (after >= 0).any():
        more = after >= 0
        last[more] = last[after[more]]
        after[more] = after[after[more]]
    return copies.set_column(1, "kept_doc_id", kept.take(last))


def _kept(files: Sequence[Path], copies: pa.Table) -> pa.ChunkedArray:
    """doc_ids in ``files`` that are no copies."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    ids = pa.concat_tables([pq.read_table(path, columns=["doc_id"]) for path in files])["doc_id"]
    return ids.filter(pc.invert(pc.is_in(ids, value_set=copies["doc_id"])))


def _sample(doc_ids: pa.ChunkedArray, seed: int, size: int) -> pa.Table:
    """SAMPLE: the ``size`` documents with the smallest draws."""
    import numpy as np
    import pyarrow as pa

    draws = (draw(seed, doc_id) for chunk in doc_ids.chunks for doc_id in chunk.to_pylist())
    rows = pa.table({"draw": np.fromiter(draws, np.uint64, len(doc_ids)), "doc_id": doc_ids})
    drawn = rows.sort_by([("draw", "ascending"), ("doc_id", "ascending")]).slice(0, size)
    return drawn.select(["doc_id"]).sort_by("doc_id")
