"""Human training queries, unchanged: nothing is generated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from gradret.config.fields import at_least, require
from gradret.draw import draw
from gradret.generators import Generator
from gradret.stages.training_queries import training_queries
from gradret.store.artifacts import read_shard
from gradret.store.results import Result, Worker

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["Human"]


@dataclass(frozen=True)
class Human(Generator):
    """The dataset's training queries, for training lists that people or an LLM label.

    They have no source document; add the retriever ``positives`` to train with the judgments. With
    ``positives`` and an LLM's labels, these are the data of the multi-positive paper (2602.12727); its use
    of MS MARCO is verified in its code, its use of NQ only in secondary sources.
    """

    takes_queries: ClassVar[bool] = True

    max_queries: int = 0
    """Maximum number of queries, sampled by a hash of seed and query_id; 0 takes all."""

    def __post_init__(self) -> None:
        require(max_queries=at_least(0, self.max_queries))

    def prepare(self, config: Config, ingested: Artifact, sample: Artifact) -> dict[str, Artifact]:
        """Read the training queries.

        Raises:
            DataError: the dataset has no training queries.
        """
        return {"queries": training_queries(config)}

    def drawn(self, prepared: dict[str, Artifact], seed: int) -> pa.Table:
        """Return the sampled rows of QUERIES."""
        import pyarrow as pa
        import pyarrow.compute as pc

        rows = prepared["queries"].table("queries")
        query_ids = rows["query_id"].to_pylist()
        order = sorted(query_ids, key=lambda query_id: draw("human", seed, query_id))
        chosen = pa.array(order[: self.max_queries or None], pa.string())
        return rows.filter(pc.is_in(rows["query_id"], value_set=chosen))

    def load(self, prepared: dict[str, Artifact], sampled: int, seed: int) -> Worker:
        return _copy_queries


def _copy_queries(path: Path) -> Result:
    queries = read_shard(path, "queries")
    return Result({"queries": queries}, queries.num_rows, queries.num_rows)
