"""Search a dataset with a system of ``gradret evaluate``: RUN.

The model of a run in the same storage is used as the artifact that it is, so what the run encoded and searched is
reused; any other model is imported as MODEL, once for all datasets.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gradret.encoders.pretrained import Pretrained
from gradret.stages.base import base
from gradret.stages.cut import deep
from gradret.stages.index import index
from gradret.stages.max_passage import max_passage
from gradret.stages.run_file import run_file
from gradret.stages.search import search, search_bm25
from gradret.store.artifacts import Artifact, opened
from gradret.store.checksums import check
from gradret.store.run_folder import is_run, model_folder
from gradret.store.storage import storage_folder

if TYPE_CHECKING:
    from gradret.config.evaluation import System
    from gradret.config.run import Config

__all__ = ["search_system"]


def search_system(
    config: Config, system: System, ingested: Artifact, queries: Artifact, docs: Artifact | None = None
) -> Artifact:
    """Retrieve documents for the test queries with ``system``.

    Args:
        config: a config with the dataset; ``index`` and ``search`` apply.
        system: a model, a run, BM25 or a TREC run file; without placeholders.
        ingested: DOCS.
        queries: QUERIES and QRELS.
        docs: the passages of ``ingested``, if documents are cut.

    Raises:
        ConfigError: the model or run does not exist.
        DataError: a run file cannot be used.
    """
    if system.run:
        return run_file(config, ingested, queries, Path(system.run))
    docs = docs or ingested
    deeper = deep(config, docs)
    if system.bm25:
        return max_passage(config, search_bm25(deeper, docs, queries))
    model = _model(config, system, docs)
    return max_passage(config, search(deeper, model, index(config, model, docs, config.search.size), queries))


def _model(config: Config, system: System, ingested: Artifact) -> Artifact:
    if system.encoder:
        return base(config, ingested, system.encoder)
    if not is_run(system.model):
        return base(config, ingested, _unchanged(system.model))
    path = model_folder(system.model, system.version)
    if path.parents[2].resolve() != storage_folder(config.storage_path).resolve():
        return base(config, ingested, _unchanged(str(check(path / "model"))))
    return opened(path)


def _unchanged(model: str) -> Pretrained:
    return Pretrained(model=model, max_length=0, precision="float32")
