"""Search a run and show what was found: snippets with the query's words, and what moved against the base model."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gradret.commands.lookup import HYBRID, SYSTEMS, Lookup
from gradret.commands.lookup_text import excerpt
from gradret.progress import printable
from gradret.serving.documents import Documents
from gradret.store.run_folder import run_folder

__all__ = ["Searcher", "about", "systems_of"]

_DEPTH = 100
"""Documents of the base model among which a document's place before training is looked for."""
_MARKED = re.compile("\0(.*?)\0")


def systems_of(run: str | Path) -> list[str]:
    """The systems of a finished run that can be searched, the default first."""
    lineage = json.loads((run_folder(run) / "lineage.json").read_text(encoding="utf-8"))
    return [name for name in (*SYSTEMS, HYBRID) if f"search.{name}" in lineage]


def about(run: str | Path) -> dict[str, Any]:
    """What is served: the run's name, its model, its documents and its measures.

    Raises:
        ConfigError: the folder is not a finished run.
    """
    from gradret.finished import FinishedRun

    finished = FinishedRun(run)
    base = finished.artifact("base").manifest
    encoder = base["settings"]["encoder"]
    return {
        "run": finished.metrics["name"],
        "model": {"encoder": encoder["name"], "model": encoder.get("model"), "dimension": base["notes"]["dimension"]},
        "documents": finished.artifact("ingest").counts["rows_out"],
        "test_queries": finished.metrics["queries"],
        "systems": systems_of(run),
        "metrics": finished.metrics["systems"],
    }


class Searcher:
    """A finished run, opened for many queries; one process holds one.

    Raises:
        GradretError: those of ``gradret.commands.lookup.Lookup``.
    """

    def __init__(self, run: str | Path) -> None:
        self.lookup = Lookup(run, systems_of(run))
        self.documents = Documents(self.lookup.docs)
        self.lookup.rank("warm up")  # opens the indexes

    def search(self, query: str, systems: Sequence[str], top: int) -> dict[str, list[dict[str, Any]]]:
        """Return each system's ``top`` documents: rank, score, doc_id, title, text, highlights; see docs/serve.md.

        With ``base`` and others, each document has its rank by ``base`` too, None if that is above ``_DEPTH``.
        """
        compared = "base" in systems and len(systems) > 1
        deep = self.lookup.rank(query, max(top, _DEPTH) if compared else top, systems)
        document = self.lookup.document
        before = {document(doc_id): rank for rank, (doc_id, _) in enumerate(deep["base"], 1)} if compared else {}
        rankings = {name: ranking[:top] for name, ranking in deep.items()}
        docs = self.documents.get({doc_id for ranking in rankings.values() for doc_id, _ in ranking})
        shown = {doc_id: _shown(doc, query) | {"doc_id": document(doc_id)} for doc_id, doc in docs.items()}
        return {
            name: [
                {"rank": rank, "score": score, **shown[doc_id]}
                | ({"base_rank": before.get(document(doc_id))} if compared else {})
                for rank, (doc_id, score) in enumerate(ranking, 1)
            ]
            for name, ranking in rankings.items()
        }


def _shown(doc: dict[str, str], query: str) -> dict[str, Any]:
    """A document's id and title, and its best passage; highlights are the spans of its words of the query."""
    marked = excerpt(printable(" ".join(doc["text"].split())), query)
    spans: list[tuple[int, int]] = []
    for mark in _MARKED.finditer(marked):
        start = mark.start() - 2 * len(spans)  # without the marks before it
        spans.append((start, start + len(mark[1])))
    text = marked.replace("\0", "")
    return {"doc_id": doc["doc_id"], "title": printable(doc["title"]), "text": text, "highlights": spans}
