"""Search a finished run's indexes for queries asked one at a time, in this process, without Ray."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.errors import ConfigError, StageError, StorageError
from gradret.passage_ids import document_id
from gradret.store.artifacts import Artifact, opened
from gradret.store.run_folder import check_model, run_folder
from gradret.urls import shown

if TYPE_CHECKING:
    import numpy as np

    from gradret.search.shards import Shards

__all__ = ["HYBRID", "SYSTEMS", "Lookup"]

SYSTEMS = ("tuned", "base", "bm25")
HYBRID = "hybrid"
"""The tuned model and BM25 fused, which not every run has."""

Hit = dict[str, Any]
Ranked = list[tuple[str, float]]


class Lookup:
    """The indexes of a finished run, opened once for many queries.

    Args:
        run: the folder of a finished run, ``STORAGE/runs/NAME``, or its URL.
        systems: some of ``SYSTEMS`` and ``HYBRID``.

    Raises:
        ConfigError: the folder is not a finished run.
        StageError: the index was built with another model than the run's.
        StorageError: a file of the run, or of an artifact of it, is missing or damaged.
    """

    def __init__(self, run: str | Path, systems: Sequence[str] = SYSTEMS[:1]) -> None:
        run = run_folder(run)
        self.lineage = _Lineage(run)
        self.cut = "cut" in self.lineage.entries
        self.docs = self.lineage.opened("cut" if self.cut else "ingest")
        self.names = list(systems)
        self.fusion = _Fusion(self.lineage.opened(f"search.{HYBRID}")) if HYBRID in systems else None
        single = [*systems, *(self.fusion.systems if self.fusion else ())]
        self.systems = {system: self._open(run, system) for system in dict.fromkeys(single) if system != HYBRID}

    def search(self, query: str, k: int = 10) -> dict[str, list[Hit]]:
        """Return each system's ``k`` best documents: rank, score, doc_id, title, text.

        If documents are cut into passages, the text is that of the best passage, and ``passage_id`` its id.

        Raises:
            ConfigError: the query is empty.
        """
        rankings = self.rank(query, k)
        texts = self._texts({doc_id for ranking in rankings.values() for doc_id, _ in ranking})
        return {
            name: [
                {"rank": rank, "score": score, **self._named(doc_id), **texts[doc_id]}
                for rank, (doc_id, score) in enumerate(ranking, 1)
            ]
            for name, ranking in rankings.items()
        }

    def rank(self, query: str, k: int = 10, systems: Sequence[str] = ()) -> dict[str, Ranked]:
        """Return the ids and scores of each system's ``k`` best documents; none if a system knows no word of the query.

        If documents are cut, each is represented by its best passage; ``document`` tells which document that is.

        Args:
            query: any text.
            k: documents per system.
            systems: some of those that were opened; empty for all.

        Raises:
            ConfigError: the query is empty.
        """
        if not query.strip():
            raise ConfigError("the query is empty")
        systems = systems or self.names
        fused = self.fusion.systems if self.fusion and HYBRID in systems else ()
        deep = max(k, self.fusion.k) if self.fusion else k
        rankings = {
            name: self._find(system, query, deep if name in fused else k)
            for name, system in self.systems.items()
            if name in systems or name in fused
        }
        if self.fusion and fused:
            rankings[HYBRID] = self._fused(self.fusion, [rankings[name] for name in fused])
        return {name: rankings[name][:k] for name in systems}

    def document(self, doc_id: str) -> str:
        """Return the id of the document for which ``rank`` returned ``doc_id``."""
        return document_id(doc_id) if self.cut else doc_id

    def _named(self, doc_id: str) -> Hit:
        return {"doc_id": document_id(doc_id), "passage_id": doc_id} if self.cut else {"doc_id": doc_id}

    def _find(self, system: _Bm25 | _Dense, query: str, k: int) -> Ranked:
        """The ``k`` best documents; if these are cut, the best passage of each."""
        depth, total = k, self.docs.counts["rows_out"]
        while self.cut:
            depth = min(2 * depth, total)
            passages = system.search(query, depth)
            best = {document_id(passage_id): (passage_id, score) for passage_id, score in reversed(passages)}
            ordered = sorted(sorted(best.items(), reverse=True), key=lambda item: -item[1][1])
            first = [hit for _, hit in ordered[:k]]
            # Passages that were not found score at most like the last that was.
            if len(passages) < depth or depth == total or (len(first) == k and first[-1][1] > passages[-1][1]):
                return first
        return system.search(query, k)

    def _fused(self, fusion: _Fusion, rankings: Sequence[Ranked]) -> Ranked:
        """The fused ranking of documents; if these are cut, with the passage of the first ranking that has one."""
        passages = {self.document(found): found for ranking in reversed(rankings) for found, _ in ranking}
        documents = [[(self.document(found), score) for found, score in ranking] for ranking in rankings]
        return [(passages[doc_id], score) for doc_id, score in fusion(documents)]

    def _open(self, run: Path, system: str) -> _Bm25 | _Dense:
        if system == "bm25":
            return _Bm25(self.lineage.input("search.bm25", "bm25"))
        model = self.lineage.opened("train" if system == "tuned" else "base")
        index = self.lineage.opened(f"index.{system}")
        searched = self.lineage.searched(f"search.{system}")
        if system == "tuned":
            _check_model(run, index, model)
        folder = run / "model" if system == "tuned" else model.file("model")
        return _Dense(folder, model, index, searched.manifest["settings"])

    def _texts(self, doc_ids: set[str]) -> dict[str, dict[str, str]]:
        import pyarrow as pa
        import pyarrow.compute as pc

        texts: dict[str, dict[str, str]] = {}
        wanted = pa.array(sorted(doc_ids), pa.string())
        for rows in self.docs.batches("docs"):
            for row in rows.filter(pc.is_in(rows["doc_id"], value_set=wanted)).to_pylist():
                texts[row["doc_id"]] = {"title": row["title"] or "", "text": " ".join(row["text"].split())}
        return texts


class _Lineage:
    """Opens the artifacts that a run's lineage names."""

    def __init__(self, run: Path) -> None:
        self.run = run
        try:
            self.entries = json.loads((run / "lineage.json").read_text(encoding="utf-8"))
            self.path("search.tuned")
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{shown(run)} is not the folder of a finished run ({error}); expected STORAGE/runs/NAME"
            ) from error

    def path(self, name: str) -> Path:
        return self.run.parent.parent / str(self.entries[name]["path"])

    def opened(self, name: str) -> Artifact:
        if name not in self.entries:
            raise ConfigError(f"{self.run} has no {name}; the run was made with fewer systems")
        return opened(self.path(name))

    def searched(self, name: str) -> Artifact:
        """The RUN of the search ``name``: of passages, if documents are cut."""
        run = self.opened(name)
        return self._referred(run, "run") if run.stage == "max_passage" else run

    def input(self, name: str, key: str) -> Artifact:
        """The input ``key`` of the search ``name``."""
        return self._referred(self.searched(name), key)

    def _referred(self, artifact: Artifact, key: str) -> Artifact:
        reference: str = artifact.manifest["inputs"][key]
        return opened(artifact.path.parents[1] / reference)


