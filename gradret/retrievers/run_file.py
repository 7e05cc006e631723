"""Candidates from a run file that another tool wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from gradret.config.fields import at_least, location, require
from gradret.retrievers import Retriever
from gradret.retrievers._run_lookup import RunLookup
from gradret.stages.dedupe import dedupe
from gradret.stages.run_file import run_file

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["RunFile"]


@dataclass(frozen=True)
class RunFile(Retriever):
    """The top ``k`` documents of each query in a run file, such as a learned sparse retriever's.

    The file has TREC's six columns, as Anserini, Pyserini and PyTerrier write it, compressed or not; or it is
    PyTerrier's frame or ranx's run as CSV, JSON or Parquet. Documents are ranked by score. Its queries are those that
    are trained on; a query that it lacks gets nothing from it. Documents that the corpus lacks are left out and
    counted.
    """

    searches: ClassVar[bool] = True

    path: str = location()
    """Path of the file, whose content enters the fingerprint."""
    k: int = 20
    """Number of candidates per query."""

    def __post_init__(self) -> None:
        require(k=at_least(1, self.k))

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        """Store the file as RUN.

        Raises:
            DataError: the file cannot be read, a row is malformed, or no query or no document of the file is in the
                dataset.
        """
        path = Path(self.path).absolute()
        run = run_file(config, ingested, queries, path, candidates=True)
        return {"run": run, "deduped": dedupe(config, ingested)}

    def load(self, prepared: dict[str, Artifact], seed: int) -> RunLookup:
        return RunLookup(prepared, self.k)
