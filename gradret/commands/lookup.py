"""``gradret search RUN QUERY``: search a run's index for one query, in this process, without Ray."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gradret.errors import ConfigError, StageError, StorageError
from gradret.store.artifacts import Artifact, opened
from gradret.store.run_folder import check_model

__all__ = ["lookup"]

_READ = ("ingest", "train", "index.tuned", "search.tuned")


def lookup(run: Path, query: str, k: int = 10) -> list[dict[str, Any]]:
    """The ``k`` best documents for ``query``: rank, score, doc_id, title, text.

    Args:
        run: the folder of a finished run, ``STORAGE/runs/NAME``.
        query: any text.
        k: number of documents.

    Raises:
        ConfigError: the folder is not a finished run, or the query is empty.
        StageError: the index was built with another model than the run's.
        StorageError: a file of the run, or of an artifact of it, is missing or damaged.
    """
    if not query.strip():
        raise ConfigError("the query is empty")
    try:
        lineage = json.loads((run / "lineage.json").read_text(encoding="utf-8"))
        folders = [run.parent.parent / str(lineage[name]["path"]) for name in _READ]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{run} is not the folder of a finished run ({error}); expected STORAGE/runs/NAME") from error
    ingested, trained, index, searched = map(opened, folders)
    _check_model(run, index, trained)
    trusted, parameters = trained.manifest["notes"]["trust_remote_code"], searched.manifest["settings"]["parameters"]
    from gradret.search.runs import run_table
    from gradret.search.shards import Shards, merge_candidates
    from gradret.stages.encode import encode_texts, load_model

    vector = encode_texts(load_model(run / "model", trust_remote_code=trusted), [query], "queries")
    searcher = Shards(index.path / "shards", range(index.manifest["notes"]["shards"]), parameters, k)
    ((rows, places),) = merge_candidates([searcher.search(vector, k)], k, exact=searcher.exact)
    scores, doc_ids = searcher.score(vector, rows, places)
    best = run_table([""], [(doc_ids.to_pylist(), scores)], k).to_pylist()
    texts = _texts(ingested, {row["doc_id"] for row in best})
    return [
        {"rank": row["rank"], "score": row["score"], "doc_id": row["doc_id"], **texts[row["doc_id"]]} for row in best
    ]


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


def _texts(ingested: Artifact, doc_ids: set[str]) -> dict[str, dict[str, str]]:
    texts = {}
    for rows in ingested.batches("docs"):
        for row in rows.to_pylist():
            if row["doc_id"] in doc_ids:
                texts[row["doc_id"]] = {"title": row["title"] or "", "text": " ".join(row["text"].split())}
    return texts