class _Dense:
    """A model with its index; ``settings`` are those that the run searched the index with."""

    def __init__(self, folder: Path, model: Artifact, index: Artifact, settings: Mapping[str, Any]) -> None:
        from gradret.models.static import read_static

        self.folder, self.index, self.settings = folder, index, settings
        self.static = read_static(self.folder)
        self.trusted = bool(model.manifest["notes"]["trust_remote_code"])
        self.model: Any = None
        self.opened: tuple[int, Shards] | None = None

    def search(self, query: str, k: int) -> Ranked:
        from gradret.search.codes import cut
        from gradret.search.runs import run_table
        from gradret.search.shards import merge_candidates

        if self.static and not self.static.knows(query):
            return []
        notes = self.index.manifest["notes"]
        vector = cut(self._encode(query), notes["dimension"], normalize=notes.get("normalize", False))
        # The candidates of an approximate index depend on their number: take as many as the run took.
        depth = max(k, self.settings["k"])
        shards = self._shards(depth)
        depth = k if shards.exact else depth
        ((rows, places),) = merge_candidates([shards.search(vector, depth)], depth, exact=shards.exact)
        scores, doc_ids = shards.score(vector, rows, places)
        best = run_table([""], [(doc_ids.to_pylist(), scores)], k).to_pylist()
        return [(row["doc_id"], row["score"]) for row in best]

    def _shards(self, k: int) -> Shards:
        """The index, opened by the first search; again if a search needs more documents."""
        from gradret.search.shards import Shards

        if not self.opened or self.opened[0] < k:
            numbers = range(self.index.manifest["notes"]["shards"])
            self.opened = k, Shards(self.index.path / "shards", numbers, self.settings["parameters"], k)
        return self.opened[1]

    def _encode(self, query: str) -> np.ndarray:
        if self.static:
            return self.static.encode([query])
        from gradret.stages.encode import encode_texts, load_model

        self.model = self.model or load_model(self.folder, trust_remote_code=self.trusted)
        return encode_texts(self.model, [query], "queries")


class _Bm25:
    def __init__(self, built: Artifact) -> None:
        from gradret.search.bm25 import Bm25Index

        self.index = Bm25Index(built)

    def search(self, query: str, k: int) -> Ranked:
        ((doc_ids, scores),) = self.index.search([query], k)
        return list(zip(doc_ids, scores.tolist(), strict=True))


class _Fusion:
    """Fuses rankings as the run did (``gradret.stages.hybrid``)."""

    def __init__(self, hybrid: Artifact) -> None:
        settings = hybrid.manifest["settings"]
        self.method, self.k, self.systems = settings["hybrid"], settings["k"], tuple(settings["systems"])

    def __call__(self, rankings: Sequence[Ranked]) -> Ranked:
        import numpy as np

        from gradret.search.runs import run_table
        from gradret.stages.hybrid import fused

        runs = []
        for ranking in rankings:
            doc_ids, scores = [doc_id for doc_id, _ in ranking], [score for _, score in ranking]
            runs.append(run_table([""], [(doc_ids, np.array(scores, np.float32))], self.k))
        best = fused([""], runs, self.method, self.k).to_pylist()
        return [(row["doc_id"], row["score"]) for row in best]


def _check_model(run: Path, index: Artifact, trained: Artifact) -> None:
    """Check the run's model, and that the index was built with it: vectors of two models cannot be compared."""
    mark = run / "model" / "fingerprint.txt"
    try:
        model = mark.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise StorageError(f"{run} is incomplete ({error}); run the command that made it again") from error
    check_model(run, trained.path)
    made_with = index.manifest["inputs"]["model"]
    if made_with.rpartition("/")[2] != model:
        raise StageError(
            f"the index {index.path} was built with {made_with}, but {run / 'model'} is {model}, whose vectors cannot "
            f"be compared with it; delete {run / 'model'} and run again"
        )
