"""The config of an evaluation: systems on a list of datasets, in one table.

A YAML file with ``datasets`` configures an evaluation, one with ``dataset`` a run. Keys of both mean the same, and
an evaluation computes the same artifacts as a run, so they are shared.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from gradret.components import unknown
from gradret.config.fields import by_name, component, folder_name, location, set_home, storage_folder
from gradret.config.loading import load_as, read_yaml
from gradret.config.run import Config, Encode, Evaluate, Index, Passages, Search
from gradret.config.train import Train
from gradret.errors import ConfigError, DataError, GradretError

__all__ = ["Evaluation", "System", "is_evaluation", "load_evaluation", "require_available", "row_of"]

_TABLES = ("docs", "queries", "qrels")
_MAX_THREADS = 4


@dataclass(frozen=True)
class System:
    """A system to evaluate; exactly one of ``model``, ``encoder``, ``run`` and ``bm25`` is set."""

    model: str = location("")
    """The folder of a finished run, ``STORAGE/runs/NAME``; or a sentence-transformers folder, ``package:NAME`` or
    hub id, used unchanged. ``{dataset}`` in it stands for the name of a dataset, ``{corpus}`` for that of its corpus,
    so that each has a model of its own."""
    version: Literal["tuned", "base"] = "tuned"
    """For a run: the trained model, or the model before training."""
    encoder: Any = component("encoders", None)
    """A model with settings that are not in its own config, such as a prompt for queries."""
    run: str = location("")
    """TREC run files of another system: a path with ``{dataset}`` or ``{corpus}``, as in ``model``."""
    bm25: bool = False
    """BM25, with the ``bm25`` retriever's default k1 and b."""

    def __post_init__(self) -> None:
        given = [name for name in ("model", "encoder", "run", "bm25") if getattr(self, name)]
        if len(given) != 1:
            got = ", ".join(given) or "none"
            raise ConfigError.of([f"encoder, model, run, bm25: exactly one is required, got {got}"])

    def on(self, dataset: str, corpus: str) -> System:
        """The system for a dataset, without placeholders."""
        model, run = (text.replace("{dataset}", dataset).replace("{corpus}", corpus) for text in (self.model, self.run))
        return replace(self, model=model, run=run)


@dataclass(frozen=True)
class Evaluation:
    """The config of an evaluation."""

    name: str
    datasets: Any = by_name("datasets")
    """The datasets, by their names in the table. Datasets named ``NAME/PART`` share one row, the mean of the parts,
    as is usual for CQADupStack."""
    corpora: dict[str, str] = field(default_factory=dict)
    """The name of a dataset's corpus, by dataset, where several datasets share one; a dataset's own name otherwise."""
    systems: Any = by_name(System)
    """The systems by name; each is compared with the first."""
    storage_path: str = location("storage")
    seed: int = 0
    passages: Passages = Passages()
    encode: Encode = Encode()
    index: Index = Index()
    search: Search = Search()
    evaluate: Evaluate = Evaluate()

    def __post_init__(self) -> None:
        set_home(self)
        problems = [f"name: {wrong}"] if (wrong := folder_name(self.name)) else []
        if problem := storage_folder(self.storage_path):
            problems.append(f"storage_path: {problem}")
        if self.seed < 0:
            problems.append(f"seed: must be at least 0, got {self.seed}")
        for key in ("datasets", "systems"):
            problems += _name_problems(key, list(getattr(self, key) or {}))
        problems += [
            f"corpora: {unknown(name, list(self.datasets or {}), 'one of datasets')}"
            for name in self.corpora
            if name not in (self.datasets or {})
        ]
        several = len(self.datasets or {}) > 1
        problems += [
            f"systems: {name}.run must contain {{dataset}} if there are several datasets, got {system.run!r}"
            for name, system in (self.systems or {}).items()
            if several and system and system.run and not re.search("{(dataset|corpus)}", system.run)
        ]
        if problems:
            raise ConfigError.of(problems)

    def system(self, name: str, dataset: str) -> System:
        """The system of this name for a dataset, without placeholders."""
        system: System = self.systems[name].on(dataset, self.corpora.get(dataset, dataset))
        return system

    def config(self, dataset: str, encoder: object = None) -> Config:
        """The run config whose stages search ``dataset`` with ``encoder``."""
        return Config(
            name=self.name,
            dataset=self.datasets[dataset],
            storage_path=self.storage_path,
            seed=self.seed,
            passages=self.passages,
            train=Train(encoder=encoder),
            encode=self.encode,
            index=self.index,
            search=self.search,
            evaluate=self.evaluate,
        )


