"""Sum up what a run cost: the seconds of every artifact that it needed, by stage and by model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.components import name_of
from gradret.errors import StorageError
from gradret.store.artifacts import Artifact, opened

if TYPE_CHECKING:
    from gradret.config.run import Config

__all__ = ["NO_MODEL", "Cost", "StageCost", "cost", "model_names"]

NO_MODEL = "no model"
_PACKAGE = "package:"


@dataclass(frozen=True)
class StageCost:
    """The seconds of the artifacts of a name and model."""

    name: str
    """The run's name of the artifact, or its stage if another artifact needed it."""
    model: str
    artifacts: int
    rows: int | None
    """Input rows, if they were counted."""
    seconds: float


@dataclass(frozen=True)
class Cost:
    """All artifacts of a run, each counted once, in the order in which their stages were first needed."""

    stages: list[StageCost]

    @property
    def seconds(self) -> float:
        """Seconds of all artifacts together."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def by_model(self) -> dict[str, float]:
        """Seconds by model, most first."""
        sums: dict[str, float] = {}
        for stage in self.stages:
            sums[stage.model] = sums.get(stage.model, 0.0) + stage.seconds
        return dict(sorted(sums.items(), key=lambda item: -item[1]))


def cost(config: Config, artifacts: Mapping[str, Artifact]) -> Cost:
    """Sum up the artifacts of a run and those that they were made from."""
    models = _Models(config, artifacts)
    groups: dict[tuple[str, str], list[Artifact]] = {}
    for name, artifact in _needed(artifacts):
        groups.setdefault((name, models.of(name, artifact)), []).append(artifact)
    return Cost([_stage(name, model, made) for (name, model), made in groups.items()])


def _stage(name: str, model: str, made: Sequence[Artifact]) -> StageCost:
    rows = [artifact.counts["rows_in"] for artifact in made if "rows_in" in artifact.counts]
    seconds = sum(artifact.manifest["seconds"] for artifact in made)
    return StageCost(name, model, len(made), sum(rows) if rows else None, seconds)


def _needed(artifacts: Mapping[str, Artifact]) -> Iterator[tuple[str, Artifact]]:
    """Every artifact behind the run, inputs first; one that is no longer in the storage is left out."""
    names = {f"{artifact.stage}/{artifact.fingerprint}": name for name, artifact in reversed(list(artifacts.items()))}
    by_name = {reference: artifacts[name] for reference, name in names.items()}
    seen: set[str] = set()

    def _visit(reference: str) -> Iterator[tuple[str, Artifact]]:
        if reference in seen:
            return
        seen.add(reference)
        artifact = by_name.get(reference) or _opened(folder / reference)
        if artifact:
            for needed in artifact.manifest["inputs"].values():
                yield from _visit(needed)
            yield names.get(reference, artifact.stage), artifact

    for artifact in artifacts.values():
        folder = artifact.path.parents[1]
        yield from _visit(f"{artifact.stage}/{artifact.fingerprint}")


def _opened(path: Path) -> Artifact | None:
    try:
        return opened(path)
    except StorageError:
        return None


class _Models:
    """Names the model that works in a stage."""

    def __init__(self, config: Config, artifacts: Mapping[str, Artifact]) -> None:
        teacher = f"teacher: {_named(config.label.teacher)}"
        student = f"student: {_named(config.train.encoder)}"
        self.by_stage = {"label": teacher, "rerank": teacher, "check": teacher, "train": student}
        if config.generate.generator is not None and model_names(config.generate.generator):
            self.by_stage["generate"] = f"generator: {_named(config.generate.generator)}"
        self.by_reference = {
            f"{artifacts[name].stage}/{artifacts[name].fingerprint}": student
            for name in ("base", "train")
            if name in artifacts
        }
        self.teacher = teacher

    def of(self, name: str, artifact: Artifact) -> str:
        if artifact.stage in self.by_stage:
            return self.by_stage[artifact.stage]
        if name == "search.teacher":
            return self.teacher
        reference = f"{artifact.stage}/{artifact.fingerprint}"
        model = reference if artifact.stage == "base" else artifact.manifest["inputs"].get("model")
        if model is None:
            return NO_MODEL
        return self.by_reference.get(model, self.teacher)


def _named(component: object) -> str:
    if component is None:
        return "none"
    models = model_names(component)
    return f"{name_of(component)} ({', '.join(models)})" if models else name_of(component)


def model_names(component: object) -> list[str]:
    """The models that a component and its parts are configured with, each by the last part of its path."""
    if isinstance(component, (list, tuple)):
        return [name for each in component for name in model_names(each)]
    if not is_dataclass(component):
        return []
    values = {field.name: getattr(component, field.name) for field in fields(component)}
    names = [Path(str(values["model"])).name.removeprefix(_PACKAGE)] if values.get("model") else []
    return names + [name for value in values.values() for name in model_names(value)]
