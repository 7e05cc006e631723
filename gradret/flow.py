"""Define the flow as a graph: each stage is an attribute, computed on first access."""

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
    """All stages of a config. ``Flow(config).label`` only computes the labels and the stages before them."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.artifacts: dict[str, Artifact] = {}

    @cached_property
    def ingest(self) -> Artifact:
        return self._record("ingest", ingest.ingest(self.config))

    @cached_property
    def queries(self) -> Artifact:
        return self._record("queries", queries.queries(self.config, self.ingest))

    @cached_property
    def dedupe(self) -> Artifact:
        return self._record("dedupe", dedupe.dedupe(self.config, self.ingest))

    @cached_property
    def generate(self) -> Artifact:
        return self._record("generate", generate.generate(self.config, self.ingest, self.dedupe))

    @cached_property
    def leaks(self) -> Artifact:
        try:
            human = self.queries
        except DataError as error:
            # A corpus without judged queries can be trained on; stages that need them raise their own error.
            say(f"  leaks: skipped: {error}")
            human = None
        return self._record("leaks", leaks.leaks(self.config, self.generate, human))

    @cached_property
    def mine(self) -> Artifact:
        return self._record("mine", mine.mine(self.config, self.ingest, self.generate, self.leaks))

    @cached_property
    def check(self) -> Artifact:
        return self._record("check", check.check(self.config, self.ingest, self.generate))

    @cached_property
    def label(self) -> Artifact:
        require(self.config, self.check)
        say(f"  check: {sentence(self.check)}")
        return self._record("label", label.label(self.config, self.ingest, self.generate, self.mine))

    @cached_property
    def select(self) -> Artifact:
        labels = self.label  # before mine, because it may stop the run
        groups = select.select(self.config, self.dedupe, self.generate, self.mine, labels)
        return self._record("select", groups)

    @cached_property
    def base(self) -> Artifact:
        return self._record("base", base.base(self.config, self.ingest))

    @cached_property
    def train(self) -> Artifact:
        tuned = train.train(self.config, self.base, self.ingest, self.generate, self.select)
        return self._record("train", tuned)

    @cached_property
    def index(self) -> dict[str, Artifact]:
        models = {"base": self.base, "tuned": self.train}
        return {
            system: self._record(f"index.{system}", index.index(self.config, model, self.ingest))
            for system, model in models.items()
        }

    @cached_property
    def search(self) -> dict[str, Artifact]:
        runs = {"bm25": search.search_bm25(self.config, self.ingest, self.queries)}
        runs |= {system: self._search(system, built) for system, built in self.index.items()}
        teacher = self.config.label.teacher
        if teacher.searches:
            runs["teacher"] = search.search_teacher(self.config, self.ingest, self.queries)
        elif teacher.reranks and not teacher.asks_llm:
            runs["teacher"] = rerank.rerank(self.config, self.ingest, self.queries, runs)
        return {system: self._record(f"search.{system}", run) for system, run in runs.items()}

    @cached_property
    def evaluate(self) -> dict[str, Artifact]:
        return {
            system: self._record(f"evaluate.{system}", evaluate.evaluate(self.config, self.queries, run))
            for system, run in self.search.items()
        }

    @cached_property
    def report(self) -> Path:
        results_folder(self.config, "runs")  # first, to reject the folder of another config before any work
        if self.config.train.encoder:
            self.config.train.encoder.check()
        # Check judgments early, so that unusable ones stop the run before the expensive stages.
        evaluate.check_judgments(self.config, self.queries)
        self.make("evaluate")
        return report.report(self.config, self.artifacts)

    def make(self, *stages: str) -> None:
        """Compute these stages and those they need, in this order."""
        for stage in stages:
            getattr(self, stage)

    def evaluated(self, system: str) -> Artifact:
        """Return METRICS of one system, ``bm25``, ``base`` or ``tuned``, without computing the others."""
        if system == "bm25":
            run = search.search_bm25(self.config, self.ingest, self.queries)
        else:
            model = self.train if system == "tuned" else self.base
            run = self._search(system, index.index(self.config, model, self.ingest))
        return evaluate.evaluate(self.config, self.queries, run)

    def _search(self, system: str, built: Artifact) -> Artifact:
        return search.search(self.config, self.train if system == "tuned" else self.base, built, self.queries)

    def _record(self, name: str, artifact: Artifact) -> Artifact:
        self.artifacts[name] = artifact
        return artifact