def load_evaluation(path: str | Path, overrides: Sequence[str] = ()) -> Evaluation:
    """Read the YAML file of an evaluation and apply ``key=value`` overrides in order.

    Raises:
        ConfigError: the file cannot be read, or keys or values are wrong; names all of them.
    """
    return load_as(Evaluation, path, overrides)


def is_evaluation(path: str | Path) -> bool:
    """Whether a YAML file is the config of an evaluation.

    Raises:
        ConfigError: the file cannot be read.
    """
    return "datasets" in read_yaml(path)


def row_of(dataset: str) -> str:
    """The dataset's row in the table: the name before the slash, if any."""
    return dataset.partition("/")[0]


def require_available(evaluation: Evaluation) -> None:
    """Check before any work that all datasets and systems are available; downloads them if necessary.

    Raises:
        DataError: some are not available; names all of them.
    """
    problems: dict[str, list[str]] = {}
    with ThreadPoolExecutor(_MAX_THREADS) as pool:
        failures = dict(zip(evaluation.datasets, pool.map(_dataset_problem, evaluation.datasets.values()), strict=True))
    failures |= {name: _system_problem(evaluation, name) for name in evaluation.systems}
    for name, problem in failures.items():
        if problem:
            problems.setdefault(problem, []).append(name)
    if problems:
        lines = [f"  {', '.join(names)}: {problem}" for problem, names in problems.items()]
        raise DataError(
            "\n".join(["not available:", *lines, "to leave one out, set datasets.NAME=null or systems.NAME=null"])
        )


def _name_problems(key: str, names: list[str]) -> list[str]:
    if not names:
        example = "scifact={name: beir, path: DIR}" if key == "datasets" else "before={model: DIR}"
        return [f"{key}: must not be empty; set at least one, such as {key}.{example}"]
    parts = [part for name in names for part in (name.split("/", 1) if key == "datasets" else [name])]
    problems = [f"{key}: a name {wrong}" for part in parts if (wrong := folder_name(part))]
    whole = {name for name in names if "/" not in name}
    both = sorted({row_of(name) for name in names if "/" in name} & whole)
    return problems + [f"{key}: {name!r} is both a dataset and the row of {name}/...; rename one" for name in both]


def _dataset_problem(dataset: Any) -> str:
    try:
        for table in _TABLES:
            dataset.content(table)
    except GradretError as error:
        return str(error)
    return ""


def _system_problem(evaluation: Evaluation, name: str) -> str:
    """What is not available of the system, for all datasets; its run files in one sentence."""
    systems = [evaluation.system(name, dataset) for dataset in evaluation.datasets]
    if evaluation.systems[name].run:
        missing = dict.fromkeys(system.run for system in systems if not Path(system.run).is_file())
        return f"no run file at {', '.join(missing)}" if missing else ""
    by_model = {system.model: system for system in systems}
    return "; ".join(filter(None, map(_model_problem, by_model.values())))


def _model_problem(system: System) -> str:
    from gradret.models.locate import locate
    from gradret.models.similarity import similarity
    from gradret.models.whole import require_whole
    from gradret.store.run_folder import is_run, model_folder

    try:
        if system.model and is_run(system.model):
            model_folder(system.model, system.version)
        elif system.model:
            folder = locate(system.model)
            similarity(folder)
            require_whole(folder)
        elif system.encoder and system.encoder.model:
            locate(system.encoder.model, code=system.encoder.trust_remote_code)
            system.encoder.check()
    except GradretError as error:
        return str(error)
    return ""
