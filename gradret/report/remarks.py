"""What the numbers alone do not say: test queries that nobody asked or that are few, and an untrained tuned model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradret.store.artifacts import Artifact

__all__ = ["FEW", "few", "remarks"]

# TREC's tracks judge about 50 topics so that systems can be told apart. With fewer, the interval of a mean is wide, and
# a test finds only large differences.
FEW = 50
"""Below this number of test queries, reports say that they are few."""


def remarks(queries: int, artifacts: Mapping[str, Artifact]) -> list[str]:
    """Sentences for the headline and the terminal.

    Args:
        queries: number of test queries on which systems were evaluated; 0 if none was.
        artifacts: the run's artifacts by name.
    """
    sentences = []
    if "queries" in artifacts and artifacts["queries"].stage == "held_out":
        sentences.append(
            "The test queries are generated: gradret wrote them about documents held out of training, and only the "
            "document that a query was written about is relevant. They show whether training helped, not how good the "
            "results are for people, and they favour BM25 where they repeat words of the document."
        )
    if "train" in artifacts and artifacts["train"].manifest["notes"].get("best_epoch") == 0:
        sentences.append("No epoch was better than the untrained model, so the tuned model has the untrained weights.")
    return [*sentences, *few({"": queries})]


def few(queries: Mapping[str, int]) -> list[str]:
    """A sentence if there are few test queries, else none.

    Args:
        queries: number of test queries by dataset; the only dataset may have no name.
    """
    numbers = {name: number for name, number in queries.items() if 0 < number < FEW}
    if not numbers:
        return []
    said = ", ".join(f"{number} of {name}" if name else str(number) for name, number in numbers.items())
    return [f"Few test queries ({said}): differences may be chance, and a test finds only large ones."]
