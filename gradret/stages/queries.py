"""Read a dataset's human queries and judgments into QUERIES and QRELS.

They are a separate artifact, so that nothing before ``search`` depends on a test judgment. Judgments of documents
that the corpus lacks are kept and counted: trec_eval counts them as relevant documents that were not retrieved, and
so do published results.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from gradret.datasets import Row, read_settings
from gradret.errors import DataError
from gradret.progress import say
from gradret.stages.ingest import known_docs, read_part, refuse_mostly_bad
from gradret.store.artifacts import Artifact, Draft, make
from gradret.store.contracts import schema
from gradret.store.results import Quarantined, quarantine_table
from gradret.texts import doc_texts

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.config.run import Config

__all__ = ["judged", "queries", "texts_by_id"]

_MAX_UNKNOWN = 0.5
_JUDGED_AGAIN = "judged again in a later row, which counts"
_COLUMNS = {"queries": ("query_id", "text"), "qrels": ("query_id", "doc_id", "relevance", "split")}


def queries(config: Config, ingested: Artifact) -> Artifact:
    """Read QUERIES and QRELS of the dataset, with the queries of ``dataset.split`` marked ``test``.

    Raises:
        DataError: a file is missing, a query_id is not unique, no query of the split has a judgment, or most
            judgments name documents that the corpus lacks.
    """
    settings = {
        "dataset": read_settings(config.dataset),
        "split": config.dataset.split,
        "content": [config.dataset.content("queries"), config.dataset.content("qrels")],
        "max_bad_share": config.ingest.max_bad_share,
    }
    body = functools.partial(_queries, config, ingested)
    made = make(
        "queries", config.storage_path, module=__name__, settings=settings, inputs={"docs": ingested}, body=body
    )
    same = made.counts["queries_that_are_documents"]
    if same and not config.dataset.exclude_same_ids:
        say(
            f"  queries: {same:,} have the id and the text of a document, which a search finds first; "
            "dataset.exclude_same_ids=true leaves it out, as BEIR's evaluation does",
            "warning",
        )
    return made


def texts_by_id(config: Config) -> dict[str, str]:
    """Texts of all queries by query_id.

    Raises:
        DataError: a query_id occurs twice; names both places.
    """
    texts = _texts(config)[0]
    return dict(zip(texts["query_id"].to_pylist(), texts["text"].to_pylist(), strict=True))


def judged(config: Config, split: str) -> dict[tuple[str, str], Row]:
    """Judgments of a split other than the evaluated one, by ``(query_id, doc_id)``.

    Leaves out queries that are also judged in the evaluated split. If a pair is judged twice, the last counts.
    """
    columns, dataset = _COLUMNS["qrels"], config.dataset
    evaluated: set[str] = set()
    judgments: dict[tuple[str, str], Row] = {}
    for part in dataset.parts("qrels"):
        for _, row in read_part(dataset, "qrels", part)[0]:
            if row["split"] == dataset.split:
                evaluated.add(row["query_id"])
            elif row["split"] == split:
                judgments[row["query_id"], row["doc_id"]] = {name: row[name] for name in columns}
    return {pair: row for pair, row in judgments.items() if pair[0] not in evaluated}


def _queries(config: Config, ingested: Artifact, draft: Draft) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    texts, bad_queries = _texts(config)
    read, bad_judgments = _read(config, "qrels")
    read = read.filter(pc.is_in(read["split"], value_set=pa.array({config.dataset.split, "train", "dev"})))
    judgments, more_bad = _usable(read, texts, config.dataset.split)
    bad = [*bad_queries, *bad_judgments, *more_bad]
    if bad:
        draft.write("quarantine", quarantine_table("queries", bad))
    for row in bad:
        draft.quarantined[row.reason] = draft.quarantined.get(row.reason, 0) + 1
    total = texts.num_rows + judgments.num_rows + len(bad)
    draft.count(rows_in=total, queries=texts.num_rows, judgments=judgments.num_rows, quarantined=len(bad))
    if not texts.num_rows and not bad_queries:
        places = dict.fromkeys(part.path for part in config.dataset.parts("queries"))
        raise DataError(f"{', '.join(places) or 'the dataset'}: contains no queries")
    refuse_mostly_bad(draft, "queries and qrels", config.ingest.max_bad_share)

    splits = _splits(texts["query_id"], judgments)
    test = pc.sum(pc.equal(splits, "test")).as_py() or 0
    if not test:
        raise DataError(f"no query has a judgment in split {config.dataset.split!r}; set dataset.split")
    _count_unknown(draft, ingested, judgments["doc_id"])
    draft.count(queries_that_are_documents=_same_texts(ingested, texts))
    draft.count(test_queries=test, queries_without_judgments=splits.null_count)
    nulls = pa.nulls(texts.num_rows, pa.string())
    columns = {"query_id": texts["query_id"], "text": texts["text"], "split": splits}
    columns |= {"source_doc_id": nulls, "kind": nulls, "generator": pa.array(["human"] * texts.num_rows)}
    draft.write("queries", pa.table(columns, schema("queries")).sort_by("query_id"))
    draft.write("qrels", judgments.cast(schema("qrels")))


def _read(config: Config, table: str) -> tuple[pa.Table, list[Quarantined]]:
    """Read ``queries`` or ``qrels``: good rows with their ``file:line`` in column ``where``, and quarantined rows.

    Rows become columns as they are read: a training split has half a million rows.
    """
    import pyarrow as pa

    fields = [field for field in schema(table) if field.name in _COLUMNS[table]]
    wanted = pa.schema([*fields, ("where", pa.string())])
    tables, bad = [wanted.empty_table()], []
    for part in config.dataset.parts(table):
        good, quarantined = read_part(config.dataset, table, part)
        columns = {field.name: [row[field.name] for _, row in good] for field in fields}
        tables.append(pa.table(columns | {"where": [where for where, _ in good]}, wanted))
        bad += quarantined
    return pa.concat_tables(tables), bad


def _texts(config: Config) -> tuple[pa.Table, list[Quarantined]]:
    """Read queries with unique ids, and quarantined rows."""
    import pyarrow.compute as pc

    rows, bad = _read(config, "queries")
    if pc.count_distinct(rows["query_id"]).as_py() < rows.num_rows:
        counts = rows["query_id"].value_counts()
        repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")[0]
        places = rows["where"].filter(pc.equal(rows["query_id"], repeated)).to_pylist()
        raise DataError(f"query_id {repeated.as_py()!r} occurs twice: {', '.join(places[:2])}; ids must be unique")
    return rows, bad


def _usable(rows: pa.Table, texts: pa.Table, split: str) -> tuple[pa.Table, list[Quarantined]]:
    """Keep judgments of known queries, the last of each pair, with the evaluated split renamed to ``test``."""
    import pyarrow as pa
    import pyarrow.compute as pc

    key = ["query_id", "doc_id", "split"]
    numbered = rows.append_column("number", pa.array(range(rows.num_rows), pa.int64()))
    last = numbered.group_by(key).aggregate([("number", "max")])["number_max"]
    known = pc.is_in(rows["query_id"], value_set=texts["query_id"].combine_chunks())
    good = pc.and_(known, pc.is_in(numbered["number"], value_set=last.combine_chunks()))
    bad = [
        Quarantined(row.pop("where"), _JUDGED_AGAIN if row.pop("known") else "judgment of an unknown query", str(row))
        for row in rows.append_column("known", known).filter(pc.invert(good)).to_pylist()
    ]
    kept = rows.filter(good).drop_columns("where")
    renamed = pc.if_else(pc.equal(kept["split"], split), "test", kept["split"])
    return kept.set_column(kept.schema.get_field_index("split"), "split", renamed), bad


def _splits(query_ids: pa.ChunkedArray, judgments: pa.Table) -> pa.ChunkedArray:
    """The split in which each query is judged, ``test`` before ``dev`` before ``train``; null if in none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    splits: pa.ChunkedArray = pa.chunked_array([pa.nulls(len(query_ids), pa.string())])
    for split in ("train", "dev", "test"):
        judged_ids = pc.unique(judgments.filter(pc.equal(judgments["split"], split))["query_id"])
        splits = pc.if_else(pc.is_in(query_ids, value_set=judged_ids), split, splits)
    return splits


