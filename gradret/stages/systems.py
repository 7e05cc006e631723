"""Search a dataset with a system of an evaluation: RUN.

A model is a MODEL as every other: that of a run in the same storage is the artifact itself, so what the
run encoded and searched is found again; any other becomes one, once for all datasets.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.artifacts import Artifact, opened
from gradret.encoders.pretrained import Pretrained
from gradret.errors import ConfigError
from gradret.stages.base import base
from gradret.stages.index import index
from gradret.stages.run_file import run_file
from gradret.stages.search import search, search_bm25

if TYPE_CHECKING:
    from gradret.config import Config
    from gradret.evaluation import System

__all__ = ["is_run", "model_folder", "search_system"]

_STAGES = {"tuned": "train", "base": "base"}


def search_system(config: Config, system: System, dataset: str, ingested: Artifact, queries: Artifact) -> Artifact:
    """RUN of the test queries.

    Args:
        config: with the dataset, and how to index and search.
        system: what searches.
        dataset: its name, as run files have it.
        ingested: DOCS.
        queries: QUERIES and QRELS.

    Raises:
        ConfigError: there is no such model or run.
        DataError: a run file cannot be used.
    """
    if system.bm25:
        return search_bm25(config, ingested, queries)
    if system.run:
        return run_file(config, ingested, queries, system.run_of(dataset))
    config, model = _model(config, system, ingested)
    return search(config, model, index(config, model, ingested), queries)


def is_run(reference: str) -> bool:
    """Whether a model is named by the folder of a run."""
    return (Path(reference) / "lineage.json").is_file()


def model_folder(system: System) -> Path:
    """The artifact that holds a run's model.

    Raises:
        ConfigError: the run has no such model, or it is gone.
    """
    run = Path(system.model).absolute()
    stage = _STAGES[system.version]
    try:
        path = run.parent.parent / str(json.loads((run / "lineage.json").read_text(encoding="utf-8"))[stage]["path"])
        (path / "manifest.json").stat()
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{run} has no {system.version} model ({error}); gradret run makes it, and finishes a run that was stopped"
        ) from error
    return path


def _model(config: Config, system: System, ingested: Artifact) -> tuple[Config, Artifact]:
    """The model, with the config that encodes with it: a run's says whether it may run code of its own."""
    if system.encoder:
        config = _with_encoder(config, system.encoder)
        return config, base(config, ingested)
    if not is_run(system.model):
        return config, base(config, ingested, _as_it_is(system.model))
    path = model_folder(system)
    if path.parents[2].resolve() != Path(config.storage_path).resolve():
        return config, base(config, ingested, _as_it_is(str(path / "model")))
    import gradret

    trained = gradret.load(Path(system.model) / "config.yaml")
    return _with_encoder(config, trained.train.encoder), opened(path)


def _with_encoder(config: Config, encoder: Any) -> Config:
    return replace(config, train=replace(config.train, encoder=encoder))


def _as_it_is(model: str) -> Pretrained:
    return Pretrained(model=model, max_length=0, precision="float32")
