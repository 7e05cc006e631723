"""Use the grade that each generated document was written to have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradret.retrievers.generated import GeneratedGrades, with_grades
from gradret.teachers import Teacher

if TYPE_CHECKING:
    import numpy as np

    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["Generated"]


@dataclass(frozen=True)
class Generated(Teacher):
    """The grade that ``graded_documents`` requested for a document, 0 to levels - 1.

    No model runs. If the document was not written for the query, the pair has no grade and is quarantined.
    """

    positive_above: float | None = None
    """Documents with a higher grade are positives too; null keeps only the one with the best grade."""

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        return {"generated": with_grades(queries, "label.teacher")}

    def load(self, prepared: dict[str, Artifact]) -> _Grader:
        return _Grader(GeneratedGrades(prepared["generated"]))


class _Grader:
    def __init__(self, grades: GeneratedGrades) -> None:
        self.grades = grades

    def score(self, queries: Sequence[dict[str, Any]], doc_ids: Sequence[Sequence[str]]) -> list[np.ndarray]:
        import numpy as np

        by_query = self.grades.of(query["query_id"] for query in queries)
        return [
            np.array([grades.get(doc_id, np.nan) for doc_id in listed], np.float32)
            for grades, listed in zip(by_query, doc_ids, strict=True)
        ]
