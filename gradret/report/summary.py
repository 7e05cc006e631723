"""Describe a run's recipe: its main settings and counts, as terms and texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING

from gradret.components import name_of

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["kinds", "summary"]


def summary(config: Config, artifacts: Mapping[str, Artifact]) -> list[tuple[str, str]]:
    """The main settings and counts of the run, as terms and texts."""
    train = config.train
    training = (
        f"at most {train.epochs} epochs, {train.batch_size} queries per batch, "
        f"learning rate {train.learning_rate:g}, {train.list_length} documents per list"
    )
    rows = [
        ("Dataset", _describe(config.dataset)),
        ("Documents", _count(artifacts.get("ingest"), "rows_out")),
        ("Passages", _count(artifacts.get("cut"), "rows_out")),
        ("Test queries", _count(artifacts.get("queries"), "test_queries")),
        ("Generator", _describe(config.generate.generator)),
        ("Training queries", ", ".join(f"{n:,} {kind}" for kind, n in kinds(artifacts.get("generate")).items())),
        ("Candidates", _describe(config.mine.retrievers)),
        ("Teacher", _describe(config.label.teacher)),
        ("Encoder", _describe(train.encoder)),
        ("Loss", _describe(train.loss)),
        ("Training", training),
        *_training(artifacts.get("train")),
        ("Index", f"{config.index.factory}, {config.index.num_shards} shard{'s' * (config.index.num_shards != 1)}"),
        ("Seed", str(config.seed)),
    ]
    return [(term, text) for term, text in rows if text]


def _training(trained: Artifact | None) -> list[tuple[str, str]]:
    """The choices and counts of the training."""
    if trained is None:
        return []
    notes = trained.manifest["notes"]
    epoch, limits = notes.get("best_epoch"), notes.get("texts_at_length_limit", {})
    calibrated = [
        f"{loss} {key} {value:.3g}" for loss, keys in notes.get("calibrated", {}).items() for key, value in keys.items()
    ]
    learned = [f"{name} {value:.3g}" for name, value in notes.get("learned", {}).items()]
    cut = ", ".join(f"{number:,} {kind}" for kind, number in limits.items() if number)
    kept = (
        "those before training: no epoch was better on the held-out queries"
        if epoch == 0
        else f"those after epoch {epoch}"
    )
    return [
        ("Weights kept", kept if epoch is not None else ""),
        ("Calibrated", ", ".join(calibrated)),
        ("Learned by losses", ", ".join(learned)),
        (
            "Relevant documents masked among the negatives",
            f"{notes['masked_pairs']:,}" if notes.get("masked_pairs") else "",
        ),
        ("Texts at the model's length limit", cut),
    ]


def _describe(value: object) -> str:
    """A component's name and the fields that differ from their defaults; empty if there is no component."""
    if isinstance(value, (list, tuple)):
        return " + ".join(_describe(item) for item in value)
    if value is None or not is_dataclass(value):
        return "" if value is None else str(value)
    settings = [
        f"{f.name} {_describe(getattr(value, f.name))}"
        for f in fields(value)
        if f.name != "resources" and (f.default is MISSING or getattr(value, f.name) != f.default)
    ]
    settings = [text for text in settings if not text.endswith(" ")]
    return name_of(value) + (f" ({', '.join(settings)})" if settings else "")


def _count(artifact: Artifact | None, key: str) -> str:
    return f"{artifact.counts[key]:,}" if artifact and key in artifact.counts else ""


def kinds(generated: Artifact | None) -> dict[str, int]:
    """Number of generated queries by kind, most frequent first."""
    kinds: Counter[str] = Counter()
    for table in generated.batches("queries") if generated else ():
        kinds.update(kind or "no kind" for kind in table["kind"].to_pylist())
    return dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0])))
