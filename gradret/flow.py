"""Define the flow as a graph: each stage is an attribute, computed on first access."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gradret.components import name_of
from gradret.errors import DataError
from gradret.numbered import numbered
from gradret.progress import say
from gradret.report import run as report
from gradret.report.folder import results_folder
from gradret.stages import (
    base,
    check,
    cut,
    dedupe,
    evaluate,
    generate,
    held_out,
    hybrid,
    index,
    ingest,
    label,
    leaks,
    max_passage,
    mine,
    queries,
    rerank,
    search,
    select,
    smaller,
    train,
    train_teacher,
)
from gradret.stages.verdict import orders_sentence, require, require_signal, sentence, signal_sentence
from gradret.store.artifacts import Artifact
from gradret.training.trackers import require_trackers
from gradret.urls import shown
from gradret.work.signals import raise_missed

if TYPE_CHECKING:
    from gradret.config.run import Config

__all__ = ["Flow"]

_T = TypeVar("_T")
_Compute = Callable[["Flow"], _T]

_NEEDS: dict[str, tuple[str, ...]] = {"_human": ("queries",)}
"""What each step of the flow needs, in the order in which it is computed."""
_STAGES: set[str] = set()
"""The steps that are stages, and numbered."""


def _step(*needs: str) -> Callable[[_Compute[_T]], cached_property[_T]]:
    """A step of the flow: an attribute that is computed once, after what it needs."""

    def decorate(compute: _Compute[_T]) -> cached_property[_T]:
        _NEEDS[compute.__name__] = needs

        @functools.wraps(compute)
        def after_needs(flow: Flow) -> _T:
            return flow.after_needs(compute)

        return cached_property(after_needs)

    return decorate


def _stage(*needs: str) -> Callable[[_Compute[_T]], cached_property[_T]]:
    """A step that is numbered among the stages of the run."""

    def decorate(compute: _Compute[_T]) -> cached_property[_T]:
        _STAGES.add(compute.__name__)
        return _step(*needs)(compute)

    return decorate


class Flow:
    """All stages of a config. ``Flow(config).label`` only computes the labels and the stages before them."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.artifacts: dict[str, Artifact] = {}
        self._order: list[str] = []

    @_stage()
    def ingest(self) -> Artifact:
        return self._record("ingest", ingest.ingest(self.config))

    @cached_property
    def cut(self) -> Artifact:
        """DOCS of all later stages: passages, or the documents themselves if they are not cut."""
        docs = cut.cut(self.config, self.ingest)
        return docs if docs is self.ingest else self._record("cut", docs)

    @_stage()
    def queries(self) -> Artifact:
        if self.has_queries:
            return self._record("queries", queries.queries(self.config, self.ingest))
        return self._record("queries", held_out.held_out(self.config, self.dedupe, self.generate))

    @_stage("ingest")
    def dedupe(self) -> Artifact:
        return self._record("dedupe", dedupe.dedupe(self.config, self.cut))

    @_stage("ingest", "dedupe")
    def generate(self) -> Artifact:
        return self._record("generate", generate.generate(self.config, self.cut, self.dedupe))

    @cached_property
    def _human(self) -> Artifact | None:
        try:
            return self.queries
        except DataError as error:
            # A corpus without judged queries can be trained on; stages that need them raise their own error.
            say(f"  leaks: skipped: {error}", "warning")
            return None

    @_stage("generate", "_human")
    def leaks(self) -> Artifact:
        return self._record("leaks", leaks.leaks(self.config, self.generate, self._human))

    @_stage("ingest", "generate", "leaks")
    def mine(self) -> Artifact:
        return self._record("mine", mine.mine(self.config, self.cut, self.generate, self.leaks))

    @_stage("ingest", "generate")
    def check(self) -> Artifact:
        return self._record("check", check.check(self.config, self.cut, self.generate))

    @_step("check")
    def _verdict(self) -> None:
        """Stop before labels are paid for if the teacher is no better than the student."""
        require(self.config, self.check)
        for told in (sentence(self.check), orders_sentence(self.check, name_of(self.config.label.teacher))):
            _say_verdict("check", told)

    @_stage("_verdict", "mine")
    def label(self) -> Artifact:
        return self._record("label", label.label(self.config, self.cut, self.generate, self.mine))

    @_step("label")
    def _signal(self) -> None:
        """Stop before training if the labels do not tell documents apart."""
        for sentence_of in (signal_sentence, orders_sentence):
            _say_verdict("label", sentence_of(self.label, name_of(self.config.label.teacher)))
        require_signal(self.config, self.label)

    @_stage("_signal")
    def select(self) -> Artifact:
        groups = select.select(self.config, self.dedupe, self.generate, self.mine, self.label, docs=self.cut)
        return self._record("select", groups)

    @_step()
    def _base_teacher(self) -> Artifact:
        """What the trained teacher starts from, which also rejects one that cannot be trained before any work."""
        return train_teacher.base_teacher(self.config)

    @_stage("_base_teacher", "select")
    def train_teacher(self) -> Artifact:
        """A teacher trained on the lists, for other runs; no stage of this run reads it."""
        trained = train_teacher.train_teacher(self.config, self.cut, self.generate, self.select)
        for line in train_teacher.sentences(self.config, trained):
            say(f"  train_teacher: {line}")
        return self._record("train_teacher", trained)

    @_stage("ingest")
    def base(self) -> Artifact:
        return self._record("base", base.base(self.config, self.cut))

    @_stage("_trackers", "base", "select")
    def train(self) -> Artifact:
        tuned = train.train(self.config, self.base, self.cut, self.generate, self.select)
        return self._record("train", tuned)

    @_stage("base", "train")
    def index(self) -> dict[str, Artifact]:
        models, size = {"base": self.base, "tuned": self.train}, self.config.search.size
        return {
            system: self._record(f"index.{system}", index.index(self.config, model, self.cut, size))
            for system, model in models.items()
        }

    @_stage("queries", "index")
    def search(self) -> dict[str, Artifact]:
        config = cut.deep(self.config, self.cut)
        found = {"bm25": search.search_bm25(config, self.cut, self.queries)}
        found |= {system: self._search(system, built) for system, built in self.index.items()}
        teacher = self.config.label.teacher
        if teacher.searches:
            found["teacher"] = search.search_teacher(config, self.cut, self.queries)
        elif teacher.reranks and not teacher.asks_llm:
            found["teacher"] = rerank.rerank(self.config, self.cut, self.queries, found)
        runs = {system: max_passage.max_passage(self.config, run, system=system) for system, run in found.items()}
        if "tuned" in runs and self.config.search.hybrid != "none":
            runs["hybrid"] = hybrid.hybrid(self.config, {name: runs[name] for name in ("tuned", "bm25")})
        return {system: self._record(f"search.{system}", run) for system, run in runs.items()}

    @_stage("queries", "search")
    def evaluate(self) -> dict[str, Artifact]:
        return {
            system: self._record(f"evaluate.{system}", evaluate.evaluate(self.config, self.queries, run, system))
            for system, run in self.search.items()
        }

    @_step("queries", "train", "evaluate")
    def _smaller(self) -> Artifact | None:
        """Compare the sizes of ``search.smaller``, if there are any."""
        if not self.config.search.smaller:
            return None
        return self._record("smaller", smaller.smaller(self.config, self.train, self.ingest, self.queries))

    @_step()
    def _start(self) -> None:
        """Reject the folder of another config, and a model that is missing, before any work."""
        results_folder(self.config, "runs")
        if self.config.train.encoder:
            self.config.train.encoder.check()

    @_step()
    def _trackers(self) -> None:
        """Reject a tracker that is not installed, before any work."""
        require_trackers(self.config.train.resources.trackers)

    @_step("queries")
    def _judgments(self) -> None:
        """Check judgments early, so that unusable ones stop the run before the expensive stages."""
        evaluate.check_judgments(self.config, self.queries)

    @_stage("_start", "_trackers", "_judgments", "evaluate", "_smaller")
    def report(self) -> Path:
        return report.report(self.config, self.artifacts)

    def make(self, *stages: str) -> None:
        """Compute these stages and those they need, in this order."""
        self._order = self._ordered(stages)
        for stage in stages:
            getattr(self, stage)

    def after_needs(self, compute: _Compute[_T]) -> _T:
        """Compute a step after what it needs; if it is a stage, under its number."""
        raise_missed()
        name = compute.__name__
        if name not in self._order:
            self._order = self._ordered([name])
        for need in self._needs(name):
            getattr(self, need)
        if name not in _STAGES:
            return compute(self)
        stages = [step for step in self._order if step in _STAGES]
        with numbered(name, stages.index(name) + 1, len(stages)) as stage:
            output = compute(self)
            made = output if isinstance(output, dict) else {name: output}
            artifacts = {system: each for system, each in made.items() if isinstance(each, Artifact)}
            counts = next((each.counts for each in reversed(artifacts.values())), {})
            paths = {system: shown(Path(str(getattr(each, "path", each)))) for system, each in made.items()}
            stage.end(counts, paths, {each.stage for each in artifacts.values()})
        return output

    def _ordered(self, steps: Iterable[str]) -> list[str]:
        """The steps and all that they need, each after what it needs."""
        order: dict[str, None] = {}
        for step in steps:
            order |= dict.fromkeys([*self._ordered(self._needs(step)), step])
        return list(order)

    def _needs(self, step: str) -> tuple[str, ...]:
        if step == "queries":  # of a corpus without queries, generated ones are held out
            return ("ingest",) if self.has_queries else ("dedupe", "generate")
        return _NEEDS[step]

    @property
    def has_queries(self) -> bool:
        """Whether the dataset has queries to evaluate on; else generated ones are held out."""
        try:
            return bool(self.config.dataset.parts("queries"))
        except DataError:  # the stage tells
            return True

    def evaluated(self, system: str) -> Artifact:
        """Return METRICS of one system, ``bm25``, ``base`` or ``tuned``, without computing the others."""
        if system == "bm25":
            run = search.search_bm25(cut.deep(self.config, self.cut), self.cut, self.queries)
        else:
            model = self.train if system == "tuned" else self.base
            run = self._search(system, index.index(self.config, model, self.cut, self.config.search.size))
        return evaluate.evaluate(self.config, self.queries, max_passage.max_passage(self.config, run), system)

    def _search(self, system: str, built: Artifact) -> Artifact:
        """RUN of a model's index; of passages, if documents are cut."""
        config = cut.deep(self.config, self.cut)
        return search.search(config, self.train if system == "tuned" else self.base, built, self.queries)

    def _record(self, name: str, artifact: Artifact) -> Artifact:
        self.artifacts[name] = artifact
        return artifact


def _say_verdict(stage: str, text: str) -> None:
    if not text:
        return
    say(f"  {stage}: {text}", "warning" if text.startswith("WARNING") else "info")
