"""The run that is exported: its folder, and the artifacts that its lineage names."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradret.errors import ConfigError, StorageError
from gradret.store.artifacts import Artifact, opened
from gradret.store.mirror import exists
from gradret.store.run_folder import run_folder
from gradret.urls import shown

__all__ = ["SETTINGS", "Source", "open_source"]

SETTINGS = "config_sentence_transformers.json"


@dataclass(frozen=True)
class Source:
    """A finished run."""

    run: Path
    lineage: dict[str, Any]

    def artifact(self, name: str) -> Artifact:
        """The artifact of a stage, such as ``train``.

        Raises:
            StorageError: it is missing or damaged.
        """
        return self._artifact(self.lineage[name]["artifact"])

    def input(self, name: str, key: str) -> Artifact:
        """What the artifact of a stage read, such as ``index.tuned``'s ``vectors``.

        Raises:
            StorageError: it is missing or damaged.
        """
        return self._artifact(self.lineage[name]["inputs"][key])

    def vectors(self, name: str) -> Artifact:
        """The vectors that an index or a search read; documents may be ranked by a search of passages.

        Raises:
            StorageError: they are missing or damaged.
        """
        passages = self.lineage[name]["inputs"].get("run")
        inputs = self._artifact(passages).manifest["inputs"] if passages else self.lineage[name]["inputs"]
        return self._artifact(inputs["vectors"])

    @property
    def trusted(self) -> bool:
        """Whether the model's own Python code may run, as the config said."""
        return bool(self.artifact("train").manifest["notes"].get("trust_remote_code", False))

    def _artifact(self, reference: str) -> Artifact:
        """The artifact named ``STAGE/FINGERPRINT``."""
        stage, _, fingerprint = reference.partition("/")
        path = self.run.parent.parent / "artifacts" / stage / fingerprint
        if not exists(path / "manifest.json"):
            raise StorageError(
                f"{shown(path)} is missing, which the export reads. Move the run's folder back into its storage, "
                "or run the command that made it again"
            )
        return opened(path)


def open_source(reference: str | Path) -> Source:
    """Open a run; checks that it is finished and has everything that an export reads.

    Args:
        reference: the folder of a run, ``STORAGE/runs/NAME``, or its URL.

    Raises:
        ConfigError: it is not a finished run.
    """
    run = run_folder(reference).resolve()
    try:
        lineage: dict[str, Any] = json.loads((run / "lineage.json").read_text(encoding="utf-8"))
        _ = [lineage[name]["artifact"] for name in ("ingest", "queries", "train")]
        _ = lineage["index.tuned"]["inputs"]["vectors"], lineage["search.tuned"]["inputs"]
        # A run writes metrics.json last.
        _ = [(run / name).stat() for name in ("config.yaml", "metrics.json", f"model/{SETTINGS}", "model/README.md")]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{shown(run)} is not the folder of a finished run ({error}); expected STORAGE/runs/NAME, "
            "as gradret run writes it; run it again to finish an interrupted run"
        ) from error
    return Source(run, lineage)
