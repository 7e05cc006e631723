"""Documents that people judged relevant for a training query."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradret.progress import say
from gradret.retrievers import Ranked, Retriever, ranked
from gradret.stages.cut import to_passages
from gradret.stages.ingest import known_docs
from gradret.stages.training_queries import any_training_queries
from gradret.store.artifacts import Artifact, Draft, make

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.config.run import Config

__all__ = ["Positives"]


@dataclass(frozen=True)
class Positives(Retriever):
    """Documents judged relevant for the query in the dataset's split ``train``, highest grade first.

    Never uses judgments of the evaluated split, and skips queries that have any there. Returns nothing for
    generated queries, or if the dataset has no training queries. Judgments of documents that are not in the
    corpus are skipped and counted. If documents are cut, these are all passages of a document, of which ``select``
    keeps the one that the teacher scores best.
    """

    min_relevance: int = 1
    """The lowest grade that counts as relevant."""

    def max_documents(self, config: Config, ingested: Artifact) -> int:
        prepared = self.prepare(config, ingested, ingested)
        if not prepared:
            return 0
        judged = prepared["qrels"].table("qrels", ["query_id"])["query_id"]
        return max(judged.value_counts().field("counts").to_pylist(), default=0)

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        judged = any_training_queries(config)
        if judged is None:
            say("  positives: none, since the dataset has no training queries")
            return {}
        inputs = {"docs": ingested, "judged": judged}
        body = functools.partial(_positives, inputs, self.min_relevance, cut=config.passages.size > 0)
        settings = {"min_relevance": self.min_relevance}
        storage = config.storage_path
        return {"qrels": make("positives", storage, module=__name__, settings=settings, inputs=inputs, body=body)}

    def load(self, prepared: dict[str, Artifact], seed: int) -> _JudgmentLookup:
        from gradret.store.contracts import schema

        return _JudgmentLookup(prepared["qrels"].table("qrels") if prepared else schema("qrels").empty_table())


def _positives(inputs: dict[str, Artifact], min_relevance: int, draft: Draft, *, cut: bool) -> None:
    import pyarrow.compute as pc

    rows = inputs["judged"].table("qrels")
    rows = rows.filter(pc.greater_equal(rows["relevance"], min_relevance))
    judged = pc.unique(rows["doc_id"])
    docs = inputs["docs"].table("lengths")["doc_id"] if cut else known_docs(inputs["docs"], judged)
    known = rows.filter(pc.is_in(rows["doc_id"], value_set=docs.combine_chunks()))
    draft.write("qrels", to_passages(inputs["docs"], known) if cut else known)
    draft.count(positives=known.num_rows, judgments_of_unknown_docs=rows.num_rows - known.num_rows)


class _JudgmentLookup:
    """Looks up a query's judgments, all in memory as an Arrow table."""

    def __init__(self, qrels: pa.Table) -> None:
        self.qrels = qrels

    def __call__(self, queries: Sequence[dict[str, Any]]) -> list[Ranked]:
        import pyarrow as pa
        import pyarrow.compute as pc

        judged: dict[str, list[tuple[int, str]]] = {
            query["query_id"]: [] for query in queries if query["generator"] == "human"
        }
        rows = self.qrels.filter(pc.is_in(self.qrels["query_id"], value_set=pa.array(judged, pa.string())))
        for row in rows.to_pylist():
            judged[row["query_id"]].append((-row["relevance"], row["doc_id"]))
        return [ranked(doc_id for _, doc_id in sorted(judged.get(query["query_id"], []))) for query in queries]
