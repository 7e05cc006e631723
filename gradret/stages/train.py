"""Train the student on the lists: MODEL."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gradret.config.train import Train
from gradret.errors import ConfigError, StageError
from gradret.store.artifacts import Artifact, Draft, make, read_shard
from gradret.text import passage
from gradret.texts import query_texts

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.config.run import Config
    from gradret.training.fit import Best
    from gradret.training.loop import Job
    from gradret.training.prepare import Prepared
    from gradret.training.step import Student
    from gradret.training.watching import Watcher

__all__ = ["train"]

_CHECKED = 32
"""Number of documents, and of queries, for which the exported model must reproduce the trained vectors."""
_TOLERANCE = 1e-5
"""Largest allowed difference of a component of these vectors."""


def train(
    config: Config,
    base_model: Artifact,
    ingested: Artifact,
    generated: Artifact,
    groups: Artifact,
    *,
    watch: Watcher | None = None,
) -> Artifact:
    """Train from ``base_model`` and write the folder ``model``, and ``loss.safetensors`` if a loss has parameters.

    ``metrics.jsonl`` holds the training curve, and ``tensorboard`` the same for TensorBoard. Lists that are broken or
    that no loss can use are quarantined.

    Args:
        config: the run's config; ``train`` applies.
        base_model: MODEL to start from.
        ingested: DOCS.
        generated: QUERIES, with the documents that were generated for them, if any.
        groups: GROUPS to train on.
        watch: called with the dev measures soon after each epoch; not called if the artifact already exists.

    Raises:
        ConfigError: the encoder cannot be trained, or a loss can use none of the lists.
        DataError: no list is left, or the loss is not finite.
        StageError: a worker failed, or the exported model does not reproduce the trained vectors.
    """
    if not config.train.encoder.trainable:
        raise ConfigError(f"train.encoder: {type(config.train.encoder).__name__} cannot be trained")
    config.train.check_dimensions(base_model.manifest["notes"].get("dimension"))
    inputs = {"model": base_model, "docs": ingested, "queries": generated, "groups": groups}
    body = functools.partial(_train, config, inputs, watch)
    settings: dict[str, object] = {"train": dataclasses.replace(config.train, seed=_seed(config))}
    if config.train.encoder.dropout:
        settings["chunk_size"] = config.train.resources.chunk_size  # decides the dropout masks
    return make("train", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _seed(config: Config) -> int:
    return config.seed if config.train.seed is None else config.train.seed


def _train(config: Config, inputs: dict[str, Artifact], watch: Watcher | None, draft: Draft) -> None:
    from gradret.training.fit import discard_work, fit, load_best, prepared_once
    from gradret.training.loop import Job

    work = draft.path / "work"
    job = Job(config.train, _seed(config), inputs["model"].file("model"), work, draft.path / "metrics.jsonl")
    prepared_once(job, draft, inputs["groups"], functools.partial(_prepare, job, draft, inputs))
    fit(job, draft, watch)
    best = load_best(job)
    draft.notes |= best.notes | _export(best, job, inputs, draft)
    discard_work(job)


def _prepare(job: Job, draft: Draft, inputs: dict[str, Artifact], groups: pa.Table) -> Prepared:
    from gradret.training.prepare import prepare

    queries = inputs["queries"].table("queries", ["query_id", "text"])
    # The documents that were generated for the queries, if any, are beside them.
    shards = [*inputs["docs"].shards("docs"), *inputs["queries"].shards("docs")]
    return prepare(job, draft, shards, queries, groups)


def _export(best: Best, job: Job, inputs: dict[str, Artifact], draft: Draft) -> dict[str, Any]:
    """Write the best checkpoint as a model folder and check that it loads and gives the same vectors."""
    from safetensors.torch import save_file

    from gradret.training.matryoshka import note_dimensions

    assert isinstance(job.settings, Train)
    folder = draft.folder("model")
    best.student.save(folder)
    sizes = note_dimensions(folder, job.settings, best.student.dimension)
    _check_export(best.student, folder, job, inputs)
    if best.learned:
        save_file(best.learned, draft.path / "loss.safetensors")
    return {"trust_remote_code": job.settings.encoder.trust_remote_code, **sizes}


def _checked_texts(job: Job, inputs: dict[str, Artifact]) -> dict[Literal["docs", "queries"], list[str]]:
    """Some texts that were trained with: the student knows no tokens but theirs."""
    import pyarrow.compute as pc

    from gradret.training.tokens import read_ids

    used = read_ids(job.work)
    shards = itertools.chain.from_iterable(inputs[name].batches("docs") for name in ("docs", "queries"))
    known = (rows.filter(pc.is_in(rows["doc_id"], value_set=used)) for rows in shards)
    docs = next(rows for rows in known if rows.num_rows).slice(0, _CHECKED)
    columns = docs["title"].to_pylist(), docs["text"].to_pylist()
    lists = read_shard(job.work / "train.parquet", "groups", ["query_id"]).slice(0, _CHECKED)
    return {
        "docs": [passage(*row) for row in zip(*columns, strict=True)],
        "queries": list(query_texts(inputs["queries"], lists["query_id"].to_pylist()).values()),
    }


def _check_export(student: Student, folder: Path, job: Job, inputs: dict[str, Artifact]) -> None:
    """Compare the vectors of the exported model and the student on some documents and queries.

    Raises:
        StageError: they differ by more than ``_TOLERANCE``.
    """
    import numpy as np

    from gradret.stages.encode import encode_texts, load_model

    assert isinstance(job.settings, Train)
    texts = _checked_texts(job, inputs)
    trusted = job.settings.encoder.trust_remote_code
    model = load_model(folder, job.settings.resources.threads, trust_remote_code=trusted)
    student.train(False)  # noqa: FBT003 - torch.nn.Module's
    for table, sample in texts.items():
        tokens = student.tokenize(sample, table)
        starts = np.cumsum([0, *map(len, tokens)])
        want = student(np.concatenate(tokens), starts).detach().float().numpy()
        difference = np.abs(encode_texts(model, sample, table) - want).max()
        if not difference <= _TOLERANCE:
            raise StageError(
                f"{folder} does not reproduce the trained vectors of {table} (largest difference {difference:.2g})"
            )
