"""``gradret export``: write a run's model, verified against the run's vectors, or its training lists."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.commands.export_lists import write_datasets, write_json_lines
from gradret.commands.export_onnx import require_onnx, write_onnx
from gradret.commands.export_source import SETTINGS, Source, open_source
from gradret.commands.export_verify import verify
from gradret.errors import ConfigError, GradretError, StageError, StorageError
from gradret.models.locate import quiet
from gradret.store.atomic import atomic, write_json
from gradret.store.run_folder import check_model

if TYPE_CHECKING:
    import numpy as np

    from gradret.commands.export_verify import Kind

__all__ = ["FORMATS", "export"]


def export(run: str | Path, folder: str | Path, form: str = "model") -> Path:
    """Write the tuned model or the training lists of ``run`` to ``folder``, atomically, and return the folder.

    Before it is moved into place, a model is loaded and must reproduce the run's vectors of a sample of documents and
    test queries; its ``README.md`` is the model card.

    Args:
        run: the folder of a finished run, ``STORAGE/runs/NAME``, or its URL.
        folder: a new or empty folder.
        form: one of ``FORMATS``: the model as ``model``, for sentence-transformers, or ``onnx``; the lists as
            ``flagembedding``, ``tevatron``, ``sentence-transformers`` or ``hf``, for ``datasets``.

    Raises:
        ConfigError: ``run`` is not a finished run, ``folder`` is not empty, or a package is not installed.
        StorageError: an artifact of the run is missing or damaged, or ``folder`` cannot be written.
        StageError: the model does not reproduce the run's vectors; names the worst text and its difference. Or
            huggingface_hub cannot read the model card.
    """
    folder = Path(folder).resolve()
    source = open_source(run)
    if folder.exists() and not (folder.is_dir() and next(folder.iterdir(), None) is None):
        raise ConfigError(f"{folder} exists and is not empty; name another folder, or empty it first")
    try:
        with atomic(folder) as draft:
            FORMATS[form](source, draft)
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            f"export: {folder} cannot be written: {error}; free some space or name another folder"
        ) from error
    return folder


def _write_model(source: Source, draft: Path) -> None:
    """Write a folder for sentence-transformers; the parameters of losses, if any, as ``loss.safetensors``."""
    from sentence_transformers import SentenceTransformer

    trained = source.artifact("train")
    check_model(source.run, trained.path)
    # copyfile does not copy permissions: the run's weights are readable by their owner only.
    ignored = shutil.ignore_patterns("fingerprint.txt")
    shutil.copytree(source.run / "model", draft, ignore=ignored, copy_function=shutil.copyfile)
    learned = trained.file("loss.safetensors")
    if learned.is_file():
        shutil.copyfile(learned, draft / learned.name)
    settings = json.loads((draft / SETTINGS).read_text(encoding="utf-8"))
    # The run ranked by inner product, whether or not the vectors are normalised.
    write_json(draft / SETTINGS, settings | {"similarity_fn_name": "dot"})
    _check_card(draft)
    quiet()
    with _failures_of("sentence-transformers"):
        # Without gradret's own opening: as its users open it.
        model = SentenceTransformer(str(draft), trust_remote_code=source.trusted)

        def _encode(kind: Kind, texts: list[str]) -> np.ndarray:
            encode = model.encode_document if kind == "docs" else model.encode_query
            vectors: np.ndarray = encode(texts, batch_size=32, show_progress_bar=False)
            return vectors

        verify(source, _encode)


def _write_onnx(source: Source, draft: Path) -> None:
    """Write ``model.onnx`` and what it takes to run it, from the folder for sentence-transformers."""
    require_onnx()
    draft.mkdir(parents=True)
    model = draft / ".model"
    _write_model(source, model)
    with _failures_of("onnxruntime"):
        encoder = write_onnx(model, draft, trusted=source.trusted)
        verify(source, lambda kind, texts: encoder.encode("document" if kind == "docs" else "query", texts))
    shutil.rmtree(model)


FORMATS: dict[str, Callable[[Source, Path], None]] = {
    "model": _write_model,
    "onnx": _write_onnx,
    "flagembedding": partial(write_json_lines, form="flagembedding"),
    "tevatron": partial(write_json_lines, form="tevatron"),
    "sentence-transformers": partial(write_datasets, form="sentence-transformers"),
    "hf": partial(write_datasets, form="hf"),
}
"""Functions that write a draft of each form of export."""


def _check_card(folder: Path) -> None:
    """Check that huggingface_hub reads the card, which the user may have edited."""
    from huggingface_hub import ModelCard
    from yaml import YAMLError

    try:
        ModelCard((folder / "README.md").read_text(encoding="utf-8"))
    except (ValueError, YAMLError) as error:
        reason = " ".join(str(error).split())
        raise StageError(
            f"export: model/README.md is no model card ({reason}). Mend it, or run gradret run again to write it anew"
        ) from error


@contextmanager
def _failures_of(library: str) -> Iterator[None]:
    """Raise a StageError for whatever a library raises on a model that it cannot open or run."""
    try:
        yield
    except GradretError:
        raise
    except Exception as error:
        raise StageError(f"export: {library} cannot load the run's model or encode with it: {error}") from error
