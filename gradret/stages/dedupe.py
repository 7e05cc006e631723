"""Choose the documents to write queries about (SAMPLE) and list the copies among them (DUPLICATES).

The rule is from Tamber et al. (2502.19712, their released preparation script): normalise, sort by text and again
by reversed text, and treat a document as a copy if it is contained in one of its next neighbours. In addition, of
equal texts the smallest doc_id stays, neighbours are different texts, the second pass sees only what the first
kept, and a match of the first 2,048 characters (in the reversed pass, the last) is confirmed on the whole text.

The rule ignores digits and punctuation, so its copies may state other facts; it only chooses documents to write queries
about. COPIES are those that the same rule finds with every character: they are left out of retrieved lists, and are
relevant to what their original is relevant to. Index and evaluation use every document, since a copy may be judged.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.copies.contained import Rule, without_copies
from gradret.copies.minhash import near_copies
from gradret.copies.verbatim import verbatim
from gradret.draw import draw
from gradret.errors import DataError
from gradret.store.artifacts import Artifact, Draft, make, read_shard
from gradret.store.mirror import fetched

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.config.resources import Workers
    from gradret.config.run import Config

__all__ = ["dedupe"]

_SHORTEST_WORD = len(verbatim("a"))


def dedupe(config: Config, ingested: Artifact) -> Artifact:
    """Write SAMPLE (documents to write queries about), DUPLICATES (``doc_id`` is a copy of ``kept_doc_id``) and COPIES.

    COPIES are the documents outside SAMPLE's pool that repeat ``kept_doc_id`` word for word, or a part of it.

    Neither depends on how DOCS is sharded. The reason of a copy is ``equal``, ``contained`` or ``near``.

    Raises:
        DataError: no document is long enough to write a query about.
    """
    settings = {"dedupe": config.dedupe, "seed": config.seed}
    body = functools.partial(_dedupe, config, ingested)
    return make("dedupe", config.storage_path, module=__name__, settings=settings, inputs={"docs": ingested}, body=body)


def _dedupe(config: Config, ingested: Artifact, draft: Draft) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    settings, workers = config.dedupe, config.dedupe.resources
    docs = ingested.shards("docs")
    files = without_copies(draft, docs, Rule(settings.min_chars, settings.window), workers)
    copies = _read_duplicates(draft)
    if settings.near:
        copies = pa.concat_tables([copies, near_copies(draft, files, settings.near, workers)])
    copies = _resolve_chains(copies)
    kept = _kept(files, copies)
    if not len(kept):
        raise DataError(
            f"none of the {draft.counts['rows_in']:,} documents has dedupe.min_chars={settings.min_chars} characters "
            "without digits and punctuation, so there is nothing to write queries about; lower dedupe.min_chars"
        )
    sample = _sample(kept, config.seed, settings.max_docs)
    draft.write("sample", sample)
    draft.write("duplicates", copies)
    among = pc.unique(pa.chunked_array([*copies["doc_id"].chunks, *copies["kept_doc_id"].chunks], pa.string()))
    repeats = _copies(draft, docs, Rule(_SHORTEST_WORD, settings.window, verbatim, among), kept, workers)
    draft.write("copies", repeats)
    draft.count(verbatim=repeats.num_rows)
    draft.count(sampled=sample.num_rows, not_drawn=len(kept) - sample.num_rows, copies=copies.num_rows)
    for reason in ("equal", "contained", "near"):
        draft.count(**{reason: pc.sum(pc.equal(copies["reason"], reason), min_count=0).as_py()})


def _copies(draft: Draft, docs: Sequence[Path], rule: Rule, kept: pa.ChunkedArray, workers: Workers) -> pa.Table:
    """COPIES: by a rule that reads every character, and never a document that queries may be written about."""
    import pyarrow.compute as pc

    step = Draft(draft.path / "work" / "verbatim", draft.stage)
    (step.path / "work").mkdir(parents=True, exist_ok=True)
    without_copies(step, docs, rule, workers)
    rows = _read_duplicates(step)
    return _resolve_chains(rows.filter(pc.invert(pc.is_in(rows["doc_id"], value_set=kept))))


def _read_duplicates(draft: Draft) -> pa.Table:
    """DUPLICATES written by the steps of ``without_copies``."""
    import pyarrow as pa

    from gradret.store.contracts import schema

    steps = ("forwards_sort", "forwards_windows", "backwards_sort", "backwards_windows")
    paths = [path for step in steps for path in Draft(draft.path / "work" / step, draft.stage).parts("duplicates")]
    return pa.concat_tables([schema("duplicates").empty_table(), *(read_shard(path, "duplicates") for path in paths)])


def _resolve_chains(copies: pa.Table) -> pa.Table:
    """DUPLICATES sorted by doc_id, each pointing to the end of its chain, which is not a copy itself."""
    import numpy as np
    import pyarrow.compute as pc

    copies = copies.sort_by("doc_id").combine_chunks()
    kept = copies["kept_doc_id"]
    # The row in which a row's kept document is itself a copy, -1 if in none. Pointer jumping: each round doubles
    # the part of the chain that a row has followed.
    following = pc.fill_null(pc.index_in(kept, value_set=copies["doc_id"]), -1).to_numpy().astype(np.int64)
    last = np.arange(len(following))
    while (following >= 0).any():
        open_rows = following >= 0
        last[open_rows] = last[following[open_rows]]
        following[open_rows] = following[following[open_rows]]
    return copies.set_column(1, "kept_doc_id", kept.take(last))


def _kept(files: Sequence[Path], copies: pa.Table) -> pa.ChunkedArray:
    """doc_ids in ``files`` that are not copies."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    ids = pa.concat_tables([pq.read_table(fetched(path), columns=["doc_id"]) for path in files])["doc_id"]
    return ids.filter(pc.invert(pc.is_in(ids, value_set=copies["doc_id"])))


def _sample(doc_ids: pa.ChunkedArray, seed: int, size: int) -> pa.Table:
    """SAMPLE: the ``size`` documents with the smallest hash draws."""
    import numpy as np
    import pyarrow as pa

    draws = (draw(seed, doc_id) for chunk in doc_ids.chunks for doc_id in chunk.to_pylist())
    rows = pa.table({"draw": np.fromiter(draws, np.uint64, len(doc_ids)), "doc_id": doc_ids})
    drawn = rows.sort_by([("draw", "ascending"), ("doc_id", "ascending")]).slice(0, size)
    return drawn.select(["doc_id"]).sort_by("doc_id")
