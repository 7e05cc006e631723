"""The teacher's own top documents over the whole corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gradret.components import name_of
from gradret.config.fields import component
from gradret.copies.verbatim import Originals
from gradret.draw import generator
from gradret.retrievers import Ranked, Retriever, ranked
from gradret.stages.dedupe import dedupe

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact
    from gradret.teachers import SearchGrader

__all__ = ["Teacher"]


@dataclass(frozen=True)
class Teacher(Retriever):
    """The teacher's top ``top`` documents, and ``sampled`` more drawn at random from its top ``within``."""

    searches: ClassVar[bool] = True

    teacher: Any = component("teachers", {"name": "fusion"})
    top: int = 8
    sampled: int = 11
    within: int = 60

    def __post_init__(self) -> None:
        if self.within < self.top + self.sampled:
            raise ValueError(f"within={self.within} must be at least top + sampled = {self.top + self.sampled}")
        if self.teacher and not self.teacher.searches:
            raise ValueError(
                f"teacher: {name_of(self.teacher)} cannot search a corpus; use fusion here, or another retriever"
            )

    @property
    def k(self) -> int:
        return self.top + self.sampled

    @property
    def last_rank(self) -> int:
        return self.within

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        prepared: dict[str, Artifact] = self.teacher.prepare(config, ingested, queries)
        return prepared | {"deduped": dedupe(config, ingested)}

    def load(self, prepared: dict[str, Artifact], seed: int) -> _TeacherSearch:
        return _TeacherSearch(self.teacher.load(prepared), Originals(prepared.get("deduped")), self, seed)


class _TeacherSearch:
    def __init__(self, grader: SearchGrader, originals: Originals, settings: Teacher, seed: int) -> None:
        self.grader, self.originals, self.settings, self.seed = grader, originals, settings, seed

    def __call__(self, queries: Sequence[dict[str, Any]]) -> list[Ranked]:
        results = self.grader.search(queries, self.originals.depth(self.settings.within))
        return [
            self._sample(
                query["query_id"], ranked(self.originals.first((doc_id for doc_id, _ in scored), self.settings.within))
            )
            for query, scored in zip(queries, results, strict=True)
        ]

    def _sample(self, query_id: str, documents: Ranked) -> Ranked:
        top, rest = documents[: self.settings.top], documents[self.settings.top :]
        size = min(self.settings.sampled, len(rest))
        picks = generator(self.seed, query_id).choice(len(rest), size, replace=False)
        return [*top, *(rest[pick] for pick in sorted(picks))]
