"""Hugging Face datasets: from the Hub, its cache, or a folder."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradret.datasets import Bad, Part, Row, _formats, _tables, check_language, place
from gradret.datasets._rows import Columns
from gradret.errors import ConfigError, DataError

__all__ = ["HF", "load_splits"]

_BATCH_ROWS = 1000


@dataclass(frozen=True)
class HF:
    """A Hugging Face dataset with one configuration each for documents, queries and judgments.

    The defaults fit the Hub's ``mteb/...`` repositories. ``BeIR/...`` keeps judgments in separate
    repositories:

        {name: hf, path: BeIR/scifact, qrels_path: BeIR/scifact-qrels}

    Data are kept in the cache of ``datasets``, which all nodes of a cluster must share. Without a network,
    save each configuration elsewhere with ``save_to_disk`` to ``DIR/CONFIGURATION`` and set ``path: DIR``.
    """

    path: str = place()
    """A repository on the Hub, or a folder."""
    docs: str = place("corpus")
    """Configuration of the documents; all its splits are read."""
    queries: str = place("queries")
    """Configuration of the queries; all its splits are read."""
    qrels: str = place("default")
    """Configuration of the judgments; its splits are the splits of the dataset."""
    qrels_path: str = place()
    """Repository or folder of the judgments; empty is ``path``."""
    revision: str = place()
    """Commit, tag or branch of the Hub's repositories; empty is the latest."""
    columns: Columns = Columns()
    """Names of the columns."""
    split: str = "test"
    """Judgments to evaluate on; ``train`` and ``dev`` are read too if they exist."""
    language: str = "english"
    """A Snowball stemmer's name, or ``none``."""
    exclude_same_ids: bool = False
    """Remove a document from a query's results if it has the query's id; use it for ArguAna and Quora,
    whose queries are documents of the corpus."""

    def __post_init__(self) -> None:
        if not self.path:
            raise ConfigError("path: is required: a repository on the Hub, such as mteb/scifact, or a folder")
        check_language(self.language)

    def content(self, table: str) -> str:
        return _formats.content([(split, Path(file)) for split, files in self._arrow(table).items() for file in files])

    def parts(self, table: str) -> list[Part]:
        all_parts: list[Part] = []
        for split, files in self._arrow(table).items():
            for file in files:
                rows = _package().Dataset.from_file(file)
                _tables.check_columns(file, table, self.columns.spelled(table, rows.column_names), rows.column_names)
                all_parts += _tables.cut(file, len(rows), self._selected(table, rows).data.nbytes, split)
        return all_parts

    def read(self, table: str, part: Part) -> Iterator[tuple[int, Row | Bad]]:
        rows = self._selected(table, _package().Dataset.from_file(part.path)).with_format("arrow")
        for start in range(part.start, part.end, _BATCH_ROWS):
            batch = rows[start : min(start + _BATCH_ROWS, part.end)]
            columns = self.columns.spelled(table, batch.column_names)
            yield from enumerate(_tables.rows(table, batch, columns, part.split), start + 1)

    def _selected(self, table: str, rows: Any) -> Any:
        names = self.columns.spelled(table, rows.column_names).of(table)
        return rows.select_columns([name for name in names if name in rows.column_names])

    def _arrow(self, table: str) -> dict[str, list[str]]:
        """Return the Arrow files of a table, by split."""
        path = self.qrels_path if table == "qrels" and self.qrels_path else self.path
        splits = load_splits(path, getattr(self, table), self.revision)
        if table == "qrels":
            wanted = dict.fromkeys([self.split, "train", "dev"])
            splits = {self.split: splits[""]} if "" in splits else splits
            if self.split not in splits:
                raise DataError(f"dataset.split: {path} has judgments for {', '.join(splits)}, not for {self.split!r}")
            splits = {split: splits[split] for split in wanted if split in splits}
        return {split: [file["filename"] for file in rows.cache_files] for split, rows in splits.items()}


def load_splits(path: str, name: str = "", revision: str = "") -> dict[str, Any]:
    """Return a configuration's splits, memory-mapped; a dataset saved without splits is under "".

    Raises:
        ConfigError: the package is not installed.
        DataError: the repository, folder or configuration does not exist or cannot be reached.
    """
    datasets = _package()
    folder = (Path(path) / name).absolute()
    try:
        if (folder / "dataset_dict.json").is_file():
            return dict(datasets.load_from_disk(str(folder)))
        if (folder / "state.json").is_file():
            return {"": datasets.load_from_disk(str(folder))}
        return dict(datasets.load_dataset(path, name or None, revision=revision or None))
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        message = str(error).partition("\n")[0]
        what = f"{path} (configuration {name})" if name else path
        raise DataError(
            f"dataset.path: cannot load {what}: {message}. Without a network, "
            f"save it elsewhere with save_to_disk('DIR/{name}') and set dataset.path=DIR"
        ) from error


def _package() -> Any:
    if importlib.util.find_spec("datasets") is None:
        raise ConfigError("dataset hf: the package datasets is not installed; pip install 'gradret[hf]'")
    import datasets  # type: ignore[import-untyped]

    return datasets
