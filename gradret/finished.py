"""A finished run as an object: its measures, its files, its tables, and searching it."""

from __future__ import annotations

import html
import json
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.errors import ConfigError
from gradret.store.artifacts import Artifact, opened
from gradret.store.run_folder import run_folder
from gradret.urls import shown

if TYPE_CHECKING:
    from gradret.commands.lookup import Lookup

__all__ = ["FinishedRun"]


class FinishedRun(os.PathLike[str]):
    """The folder of a finished run, ``STORAGE/runs/NAME``, or its URL.

    Printed, it is the table of the measures; in a notebook too.

    Raises:
        ConfigError: the folder is not a finished run.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = run_folder(folder)
        self.report = self.folder / "report.html"
        self.model = self.folder / "model"
        """A sentence-transformers folder."""
        try:
            self.metrics: dict[str, Any] = json.loads((self.folder / "metrics.json").read_text(encoding="utf-8"))
            self.lineage: dict[str, Any] = json.loads((self.folder / "lineage.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{shown(self.folder)} is not the folder of a finished run ({error}); expected STORAGE/runs/NAME"
            ) from error

    def artifact(self, name: str) -> Artifact:
        """The artifact of a stage, such as ``label`` or ``search.tuned``, whose ``table("labels")`` is an Arrow table.

        Raises:
            ConfigError: the run has no artifact of this name.
            StorageError: the artifact is gone or damaged.
        """
        if name not in self.lineage:
            raise ConfigError(f"{shown(self.folder)} has no artifact {name!r}; it has {', '.join(self.lineage)}")
        return opened(self.folder.parent.parent / str(self.lineage[name]["path"]))

    def search(self, query: str, k: int = 10, system: str = "tuned") -> list[dict[str, Any]]:
        """The ``k`` best documents for ``query``: rank, score, doc_id, title, text.

        Args:
            query: any text.
            k: number of documents.
            system: ``tuned``, ``base``, ``bm25`` or ``hybrid``.

        Raises:
            ConfigError: the query is empty, or the run has no such system.
            StorageError: a file of the run, or of an artifact of it, is missing or damaged.
        """
        return self._lookup(system).search(query, k)[system]

    def __fspath__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        return f"FinishedRun({str(self.folder)!r})"

    def __str__(self) -> str:
        from gradret.report.tables import terminal_table

        return terminal_table(self.metrics)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def _lookup(self, system: str) -> Lookup:
        from gradret.commands.lookup import HYBRID, SYSTEMS, Lookup

        if system not in (*SYSTEMS, HYBRID):
            raise ConfigError(f"system {system!r} is not one of {', '.join([*SYSTEMS, HYBRID])}")
        if system not in self._lookups:
            self._lookups[system] = Lookup(self.folder, [system])
        return self._lookups[system]

    @cached_property
    def _lookups(self) -> dict[str, Lookup]:
        return {}
