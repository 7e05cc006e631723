"""Settings of ``gradret compare`` and ``gradret tune``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from gradret.config.fields import at_least, list_of, require
from gradret.config.resources import CompareResources
from gradret.config.written import Setting

__all__ = ["SEARCHABLE", "Compare", "Dimension", "Tune"]


@dataclass(frozen=True)
class Compare:
    """Recipes that ``gradret compare`` compares."""

    recipes: dict[str, list[str]] = field(default_factory=dict)
    """Overrides of each recipe, by its name: ``key=value``, as on the command line."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each recipe runs once with each seed."""
    vary: Literal["train.seed", "seed"] = "train.seed"
    """The key that the seeds set: ``train.seed`` varies training on the same lists, ``seed`` the whole run."""
    resources: CompareResources = CompareResources()

    def __post_init__(self) -> None:
        differ = bool(self.seeds) and len(set(self.seeds)) == len(self.seeds)
        require(seeds="" if differ else f"must be one or more distinct numbers, got {list(self.seeds)}")


@dataclass(frozen=True)
class Dimension:
    """A dimension of the search space: a config key with a list of ``values``, or a range from ``low`` to ``high``."""

    key: str
    """A key such as ``train.learning_rate`` or ``train.loss[1].weight``."""
    values: tuple[Setting, ...] = ()
    """Values as on the command line, after ``key=``."""
    low: float | None = None
    high: float | None = None
    log: bool = False
    """Sample uniformly on a log scale."""
    whole: bool = False
    """Sample whole numbers only."""

    def __post_init__(self) -> None:
        between = self.low is not None and self.high is not None
        block = re.split(r"[.\[]", self.key)[0]
        require(
            key=""
            if block in SEARCHABLE
            else f"must be a key of {', '.join(SEARCHABLE[:-1])} or {SEARCHABLE[-1]}, got {self.key!r}",
            values="" if bool(self.values) != between else "set either values, or low and high",
            high="" if not between or (self.low or 0) < (self.high or 0) else f"must be above low={self.low}",
            log="" if not self.log or (self.low or 0) > 0 else f"requires low above 0, got {self.low}",
        )


SEARCHABLE = ("dedupe", "generate", "mine", "label", "select", "train")
"""Stages whose keys may be searched, in the order of the flow."""


@dataclass(frozen=True)
class Tune:
    """The search of ``gradret tune``."""

    space: Any = list_of(Dimension)
    """The keys to search, each with its values."""
    trials: int = 20
    """Number of configs to try."""
    hours: float = 0.0
    """Start no trial after this many hours; 0 sets no limit."""
    search: Literal["optuna", "random"] = "optuna"
    """``optuna`` samples near good trials (TPE)."""
    stop_early: bool = True
    """Stop trials that are worse than others after the same number of epochs (ASHA), if all keys are of training."""
    confirm: int = 3
    """Number of best trials to train again with each of ``seeds`` and to measure over the whole corpus; the trial with
    the best mean wins."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the trainings that confirm the best trials."""
    resources: CompareResources = CompareResources()

    def __post_init__(self) -> None:
        require(
            trials=at_least(1, self.trials),
            hours=at_least(0, self.hours),
            confirm=at_least(1, self.confirm),
            seeds="" if self.seeds else "must be one or more numbers",
        )
