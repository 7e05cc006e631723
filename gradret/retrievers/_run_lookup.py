"""Take candidates from a RUN, without copies of other documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gradret.copies.verbatim import Originals
from gradret.retrievers import ranked
from gradret.search.runs import RunReader

if TYPE_CHECKING:
    from gradret.retrievers import Ranked
    from gradret.store.artifacts import Artifact

__all__ = ["RunLookup"]


class RunLookup:
    """Looks up the first ``k`` documents of queries in the artifact ``run`` that are no copies by ``deduped``."""

    def __init__(self, prepared: Mapping[str, Artifact], k: int) -> None:
        self.run, self.originals, self.k = RunReader(prepared["run"]), Originals(prepared.get("deduped")), k

    def __call__(self, queries: Sequence[dict[str, Any]]) -> list[Ranked]:
        found = self.run.ranked([query["query_id"] for query in queries])
        return [ranked(self.originals.first((doc_id for doc_id, _ in run), self.k)) for run in found]
