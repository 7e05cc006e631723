"""Train a teacher on the lists: TEACHER, a model that scores pairs."""

from __future__ import annotations

import functools
import shlex
import sys
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.components import find, name_of, names
from gradret.config.loading import short
from gradret.errors import ConfigError, StageError
from gradret.models.license import say_license
from gradret.models.locate import content
from gradret.search.passages import passages
from gradret.store.artifacts import Artifact, Draft, make, read_shard
from gradret.texts import doc_texts, query_texts
from gradret.training.trackers import require_trackers
from gradret.urls import shown

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from gradret.config.run import Config
    from gradret.config.train_teacher import TrainTeacher
    from gradret.training.fit import Best
    from gradret.training.loop import Job
    from gradret.training.prepare import Prepared

__all__ = ["base_teacher", "sentences", "train_teacher"]

_CHECKED = 4
"""Number of lists whose scores the exported model must reproduce."""
_TOLERANCE = 1e-4
"""Largest allowed difference of such a score, a logit."""


def base_teacher(config: Config) -> Artifact:
    """Check ``train_teacher.teacher`` and write the folder ``model`` that its training starts from.

    Raises:
        ConfigError: it cannot be trained, its model cannot be used, or a tracker is not installed.
    """
    teacher, seed = config.train_teacher.teacher, _seed(config)
    if not teacher.trainable:
        known = [name for name in names("teachers") if find("teachers", name).trainable]  # type: ignore[attr-defined]
        raise ConfigError(f"train_teacher.teacher: {name_of(teacher)} cannot be trained; use {' or '.join(known)}")
    require_trackers(config.train_teacher.resources.trackers)

    def _body(draft: Draft) -> None:
        say_license(teacher.model)
        teacher.start(draft.folder("model"), seed)

    settings = {"teacher": teacher, "content": content(teacher.model), "seed": seed}
    return make("base_teacher", config.storage_path, module=__name__, settings=settings, inputs={}, body=_body)


def sentences(config: Config, trained: Artifact) -> list[str]:
    """How good a trained teacher is on the held-out lists, and how a run names it and its sum with the other."""
    measured: dict[str, float] = trained.manifest["notes"]["dev_ndcg"]
    own = short(config.train_teacher.teacher.trained(Path(shown(trained.path / "model"))))
    lines = [
        f"nDCG@10 of the {trained.counts['dev']:,} held-out lists: {measured['trained']:.4f}",
        f"to use it: {_setting(own)}",
    ]
    if "sum" in measured:
        both = {"name": "weighted_sum", "teachers": [short(config.label.teacher), own]}
        lines[0] += f"; of label.teacher: {measured['label.teacher']:.4f}; of their best sum: {measured['sum']:.4f}"
        lines.append(f"to use the sum: {_setting(both | {'weights': [1, measured['weight']]})}")
    return lines


def _setting(teacher: dict[str, Any]) -> str:
    """The override that makes this the teacher of a run, for a shell."""
    import yaml

    written = yaml.safe_dump(teacher, default_flow_style=True, sort_keys=False, width=sys.maxsize).strip()
    return shlex.quote(f"label.teacher={written}")


def train_teacher(config: Config, ingested: Artifact, generated: Artifact, groups: Artifact) -> Artifact:
    """Train ``train_teacher.teacher`` on the lists and write the folder ``model``.

    ``metrics.jsonl`` holds the training curve, and ``tensorboard`` the same for TensorBoard. Lists that are broken or
    that no loss can use are quarantined. The note ``dev_ndcg`` compares the trained teacher with ``label.teacher`` on
    the held-out lists: see ``gradret.training.compared``.

    Args:
        config: the run's config; ``train_teacher`` applies.
        ingested: DOCS.
        generated: QUERIES, with the documents that were generated for them, if any.
        groups: GROUPS to train on.

    Raises:
        ConfigError: the teacher cannot be trained, or a loss can use none of the lists.
        DataError: no list is left, or the loss is not finite.
        StageError: a worker failed, or the exported model does not reproduce the trained scores.
    """
    settings, seed = config.train_teacher, _seed(config)
    inputs = {"model": base_teacher(config), "docs": ingested, "queries": generated, "groups": groups}
    inputs["passages"] = passages(config, ingested)
    body = functools.partial(_train, config, seed, inputs)
    decides: dict[str, object] = {"train_teacher": replace(settings, seed=seed)}
    if settings.dropout:
        decides["chunk_size"] = settings.resources.chunk_size  # decides the dropout masks
    return make("train_teacher", config.storage_path, module=__name__, settings=decides, inputs=inputs, body=body)


def _seed(config: Config) -> int:
    own = config.train_teacher.seed
    return config.seed if own is None else own


def _train(config: Config, seed: int, inputs: dict[str, Artifact], draft: Draft) -> None:
    from gradret.training.compared import compare
    from gradret.training.fit import discard_work, fit, load_best, prepared_once
    from gradret.training.loop import Job

    model, metrics = inputs["model"].file("model"), draft.path / "metrics.jsonl"
    job = Job(config.train_teacher, seed, model, draft.path / "work", metrics)
    prepared_once(job, draft, inputs["groups"], functools.partial(_prepare, job, draft, inputs))
    fit(job, draft)
    best = load_best(job)
    best.student.save(draft.folder("model"))
    _check_export(best, config.train_teacher, draft.path / "model", inputs)
    draft.notes |= best.notes | {"dev_ndcg": compare(best.student, job)}
    discard_work(job)


def _prepare(job: Job, draft: Draft, inputs: dict[str, Artifact], groups: pa.Table) -> Prepared:
    from gradret.training.pairs import prepare_pairs

    shards = [*inputs["docs"].shards("docs"), *inputs["queries"].shards("docs")]
    return prepare_pairs(job, draft, shards, texts=_texts(inputs), queries=inputs["queries"], groups=groups)


def _texts(inputs: dict[str, Artifact]) -> list[Artifact]:
    """Where the texts of documents are: of the corpus, and of those that were generated for the queries, if any."""
    return [inputs["passages"], inputs["queries"]]


def _check_export(best: Best, settings: TrainTeacher, folder: Path, inputs: dict[str, Artifact]) -> None:
    """Score some pairs with the exported model, as a teacher does, and compare.

    Raises:
        StageError: a score differs by more than ``_TOLERANCE``.
    """
    import numpy as np
    import torch

    rows = read_shard(inputs["groups"].shards("groups")[0], "groups", ["query_id", "doc_ids"]).slice(0, _CHECKED)
    lists = rows.to_pylist()
    asked = query_texts(inputs["queries"], [row["query_id"] for row in lists])
    known = doc_texts(_texts(inputs), set(chain.from_iterable(row["doc_ids"] for row in lists)))
    pairs: Any = [(asked[row["query_id"]], known[doc_id]) for row in lists for doc_id in row["doc_ids"]]
    best.student.train(False)  # noqa: FBT003 - torch.nn.Module's
    tokens = best.student.tokenize(pairs, "docs")
    with torch.no_grad():
        want = best.student(np.concatenate(tokens), np.cumsum([0, *map(len, tokens)]))[:, 0].numpy()
    difference = np.abs(_scores(settings, folder, pairs) - want).max()
    if not difference <= _TOLERANCE:
        raise StageError(f"{folder} does not reproduce the trained scores (largest difference {difference:.2g})")


def _scores(settings: TrainTeacher, folder: Path, pairs: list[tuple[str, str]]) -> np.ndarray:
    grader = settings.as_loaded().teacher.trained(folder).load({})
    scores: np.ndarray = grader.score_pairs(pairs)
    return scores
