"""The flow as a graph: each stage is an attribute, made the first time it is asked for."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.errors import DataError
from gradret.progress import say
from gradret.report import run as report
from gradret.report.folder import results_folder
from gradret.stages import (
    base,
    check,
    dedupe,
    evaluate,
    generate,
    index,
    ingest,
    label,
    leaks,
    mine,
    queries,
    rerank,
    search,
    select,
    train,
)
from gradret.stages.verdict import require, sentence
from gradret.store.artifacts import Artifact

if TYPE_CHECKING:
    from gradret.config.run import Config

__all__ = ["Flow"]


class Flow:
    """All stages of a config. ``Flow(config).label`` makes the labels and what they need, no more."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.made: dict[str, Artifact] = {}

    @cached_property
    def ingest(self) -> Artifact:
        return self._keep("ingest", ingest.ingest(self.config))

    @cached_property
    def queries(self) -> Artifact:
        return self._keep("queries", queries.queries(self.config, self.ingest))

    @cached_property
    def dedupe(self) -> Artifact:
        return self._keep("dedupe", dedupe.dedupe(self.config, self.ingest))

    @cached_property
    def generate(self) -> Artifact:
        return self._keep("generate", generate.generate(self.config, self.ingest, self.dedupe))

    @cached_property
    def leaks(self) -> Artifact:
        try:
            human = self.queries
        except DataError as error:
            # A corpus without judged queries can be trained on; what needs them says so itself.
            say(f"  leaks: not looked for: {error}")
            human = None
        return self._keep("leaks", leaks.leaks(self.config, self.generate, human))

    @cached_property
    def mine(self) -> Artifact:
        return self._keep("mine", mine.mine(self.config, self.ingest, self.generate, self.leaks))

    @cached_property
    def check(self) -> Artifact:
        return self._keep("check", check.check(self.config, self.ingest, self.generate))

    @cached_property
    def label(self) -> Artifact:
        require(self.config, self.check)
        say(f"  check: {sentence(self.check)}")
        return self._keep("label", label.label(self.config, self.ingest, self.generate, self.mine))

    @cached_property
    def select(self) -> Artifact:
        labels = self.label  # before mine: it may stop the run
        groups = select.select(self.config, self.dedupe, self.generate, self.mine, labels)
        return self._keep("select", groups)

    @cached_property
    def base(self) -> Artifact:
        return self._keep("base", base.base(self.config, self.ingest))

    @cached_property
    def train(self) -> Artifact:
        tuned = train.train(self.config, self.base, self.ingest, self.generate, self.select)
        return self._keep("train", tuned)

    @cached_property
    def index(self) -> dict[str, Artifact]:
        models = {"base": self.base, "tuned": self.train}
        return {
            system: self._keep(f"index.{system}", index.index(self.config, model, self.ingest))
            for system, model in models.items()
        }

    @cached_property
    def search(self) -> dict[str, Artifact]:
        runs = {"bm25": search.search_bm25(self.config, self.ingest, self.queries)}
        runs |= {system: self._searched(system, built) for system, built in self.index.items()}
        teacher = self.config.label.teacher
        if teacher.searches:
            runs["teacher"] = search.search_teacher(self.config, self.ingest, self.queries)
        elif teacher.reranks and not teacher.asks_llm:
            runs["teacher"] = rerank.rerank(self.config, self.ingest, self.queries, runs)
        return {system: self._keep(f"search.{system}", run) for system, run in runs.items()}

    @cached_property
    def evaluate(self) -> dict[str, Artifact]:
        return {
            system: self._keep(f"evaluate.{system}", evaluate.evaluate(self.config, self.queries, run))
            for system, run in self.search.items()
        }

    @cached_property
    def report(self) -> Path:
        results_folder(self.config, "runs")  # refuses another config's folder before any work
        # Queries first, so that judgments that cannot be used end the run before its long part.
        evaluate.check_judgments(self.config, self.queries)
        self.make("evaluate")
        return report.report(self.config, self.made)

    def make(self, *stages: str) -> None:
        """Make these stages and what they need, in this order."""
        for stage in stages:
            getattr(self, stage)

    def evaluated(self, system: str) -> Artifact:
        """METRICS of one system, ``bm25``, ``base`` or ``tuned``, and of no other."""
        if system == "bm25":
            run = search.search_bm25(self.config, self.ingest, self.queries)
        else:
            model = self.train if system == "tuned" else self.base
            run = self._searched(system, index.index(self.config, model, self.ingest))
        return evaluate.evaluate(self.config, self.queries, run)

    def _searched(self, system: str, built: Artifact) -> Artifact:
        return search.search(self.config, self.train if system == "tuned" else self.base, built, self.queries)

    def _keep(self, name: str, artifact: Artifact) -> Artifact:
        self.made[name] = artifact
        return artifact