def _same_texts(ingested: Artifact, queries: pa.Table) -> int:
    """Count the queries that have the id and the text of a document, as in ArguAna and Quora."""
    import pyarrow.compute as pc

    doc_ids = known_docs(ingested, queries["query_id"])
    texts = doc_texts([ingested], doc_ids.to_pylist())
    both = queries.filter(pc.is_in(queries["query_id"], value_set=doc_ids.combine_chunks()))
    pairs = zip(both["query_id"].to_pylist(), both["text"].to_pylist(), strict=True)
    return sum(texts[query_id].endswith(text.strip()) for query_id, text in pairs)


def _count_unknown(draft: Draft, ingested: Artifact, doc_ids: pa.ChunkedArray) -> None:
    import pyarrow.compute as pc

    known = known_docs(ingested, pc.unique(doc_ids))
    unknown = doc_ids.filter(pc.invert(pc.is_in(doc_ids, value_set=known.combine_chunks())))
    draft.count(judgments_of_unknown_docs=len(unknown))
    if len(unknown) > _MAX_UNKNOWN * len(doc_ids):
        raise DataError(
            f"{len(unknown):,} of {len(doc_ids):,} judgments name documents that the corpus lacks "
            f"(such as {unknown[0].as_py()!r}); do the qrels belong to this corpus?"
        )
