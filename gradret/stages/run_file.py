"""Take a TREC run file that was made elsewhere: RUN.

Documents that the corpus lacks stay in, for trec_eval counts them as found and not relevant; they are
counted, and so are the queries. Where a dataset leaves out documents with the query's own id, they are
dropped here as a search drops them.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.errors import DataError
from gradret.search.trec import ranks, read_run
from gradret.stages.ingest import known_docs
from gradret.store.artifacts import Artifact, Draft, make
from gradret.store.fingerprint import hash_files

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.config.run import Config

__all__ = ["run_file"]


def run_file(config: Config, ingested: Artifact, queries: Artifact, path: str | Path) -> Artifact:
    """RUN of a file, plain or gzipped.

    Raises:
        DataError: the file cannot be read (see ``gradret.search.trec.read_run``), none of its documents is in the
            corpus, or none of its queries is judged.
    """
    path = Path(path)
    try:
        content = hash_files([path])
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    same_ids = config.dataset.exclude_same_ids
    body = functools.partial(_run_file, path, ingested, queries, same_ids)
    settings = {"content": content, "exclude_same_ids": same_ids}
    inputs = {"docs": ingested, "queries": queries}
    return make("run_file", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _run_file(path: Path, ingested: Artifact, queries: Artifact, same_ids: bool, draft: Draft) -> None:  # noqa: FBT001
    import pyarrow.compute as pc

    read = rows = read_run(path)
    if same_ids:
        rows = _ranked_anew(rows.filter(pc.not_equal(rows["query_id"], rows["doc_id"])))
    doc_ids, query_ids = pc.unique(read["doc_id"]), pc.unique(read["query_id"])
    unknown = len(doc_ids) - len(known_docs(ingested, doc_ids))
    if unknown == len(doc_ids):
        raise DataError(f"{path}: the corpus has none of its {unknown:,} documents ({doc_ids[0]}, for one)")
    judged = queries.table("qrels", ["query_id", "split"])
    judged_ids = pc.unique(judged.filter(pc.equal(judged["split"], "test"))["query_id"])
    unjudged = len(query_ids) - pc.sum(pc.is_in(query_ids, value_set=judged_ids)).as_py()
    if unjudged == len(query_ids):
        raise DataError(f"{path}: none of its {unjudged:,} queries ({query_ids[0]}, for one) has a judgment")
    draft.count(
        rows_in=read.num_rows, rows_out=rows.num_rows, same_ids=read.num_rows - rows.num_rows,
        queries=len(query_ids), unjudged_queries=unjudged, unknown_docs=unknown,
    )  # fmt: skip
    draft.write("run", rows.select(["query_id", "doc_id", "score", "rank"]))


def _ranked_anew(rows: pa.Table) -> pa.Table:
    """Ranks without the gaps that dropped rows left."""
    import pyarrow as pa

    return rows.set_column(rows.schema.get_field_index("rank"), "rank", pa.array(ranks(rows)))
