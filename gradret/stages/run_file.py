"""Import a TREC run file of another system: RUN.

Documents that the corpus lacks are kept, since trec_eval counts them as retrieved and not relevant; they and
unjudged queries are counted. If the dataset sets ``exclude_same_ids``, a document whose id is that of the query is
dropped, as search does.
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
    """Read RUN from a TREC run file, plain or gzipped.

    Raises:
        DataError: the file cannot be read (see ``gradret.search.trec.read_run``), none of its documents is in the
            corpus, or none of its queries has a test judgment.
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

    all_rows = rows = read_run(path)
    if same_ids:
        rows = _rerank_rows(rows.filter(pc.not_equal(rows["query_id"], rows["doc_id"])))
    doc_ids, query_ids = pc.unique(all_rows["doc_id"]), pc.unique(all_rows["query_id"])
    unknown = len(doc_ids) - len(known_docs(ingested, doc_ids))
    if unknown == len(doc_ids):
        raise DataError(
            f"{path}: none of its {unknown:,} documents (such as {doc_ids[0]}) is in the corpus; "
            "was the run made on this dataset?"
        )
    judged = queries.table("qrels", ["query_id", "split"])
    judged_ids = pc.unique(judged.filter(pc.equal(judged["split"], "test"))["query_id"])
    unjudged = len(query_ids) - pc.sum(pc.is_in(query_ids, value_set=judged_ids)).as_py()
    if unjudged == len(query_ids):
        raise DataError(
            f"{path}: none of its {unjudged:,} queries (such as {query_ids[0]}) has a test judgment; "
            "was the run made on this split?"
        )
    draft.count(
        rows_in=all_rows.num_rows, rows_out=rows.num_rows, same_ids=all_rows.num_rows - rows.num_rows,
        queries=len(query_ids), unjudged_queries=unjudged, unknown_docs=unknown,
    )  # fmt: skip
    draft.write("run", rows.select(["query_id", "doc_id", "score", "rank"]))


def _rerank_rows(rows: pa.Table) -> pa.Table:
    """Renumber the ranks, so that dropped rows leave no gaps."""
    import pyarrow as pa

    return rows.set_column(rows.schema.get_field_index("rank"), "rank", pa.array(ranks(rows)))
