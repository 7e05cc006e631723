"""The documents that an LLM wrote for the query."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradret.errors import ConfigError
from gradret.retrievers import Ranked, Retrieve, Retriever, ranked

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["Generated", "GeneratedGrades", "with_grades"]


@dataclass(frozen=True)
class Generated(Retriever):
    """What the generator ``graded_documents`` wrote for the query, best grade first."""

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        return {"generated": with_grades(queries, "mine.retrievers")}

    def load(self, prepared: dict[str, Artifact], seed: int) -> Retrieve:
        return _Listed(GeneratedGrades(prepared["generated"]))


class _Listed:
    def __init__(self, grades: GeneratedGrades) -> None:
        self.grades = grades

    def __call__(self, queries: Sequence[dict[str, Any]]) -> list[Ranked]:
        found = self.grades.of(query["query_id"] for query in queries)
        return [ranked(sorted(docs, key=lambda doc_id: (-docs[doc_id], doc_id))) for docs in found]


def with_grades(generated: Artifact, key: str) -> Artifact:
    """``generated``, which has documents and their grades.

    Raises:
        ConfigError: it has none; names the config's ``key`` that asks for them.
    """
    if not generated.shards("labels"):
        raise ConfigError(
            f"{key}: generated takes what an LLM wrote for the queries, and {generated.path} holds no such "
            "documents; set generate.generator to graded_documents"
        )
    return generated


class GeneratedGrades:
    """The grades of generated documents. All of them are in memory, in Arrow's columns."""

    def __init__(self, generated: Artifact) -> None:
        self.labels = generated.table("labels", ["query_id", "doc_id", "score"])

    def of(self, query_ids: Iterable[str]) -> list[dict[str, float]]:
        """Each query's documents and their grades."""
        import pyarrow as pa
        import pyarrow.compute as pc

        found: dict[str, dict[str, float]] = {query_id: {} for query_id in query_ids}
        rows = self.labels.filter(pc.is_in(self.labels["query_id"], value_set=pa.array(list(found), pa.string())))
        for query_id, doc_id, score in zip(*(column.to_pylist() for column in rows.columns), strict=True):
            found[query_id][doc_id] = score
        return list(found.values())
