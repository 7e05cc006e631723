"""``gradret export``: write a run's model as a folder for sharing, verified against the run's vectors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gradret.errors import ConfigError, GradretError, StageError, StorageError
from gradret.progress import say
from gradret.store.artifacts import Artifact, opened, write_json
from gradret.store.atomic import atomic
from gradret.store.contracts import KEYS
from gradret.store.run_folder import check_model
from gradret.text import passage

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Kind = Literal["docs", "queries"]

__all__ = ["export"]

_SETTINGS = "config_sentence_transformers.json"
_SAMPLE = 100
_TOLERANCE = 1e-4
"""Largest difference of one number of a vector. Other batches sum in another order: a document that repeats a few words
over its whole length differs by 1.6e-5 in float32."""


def export(run: str | Path, folder: str | Path) -> Path:
    """Write the tuned model of ``run`` to ``folder``, atomically, and return the folder.

    It can be loaded with ``SentenceTransformer(folder)``, has the model card as ``README.md``, and the parameters of
    losses, if any, as ``loss.safetensors``. Before it is moved into place, the model is loaded and must reproduce the
    run's vectors of a sample of documents and test queries.

    Args:
        run: the folder of a finished run, ``STORAGE/runs/NAME``.
        folder: a new or empty folder.

    Raises:
        ConfigError: ``run`` is not a finished run, or ``folder`` is not empty.
        StorageError: an artifact of the run is missing or damaged, or ``folder`` cannot be written.
        StageError: the model does not reproduce the run's vectors; names the worst text and its difference.
    """
    run, folder = Path(run).resolve(), Path(folder).resolve()
    lineage = _lineage(run)
    if folder.exists() and not (folder.is_dir() and next(folder.iterdir(), None) is None):
        raise ConfigError(f"{folder} exists and is not empty; name another folder, or empty it first")
    storage = run.parent.parent
    trained = _artifact(storage, lineage["train"]["artifact"])
    kinds: tuple[Kind, ...] = ("docs", "queries")
    references = {kind: _reference(storage, lineage, kind) for kind in kinds}
    try:
        with atomic(folder) as draft:
            _write(run, trained, draft)
            _check(draft, references, trusted=trained.manifest["notes"].get("trust_remote_code", False))
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            f"export: {folder} cannot be written: {error}; free some space or name another folder"
        ) from error
    return folder


def _lineage(run: Path) -> dict[str, Any]:
    """The content of ``lineage.json``; checks that the run is finished and has everything that export reads."""
    try:
        lineage: dict[str, Any] = json.loads((run / "lineage.json").read_text(encoding="utf-8"))
        _ = [lineage[name]["artifact"] for name in ("ingest", "queries", "train")]
        _ = [lineage[name]["inputs"]["vectors"] for name in ("index.tuned", "search.tuned")]
        # A run writes metrics.json last.
        _ = [(run / name).stat() for name in ("config.yaml", "metrics.json", f"model/{_SETTINGS}", "model/README.md")]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{run} is not the folder of a finished run ({error}); expected STORAGE/runs/NAME, "
            "as gradret run writes it; run it again to finish an interrupted run"
        ) from error
    return lineage


def _artifact(storage: Path, reference: str) -> Artifact:
    """The artifact named ``STAGE/FINGERPRINT``."""
    stage, _, fingerprint = reference.partition("/")
    path = storage / "artifacts" / stage / fingerprint
    if not (path / "manifest.json").exists():
        raise StorageError(
            f"{path} is missing, and the model is verified against it. Move the run's folder back into its storage, "
            "or run the command that made it again"
        )
    return opened(path)


def _reference(storage: Path, lineage: dict[str, Any], kind: str) -> tuple[Artifact, Artifact]:
    """The texts of a kind and the run's vectors of them."""
    texts, consumer = ("ingest", "index.tuned") if kind == "docs" else ("queries", "search.tuned")
    vectors = lineage[consumer]["inputs"]["vectors"]
    return _artifact(storage, lineage[texts]["artifact"]), _artifact(storage, vectors)


