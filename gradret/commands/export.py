"""Give a run's model away: a sentence-transformers folder with its card, checked against the run's own vectors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gradret.commands.lookup import trusted
from gradret.errors import ConfigError, GradretError, StageError, StorageError
from gradret.progress import say
from gradret.store.artifacts import Artifact, write_json
from gradret.store.atomic import atomic
from gradret.store.contracts import KEYS
from gradret.text import passage

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Kind = Literal["docs", "queries"]

__all__ = ["export"]

_SETTINGS = "config_sentence_transformers.json"
_SAMPLE = 100
_TOLERANCE = 1e-5


def export(run: str | Path, folder: str | Path) -> Path:
    """Write the tuned model of ``run`` to ``folder``, whole or not at all, and return the folder.

    It holds what ``SentenceTransformer(folder)`` reads, the card as ``README.md`` and, where losses
    had parameters of their own, these as ``loss.safetensors``. Before it gets its name it is loaded
    and must give a sample of the run's documents and test queries the vectors that the run used.

    Args:
        run: the folder of a finished run, ``STORAGE/runs/NAME``.
        folder: must be empty or not there.

    Raises:
        ConfigError: ``run`` is not a finished run, or ``folder`` is not empty.
        StorageError: an artifact of the run is gone or damaged, or ``folder`` cannot be written.
        StageError: the model gives another vector than the run's; says whose, and how far off it is.
    """
    run, folder = Path(run).resolve(), Path(folder).resolve()
    lineage = _lineage(run)
    if folder.exists() and not (folder.is_dir() and next(folder.iterdir(), None) is None):
        raise ConfigError(f"{folder} is there and not empty; name another folder, or empty it first")
    storage = run.parent.parent
    trained = _artifact(storage, lineage["train"]["artifact"])
    kinds: tuple[Kind, ...] = ("docs", "queries")
    used = {kind: _used(storage, lineage, kind) for kind in kinds}
    try:
        with atomic(folder) as draft:
            _write(run / "model", trained, draft)
            _check(draft, used, trusted=trusted(run))
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"export: {folder} cannot be written: {error}; free some space or name another") from error
    return folder


def _lineage(run: Path) -> dict[str, Any]:
    """What ``lineage.json`` holds, of a run that has all that is read here."""
    try:
        lineage: dict[str, Any] = json.loads((run / "lineage.json").read_text(encoding="utf-8"))
        _ = [lineage[name]["artifact"] for name in ("ingest", "queries", "train")]
        _ = [lineage[name]["inputs"]["vectors"] for name in ("index.tuned", "search.tuned")]
        # metrics.json is the last thing that a run writes.
        _ = [(run / name).stat() for name in ("config.yaml", "metrics.json", f"model/{_SETTINGS}", "model/README.md")]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{run} is not the folder of a finished run ({error}); expected STORAGE/runs/NAME; "
            "gradret run makes it, and finishes one that was stopped"
        ) from error
    return lineage


def _artifact(storage: Path, reference: str) -> Artifact:
    """The artifact ``STAGE/FINGERPRINT``."""
    stage, _, fingerprint = reference.partition("/")
    path = storage / "artifacts" / stage / fingerprint
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{path} is gone or damaged ({error}); the model is checked against it. Put the run's folder back "
            "under its storage, or run again to make it anew"
        ) from error
    return Artifact(stage, fingerprint, path, manifest)


def _used(storage: Path, lineage: dict[str, Any], kind: str) -> tuple[Artifact, Artifact]:
    """The texts of a kind and the vectors that the run had for them."""
    texts, user = ("ingest", "index.tuned") if kind == "docs" else ("queries", "search.tuned")
    references = lineage[texts]["artifact"], lineage[user]["inputs"]["vectors"]
    return _artifact(storage, references[0]), _artifact(storage, references[1])


def _write(model: Path, trained: Artifact, draft: Path) -> None:
    # Without permissions: weights are written for their owner's eyes only.
    left = shutil.ignore_patterns("fingerprint.txt")
    shutil.copytree(model, draft, ignore=left, copy_function=shutil.copyfile)
    learned = trained.path / "loss.safetensors"
    if learned.is_file():
        shutil.copyfile(learned, draft / learned.name)
    settings = json.loads((draft / _SETTINGS).read_text(encoding="utf-8"))
    # The run ranked by inner product, whether or not its vectors have length 1.
    write_json(draft / _SETTINGS, settings | {"similarity_fn_name": "dot"})


def _check(folder: Path, used: dict[Kind, tuple[Artifact, Artifact]], *, trusted: bool) -> None:
    """Refuse a model whose vectors for a sample of the run's texts are not those that the run had."""
    from gradret.stages.encode import load_model

    try:
        model = load_model(folder, trust_remote_code=trusted)
        for kind, (texts, vectors) in used.items():
            ids, inputs, expected = _sample(kind, texts, vectors)
            encode = model.encode_document if kind == "docs" else model.encode_query
            _compare(kind, ids, encode(inputs, batch_size=32, show_progress_bar=False), expected)
    except GradretError:
        raise
    except Exception as error:
        raise StageError(
            f"export: sentence-transformers cannot read the run's model or encode with it: {error}"
        ) from error


def _compare(kind: Kind, ids: list[str], got: np.ndarray, expected: np.ndarray) -> None:
    import numpy as np

    if got.shape != expected.shape:
        raise StageError(f"export: the model gives {kind} {got.shape[1]} dimensions, the run {expected.shape[1]}")
    # A vector that is not finite is as far off as can be.
    distances = np.nan_to_num(np.abs(got - expected).max(axis=1), nan=np.inf)
    worst = int(distances.argmax())
    if distances[worst] > _TOLERANCE:
        raise StageError(
            f"export: for {np.count_nonzero(distances > _TOLERANCE)} of {len(ids)} {kind} the model gives another "
            f"vector than the run had: {ids[worst]!r} is off by {distances[worst]:.2g}, {_TOLERANCE:g} is allowed. "
            "Nothing was written. If its folder was changed after the run, delete it and run again"
        )
    say(f"export     {len(ids):,} {kind} checked, off by {distances[worst]:.1g} at most")


def _sample(kind: Kind, texts: Artifact, vectors: Artifact) -> tuple[list[str], list[str], np.ndarray]:
    """Ids, inputs and vectors of rows spread evenly over all."""
    import numpy as np

    from gradret.search.vectors import as_matrix

    ids = vectors.table("vectors", ["id"])["id"]
    places = np.linspace(0, len(ids) - 1, min(_SAMPLE, len(ids))).astype(int)
    found = _rows(vectors, "vectors", ids.take(places))
    rows = _rows(texts, kind, ids.take(places))
    inputs = rows["text"].to_pylist()
    if kind == "docs":
        inputs = [passage(title, text) for title, text in zip(rows["title"].to_pylist(), inputs, strict=True)]
    return found["id"].to_pylist(), inputs, as_matrix(found)


def _rows(artifact: Artifact, table: str, ids: pa.Array) -> pa.Table:
    """The rows with these ids, sorted by id; a shard in memory at a time."""
    import pyarrow as pa
    import pyarrow.compute as pc

    key = KEYS[table][0]
    parts = [batch.filter(pc.is_in(batch[key], ids)) for batch in artifact.batches(table)]
    rows = pa.concat_tables(parts).sort_by(key)
    if rows[key].to_pylist() != ids.to_pylist():
        raise StorageError(f"{artifact.path / table} lacks rows; delete {artifact.path} and run again")
    return rows
