"""``gradret init FOLDER``: look at a folder of documents, and write a commented config for it."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from gradret.commands.keys import keys_below
from gradret.config.fields import folder_name
from gradret.config.loading import load
from gradret.config.written import one_line
from gradret.errors import ConfigError, StorageError
from gradret.store.atomic import write_text

__all__ = ["init"]

_PAGES = {".txt", ".md", ".html", ".htm"}
_TABLES = {".csv", ".tsv", ".jsonl", ".json", ".ndjson", ".parquet"}
_COMPRESSED = {".gz", ".bz2", ".zst"}
_NAMES = {
    "docs": ("docs", "documents", "corpus", "collection", "passages", "articles", "pages"),
    "queries": ("queries", "topics", "questions"),
    "test": ("test", "qrels", "judgments", "judgements"),
}
_WIDTH = 116

# The recipe of configs/quickstart.yaml, and what is most often changed.
_RECIPE = {
    "generate.generator": {"name": "extractive", "queries": 63000, "per_doc": 36},
    "generate.training_queries": True,
    "mine.retrievers": [{"name": name} for name in ("source", "positives", "teacher", "random")],
    "label.teacher": {"name": "fusion"},
    "train.encoder": {"name": "static"},
    "train.epochs": 4,
    "train.batch_size": 128,
    "train.learning_rate": 8e-3,
    "index.factory": "Flat",
    "evaluate.measures": ["nDCG@10", "Recall@100", "MRR@10", "MAP", "judged@10"],
}


def init(folder: Path, output: Path | None = None) -> Path:
    """Write a config for the documents in ``folder``, and return its path.

    Args:
        folder: a folder in BEIR's layout, of text files, or with tables; or one table.
        output: the file to write; by default ``NAME.yaml`` in the working directory, after the folder.

    Raises:
        ConfigError: no documents are recognised, the name cannot name a run, or the file exists.
        StorageError: the file cannot be written.
    """
    name = folder.absolute().name.partition(".")[0] or "mine"
    if problem := folder_name(name):
        raise ConfigError(f"{folder}: its name {problem}; rename it")
    dataset = _dataset(folder)
    path = output or Path(f"{name}.yaml")
    if path.exists():
        raise ConfigError(f"{path} exists; name another file with --output")
    try:
        write_text(path, [_config(name, path, dataset)])
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}; name another file with --output") from error
    load(path)
    return path


def _dataset(folder: Path) -> dict[str, str]:
    """The settings of the dataset that reads the folder."""
    if folder.is_file() and _suffix(folder) in _TABLES:
        return {"name": "files", "docs": str(folder.absolute())}
    if not folder.is_dir():
        raise ConfigError(f"{folder}: expected a folder with documents, or a table of them ({_list(_TABLES)})")
    where = str(folder.absolute())
    if any(folder.glob("corpus.jsonl*")):
        return {"name": "beir", "path": where}
    tables = sorted(path.name for path in folder.iterdir() if path.is_file() and _suffix(path) in _TABLES)
    if tables:
        return {"name": "files", "path": where, **_roles(folder, tables)}
    if any(path.suffix.lower() in _PAGES for path in folder.rglob("*") if path.is_file()):
        return {"name": "folder", "path": where}
    raise ConfigError(
        f"{folder} has no documents that gradret recognises: neither corpus.jsonl (BEIR), nor a table "
        f"({_list(_TABLES)}), nor pages ({_list(_PAGES)}); gradret show datasets lists other sources"
    )


def _roles(folder: Path, tables: Sequence[str]) -> dict[str, str]:
    """Which table has the documents, the queries and the judgments; with one table alone, the documents."""
    roles = {role: [name for name in tables if name.lower().startswith(starts)] for role, starts in _NAMES.items()}
    if not roles["docs"] and len(tables) == 1:
        roles["docs"] = list(tables)
    several = [role for role, names in roles.items() if len(names) > 1]
    if not roles["docs"] or several:
        raise ConfigError(
            f"{folder}: cannot tell which of {', '.join(tables)} has the {(several or ['docs'])[0]}; give the table "
            "of documents itself, or set dataset.docs, dataset.queries and dataset.test in a config by hand"
        )
    judged = roles["queries"] and roles["test"]
    return {role: names[0] for role, names in roles.items() if role == "docs" or judged}


def _suffix(path: Path) -> str:
    """The suffix, in lower case, without that of a compression."""
    name = path.with_suffix("") if path.suffix.lower() in _COMPRESSED else path
    return name.suffix.lower()


def _list(suffixes: set[str]) -> str:
    return ", ".join(sorted(suffixes))


def _config(name: str, path: Path, dataset: Mapping[str, str]) -> str:
    """The YAML: every setting under what it means."""
    head = [
        f"# Train a retriever on these documents: gradret run {shlex.quote(str(path))}",
        "# Any key can also be set after that, such as train.epochs=2. gradret show KEY tells what a key means, and",
        "# gradret show train lists all keys of a block.",
        "",
    ]
    settings: dict[str, object] = {"name": name, "storage_path": "storage", "seed": 0, "dataset": dict(dataset)}
    lines, blocks = [*head], dict[str, list[str]]()
    for key, value in (settings | _RECIPE).items():
        block, dot, field = key.rpartition(".")
        (blocks.setdefault(block, []) if dot else lines).extend(_setting(key, field, value, indent="  " * bool(dot)))
    for block, inner in blocks.items():
        lines += ["", f"{block}:", *inner]
    return "\n".join(lines) + "\n"


def _setting(key: str, field: str, value: object, indent: str) -> list[str]:
    """A setting under what its key means."""
    (described,) = keys_below(key)
    comment = textwrap.wrap(described.doc.replace("``", ""), _WIDTH)
    if described.of:
        comment.append(f"gradret show {described.of} lists the choices.")
    # Inside a list, a text is quoted.
    written = one_line([value])[1:-1]
    return [*(f"{indent}# {line}" for line in comment), f"{indent}{field}: {written}"]
