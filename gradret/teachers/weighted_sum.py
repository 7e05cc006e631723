"""The weighted sum of several teachers' scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gradret.components import name_of
from gradret.config.fields import component
from gradret.errors import ConfigError
from gradret.teachers import Grader, Teacher

if TYPE_CHECKING:
    import numpy as np

    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["WeightedSum"]


@dataclass(frozen=True)
class WeightedSum(Teacher):
    """``sum_i w_i * s_i``: s_i is the raw score of teacher i, which must be able to score any pair.

    Scores are added as they are, so a weight also makes up for their scale: those of ``fusion`` have a standard
    deviation near 1 over the corpus, and those of a cross-encoder are logits. ``gradret train-teacher`` prints the
    weight that is best on its held-out lists.

    Source: Bartell et al. 1994 combine systems linearly; the rest is gradret's.
    """

    teachers: Any = component("teachers", many=True)
    """The teachers."""
    weights: tuple[float, ...] = ()
    """The weight of each; empty weighs all 1."""

    reranks: ClassVar[bool] = True
    threaded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        teachers = self.teachers or ()
        if bad := next((name_of(each) for each in teachers if each.asks_llm or not each.reranks), ""):
            raise ConfigError.of([f"teachers: {bad} cannot be summed: it does not score any pair by itself"])
        if teachers and len(self.weights) not in (0, len(teachers)):
            raise ConfigError.of(
                [f"weights: expected one for each of the {len(teachers)} teachers, got {self.weights}"]
            )

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        """The artifacts of all teachers, each by the teacher's number; DOCS, which they share, once."""
        made = [each.prepare(config, ingested, queries) for each in self.teachers]
        own = {f"{n}.{key}": one for n, part in enumerate(made) for key, one in part.items() if one != ingested}
        return {"docs": ingested} | own

    def load(self, prepared: dict[str, Artifact]) -> Grader:
        graders = []
        for number, teacher in enumerate(self.teachers):
            start = f"{number}."
            own = {key.removeprefix(start): one for key, one in prepared.items() if key.startswith(start)}
            graders.append(teacher.load({"docs": prepared["docs"]} | own))
        return _Sum(graders, self.weights or (1.0,) * len(graders))


class _Sum:
    def __init__(self, graders: Sequence[Grader], weights: Sequence[float]) -> None:
        self.graders, self.weights = graders, weights

    def score(self, queries: Sequence[dict[str, Any]], doc_ids: Sequence[Sequence[str]]) -> list[np.ndarray]:
        import numpy as np

        totals = [np.zeros(len(ids)) for ids in doc_ids]
        for weight, grader in zip(self.weights, self.graders, strict=True):
            for total, scores in zip(totals, grader.score(queries, doc_ids), strict=True):
                np.add(total, weight * scores, out=total)
        return [total.astype(np.float32) for total in totals]
