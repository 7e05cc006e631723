"""Read a dataset's human queries and judgments into QUERIES and QRELS.

They are an artifact of their own, so that nothing before ``search`` depends on a test judgment.
Judgments of documents that the corpus lacks are kept and counted: trec_eval counts them as
relevant documents that were not found, and so do published numbers.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from gradret.artifacts import Artifact, Draft, make
from gradret.datasets import Row, reading
from gradret.errors import DataError
from gradret.stages._map import Quarantined, quarantine_table
from gradret.stages.ingest import known_docs, read_part, refuse_mostly_bad

if TYPE_CHECKING:
    from gradret.config import Config

__all__ = ["judged", "queries", "read_rows", "unique_texts"]

_MAX_UNKNOWN = 0.5

Placed = list[tuple[str, Row]]
"""Rows, each with its ``file:line``."""


def queries(config: Config, ingested: Artifact) -> Artifact:
    """QUERIES and QRELS of the dataset, the queries of ``dataset.split`` marked ``test``.

    Raises:
        DataError: a file is missing, a query_id occurs twice, no query of the split is judged, or
            most judgments name documents that the corpus lacks.
    """
    settings = {
        "dataset": reading(config.dataset),
        "split": config.dataset.split,
        "content": [config.dataset.content("queries"), config.dataset.content("qrels")],
        "max_bad_share": config.ingest.max_bad_share,
    }
    body = functools.partial(_queries, config, ingested)
    return make(
        "queries", config.storage_path, module=__name__, settings=settings, inputs={"docs": ingested}, body=body
    )


def _queries(config: Config, ingested: Artifact, draft: Draft) -> None:
    import pyarrow as pa

    from gradret.contracts import schema

    split = config.dataset.split
    rows, bad_queries = read_rows(config, "queries")
    placed, bad_judgments = read_rows(config, "qrels")
    texts = unique_texts(rows)
    placed = [(where, row) for where, row in placed if row["split"] in {split, "train", "dev"}]
    judgments, more_bad = _usable(placed, texts, split)
    bad = [*bad_queries, *bad_judgments, *more_bad]
    if bad:
        draft.write("quarantine", quarantine_table("queries", bad))
    for row in bad:
        draft.quarantined[row.reason] = draft.quarantined.get(row.reason, 0) + 1
    total = len(rows) + len(judgments) + len(bad)
    draft.count(rows_in=total, queries=len(rows), judgments=len(judgments), quarantined=len(bad))
    if not texts and not bad_queries:
        places = dict.fromkeys(part.path for part in config.dataset.parts("queries"))
        raise DataError(f"{', '.join(places)}: holds no queries")
    refuse_mostly_bad(draft, "queries and qrels", config.ingest.max_bad_share)

    splits = {row["query_id"]: row["split"] for row in judgments if row["split"] != "test"}
    splits |= {row["query_id"]: "test" for row in judgments if row["split"] == "test"}
    _refuse_none(config, splits)
    _count_unknown(draft, ingested, judgments)
    draft.count(test_queries=sum(split == "test" for split in splits.values()))
    table = [
        {"query_id": query_id, "text": text, "split": splits.get(query_id), "generator": "human"}
        for query_id, text in sorted(texts.items())
    ]
    draft.write("queries", pa.Table.from_pylist(table, schema("queries")))
    draft.write("qrels", pa.Table.from_pylist(judgments, schema("qrels")))


def read_rows(config: Config, table: str) -> tuple[Placed, list[Quarantined]]:
    """Good rows of ``queries`` or ``qrels``, each with its ``file:line``, and quarantined ones."""
    rows: Placed = []
    bad: list[Quarantined] = []
    for part in config.dataset.parts(table):
        good, worse = read_part(config.dataset, table, part)
        rows += good
        bad += worse
    return rows, bad


def judged(config: Config, split: str) -> dict[tuple[str, str], Row]:
    """Judgments of another split than the evaluated one, by query_id and doc_id.

    Queries that are judged in the evaluated split too are left out. Of two judgments of a pair the first counts.
    """
    rows = [row for _, row in read_rows(config, "qrels")[0]]
    evaluated = {row["query_id"] for row in rows if row["split"] == config.dataset.split}
    found: dict[tuple[str, str], Row] = {}
    for row in rows:
        if row["split"] == split and row["query_id"] not in evaluated:
            found.setdefault((row["query_id"], row["doc_id"]), row)
    return found


def unique_texts(rows: Placed) -> dict[str, str]:
    """The queries' texts by query_id.

    Raises:
        DataError: a query_id occurs twice; names both places.
    """
    places: dict[str, str] = {}
    for where, row in rows:
        first = places.setdefault(row["query_id"], where)
        if first != where:
            raise DataError(f"query_id {row['query_id']!r} occurs twice: {first}, {where}; ids must be unique")
    return {row["query_id"]: row["text"] for _, row in rows}


def _usable(judgments: Placed, texts: dict[str, str], split: str) -> tuple[list[Row], list[Quarantined]]:
    """Judgments of known queries, once each, with the evaluated split named ``test``."""
    good, bad, seen = [], [], set()
    for where, row in judgments:
        key = (row["query_id"], row["doc_id"], row["split"])
        if row["query_id"] not in texts:
            bad.append(Quarantined(where, "judgment of an unknown query", str(row)))
        elif key in seen:
            bad.append(Quarantined(where, "judged twice", str(row)))
        else:
            seen.add(key)
            good.append(row | {"split": "test" if row["split"] == split else row["split"]})
    return good, bad


def _refuse_none(config: Config, splits: dict[str, str]) -> None:
    if "test" not in splits.values():
        raise DataError(f"no query has a judgment in split {config.dataset.split!r}; set dataset.split")


def _count_unknown(draft: Draft, ingested: Artifact, judgments: list[Row]) -> None:
    import pyarrow as pa

    judged = pa.array({row["doc_id"] for row in judgments}, pa.string())
    known = set(known_docs(ingested, judged).to_pylist())
    unknown = [row["doc_id"] for row in judgments if row["doc_id"] not in known]
    draft.count(judgments_of_unknown_docs=len(unknown))
    if len(unknown) > _MAX_UNKNOWN * len(judgments):
        raise DataError(
            f"{len(unknown):,} of {len(judgments):,} judgments name documents that the corpus lacks "
            f"({unknown[0]!r}, for one); do the qrels belong to this corpus?"
        )
