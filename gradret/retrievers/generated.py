"""Documents that an LLM wrote for the query."""

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
    """The documents that ``graded_documents`` wrote for the query, best grade first."""

    def max_documents(self, config: Config, ingested: Artifact) -> int:
        return int(config.generate.generator.documents_per_query)

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        return {"generated": with_grades(queries, "mine.retrievers")}

    def load(self, prepared: dict[str, Artifact], seed: int) -> Retrieve:
        return _ByGrade(GeneratedGrades(prepared["generated"]))


class _ByGrade:
    def __init__(self, grades: GeneratedGrades) -> None:
        self.grades = grades

    def __call__(self, queries: Sequence[dict[str, Any]]) -> list[Ranked]:
        by_query = self.grades.of(query["query_id"] for query in queries)
        return [ranked(sorted(grades, key=lambda doc_id: (-grades[doc_id], doc_id))) for grades in by_query]


def with_grades(generated: Artifact, key: str) -> Artifact:
    """Return ``generated`` if it has graded documents.

    Raises:
        ConfigError: it has none; the message starts with the config's ``key`` that needs them.
    """
    if not generated.shards("labels"):
        raise ConfigError(
            f"{key}: generated needs documents that an LLM wrote for the queries, but {generated.path} has none; "
            "set generate.generator to graded_documents"
        )
    return generated


class GeneratedGrades:
    """The grades of generated documents, all in memory as an Arrow table."""

    def __init__(self, generated: Artifact) -> None:
        self.labels = generated.table("labels", ["query_id", "doc_id", "score"])

    def of(self, query_ids: Iterable[str]) -> list[dict[str, float]]:
        """Return each query's documents with their grades."""
        import pyarrow as pa
        import pyarrow.compute as pc

        grades: dict[str, dict[str, float]] = {query_id: {} for query_id in query_ids}
        rows = self.labels.filter(pc.is_in(self.labels["query_id"], value_set=pa.array(list(grades), pa.string())))
        for query_id, doc_id, score in zip(*(column.to_pylist() for column in rows.columns), strict=True):
            grades[query_id][doc_id] = score
        return list(grades.values())
