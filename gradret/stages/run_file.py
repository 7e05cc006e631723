"""Import a run file of another system: RUN.

Of a system that is evaluated, documents that the corpus lacks are kept, since trec_eval counts them as retrieved and
not relevant; they and unjudged queries are counted. As candidates to train on, they are dropped. If the dataset sets
``exclude_same_ids``, a document whose id is that of the query is dropped, as search does.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.errors import DataError
from gradret.search.trec import ranks, read_run
from gradret.stages.ingest import known_docs
from gradret.store.artifacts import Artifact, Draft, make
from gradret.store.fingerprint import hash_files

if TYPE_CHECKING:
    from gradret.config.run import Config

__all__ = ["run_file"]


def run_file(
    config: Config, ingested: Artifact, queries: Artifact, path: str | Path, *, candidates: bool = False
) -> Artifact:
    """Read RUN from a run file.

    Args:
        config: the run's config.
        ingested: DOCS.
        queries: QUERIES.
        path: the file.
        candidates: whether it ranks candidates for ``queries``, and not test queries' documents.

    Raises:
        DataError: the file cannot be read (see ``gradret.search.trec.read_run``), none of its documents is in the
            corpus, or none of its queries has a test judgment; of candidates, none of its queries is in QUERIES.
    """
    path = Path(path)
    try:
        content = hash_files([path])
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    settings = {
        "content": content,
        "format": path.suffixes,
        "exclude_same_ids": config.dataset.exclude_same_ids,
        "candidates": candidates,
    }
    body = functools.partial(_run_file, path, ingested, queries, settings)
    inputs = {"docs": ingested, "queries": queries}
    return make("run_file", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _run_file(path: Path, ingested: Artifact, queries: Artifact, settings: Mapping[str, object], draft: Draft) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    all_rows = rows = read_run(path)
    doc_ids, query_ids = pc.unique(all_rows["doc_id"]), pc.unique(all_rows["query_id"])
    known = known_docs(ingested, doc_ids)
    unknown = len(doc_ids) - len(known)
    if settings["exclude_same_ids"]:
        rows = rows.filter(pc.not_equal(rows["query_id"], rows["doc_id"]))
    same_ids = all_rows.num_rows - rows.num_rows
    if settings["candidates"]:
        rows = rows.filter(pc.is_in(rows["doc_id"], value_set=known))
    rows = rows.set_column(rows.schema.get_field_index("rank"), "rank", pa.array(ranks(rows)))
    if unknown == len(doc_ids):
        raise DataError(
            f"{path}: none of its {unknown:,} documents (such as {doc_ids[0]}) is in the corpus; "
            "was the run made on this dataset?"
        )
    if settings["candidates"]:
        asked, wanted = queries.table("queries", ["query_id"])["query_id"], "is trained on; was the run made for them?"
    else:
        judged = queries.table("qrels", ["query_id", "split"])
        asked = judged.filter(pc.equal(judged["split"], "test"))["query_id"]
        wanted = "has a test judgment; was the run made on this split?"
    others = len(query_ids) - pc.sum(pc.is_in(query_ids, value_set=pc.unique(asked))).as_py()
    if others == len(query_ids):
        raise DataError(f"{path}: none of its {others:,} queries (such as {query_ids[0]}) {wanted}")
    draft.count(
        rows_in=all_rows.num_rows, rows_out=rows.num_rows, same_ids=same_ids,
        queries=len(query_ids), unjudged_queries=others, unknown_docs=unknown,
    )  # fmt: skip
    draft.write("run", rows.select(["query_id", "doc_id", "score", "rank"]))