def _write(run: Path, trained: Artifact, draft: Path) -> None:
    check_model(run, trained.path)
    # copyfile does not copy permissions: the run's weights are readable by their owner only.
    ignored = shutil.ignore_patterns("fingerprint.txt")
    shutil.copytree(run / "model", draft, ignore=ignored, copy_function=shutil.copyfile)
    learned = trained.file("loss.safetensors")
    if learned.is_file():
        shutil.copyfile(learned, draft / learned.name)
    settings = json.loads((draft / _SETTINGS).read_text(encoding="utf-8"))
    # The run ranked by inner product, whether or not the vectors are normalised.
    write_json(draft / _SETTINGS, settings | {"similarity_fn_name": "dot"})


def _check(folder: Path, references: dict[Kind, tuple[Artifact, Artifact]], *, trusted: bool) -> None:
    """Check that the model reproduces the run's vectors of a sample of its texts."""
    from sentence_transformers import SentenceTransformer

    from gradret.models.locate import quiet

    quiet()
    try:
        # Without gradret's own opening: as its users open it.
        model = SentenceTransformer(str(folder), trust_remote_code=trusted)
        for kind, (texts, vectors) in references.items():
            ids, inputs, expected = _sample(kind, texts, vectors)
            encode = model.encode_document if kind == "docs" else model.encode_query
            _compare(kind, ids, encode(inputs, batch_size=32, show_progress_bar=False), expected)
    except GradretError:
        raise
    except Exception as error:
        raise StageError(
            f"export: sentence-transformers cannot load the run's model or encode with it: {error}"
        ) from error


def _compare(kind: Kind, ids: list[str], got: np.ndarray, expected: np.ndarray) -> None:
    import numpy as np

    if got.shape != expected.shape:
        raise StageError(
            f"export: the model's vectors of {kind} have {got.shape[1]} dimensions, the run's {expected.shape[1]}"
        )
    # A vector that is not finite has an infinite difference.
    distances = np.nan_to_num(np.abs(got - expected).max(axis=1), nan=np.inf)
    worst = int(distances.argmax())
    if distances[worst] > _TOLERANCE:
        raise StageError(
            f"export: the model does not reproduce the run's vectors of "
            f"{np.count_nonzero(distances > _TOLERANCE)} of {len(ids)} {kind}: {ids[worst]!r} differs by "
            f"{distances[worst]:.2g}, more than {_TOLERANCE:g}. Nothing was written. If the run's model folder was "
            "changed after the run, delete it and run again"
        )
    say(f"export     {len(ids):,} {kind} verified, largest difference {distances[worst]:.1g}")


def _sample(kind: Kind, texts: Artifact, vectors: Artifact) -> tuple[list[str], list[str], np.ndarray]:
    """Ids, input texts and the run's vectors of evenly spaced rows."""
    import numpy as np

    from gradret.search.vectors import as_matrix

    ids = vectors.table("vectors", ["id"])["id"]
    positions = np.linspace(0, len(ids) - 1, min(_SAMPLE, len(ids))).astype(int)
    encoded = _rows(vectors, "vectors", ids.take(positions))
    rows = _rows(texts, kind, ids.take(positions))
    inputs = rows["text"].to_pylist()
    if kind == "docs":
        inputs = [passage(title, text) for title, text in zip(rows["title"].to_pylist(), inputs, strict=True)]
    return encoded["id"].to_pylist(), inputs, as_matrix(encoded)


def _rows(artifact: Artifact, table: str, ids: pa.Array) -> pa.Table:
    """The rows with these ids, sorted by id; reads one shard at a time."""
    import pyarrow as pa
    import pyarrow.compute as pc

    key = KEYS[table][0]
    parts = [batch.filter(pc.is_in(batch[key], ids)) for batch in artifact.batches(table)]
    rows = pa.concat_tables(parts).sort_by(key)
    if rows[key].to_pylist() != ids.to_pylist():
        raise StorageError(f"{artifact.path / table}: rows are missing; delete {artifact.path} and run again")
    return rows
