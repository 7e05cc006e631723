"""Hold out generated queries to evaluate on where the dataset has documents alone: QUERIES and QRELS.

Documents are drawn, and all queries about them become test queries; the relevant documents of each are the document it
was written about and its verbatim copies: whole documents, where they are cut into passages. ``leaks`` finds these
queries, and all that resemble them, among the training queries, and ``mine`` drops them, so none is trained on.

Such queries tell whether training helped and whether documents can be found again. They do not tell how good a system
is for people, and queries that repeat words of their document favour BM25.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from gradret.copies.verbatim import families
from gradret.draw import draw
from gradret.errors import DataError
from gradret.passage_ids import document_id
from gradret.store.artifacts import Artifact, Draft, make

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.config.run import Config

__all__ = ["held_out", "wanted"]

_SHARE = 0.05
_FEWEST, _MOST = 50, 1000
"""Test queries: 5% of all, but enough for a significance test to find large differences, and not more than it needs."""
_LARGEST_SHARE = 1 / 3


def held_out(config: Config, deduped: Artifact, generated: Artifact) -> Artifact:
    """Write QUERIES, all marked ``test``, and QRELS with relevance 1.

    Args:
        config: the run's config; ``seed`` decides the draw.
        deduped: COPIES.
        generated: QUERIES, each with its source document.

    Raises:
        DataError: no query has a source document, as with ``generate.generator`` graded_documents.
    """
    settings: dict[str, object] = {"seed": config.seed}
    inputs = {"deduped": deduped, "queries": generated}
    document_of = document_id if config.passages.size else str
    body = functools.partial(_held_out, config.seed, deduped, generated, document_of)
    return make("held_out", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _held_out(
    seed: int, deduped: Artifact, generated: Artifact, document_of: Callable[[str], str], draft: Draft
) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    from gradret.store.contracts import schema

    queries = generated.table("queries")
    queries = queries.filter(pc.is_valid(queries["source_doc_id"]))
    sources = queries["source_doc_id"].to_pylist()
    documents = pa.chunked_array([[document_of(source) for source in sources]], pa.string())
    docs = _draw_docs(seed, documents)
    if not docs:
        raise DataError(
            "the dataset has no queries to evaluate on, and no generated query has a source document to find again; "
            "add queries and judgments, or take a generator that writes queries about documents"
        )
    test = queries.filter(pc.is_in(documents, value_set=pa.array(docs)))
    test = test.set_column(test.schema.get_field_index("split"), "split", pa.array(["test"] * test.num_rows))
    copies = families(deduped.table("copies", ["doc_id", "kept_doc_id"]), test["source_doc_id"])
    qrels = [
        {"query_id": query_id, "doc_id": doc_id, "relevance": 1, "split": "test"}
        for query_id, source in zip(test["query_id"].to_pylist(), test["source_doc_id"].to_pylist(), strict=True)
        for doc_id in dict.fromkeys(map(document_of, copies.get(source, [source])))
    ]
    draft.write("queries", test)
    draft.write("qrels", pa.Table.from_pylist(qrels, schema("qrels")))
    draft.count(test_queries=test.num_rows, judgments=len(qrels), held_out_documents=len(docs))


def wanted(queries: int) -> float:
    """How many of this many generated queries are held out; whole documents are, so a few more may be."""
    return min(max(_FEWEST, min(_MOST, _SHARE * queries)), _LARGEST_SHARE * queries)


def _draw_docs(seed: int, sources: pa.ChunkedArray) -> list[str]:
    """Draw documents, by a hash of seed and doc_id, until their queries are enough."""
    most = wanted(len(sources))
    queries = {count["values"]: count["counts"] for count in sources.value_counts().to_pylist()}
    docs: list[str] = []
    number = 0
    for doc_id in sorted(queries, key=lambda doc_id: draw("held_out", seed, doc_id)):
        if number >= most:
            break
        docs.append(doc_id)
        number += queries[doc_id]
    return docs
