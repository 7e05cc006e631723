"""``gradret search RUN QUERY``: search a run's index for one query, in this process, without Ray."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gradret.errors import ConfigError, StageError, StorageError

__all__ = ["lookup", "trusted"]


def lookup(run: Path, query: str, k: int = 10) -> list[dict[str, Any]]:
    """The ``k`` best documents for ``query``: rank, score, doc_id, title, text.

    Args:
        run: the folder of a finished run, ``STORAGE/runs/NAME``.
        query: any text.
        k: number of documents.

    Raises:
        ConfigError: the folder is not a finished run, or the query is empty.
        StageError: the index was built with another model than the run's.
        StorageError: an artifact of the run is missing or damaged.
    """
    if not query.strip():
        raise ConfigError("the query is empty")
    try:
        lineage = json.loads((run / "lineage.json").read_text(encoding="utf-8"))
        index = _artifact(run, lineage, "index.tuned")
        docs = _artifact(run, lineage, "ingest") / "docs"
    except (FileNotFoundError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{run} is not the folder of a finished run ({error}); expected STORAGE/runs/NAME") from error
    try:
        _check_model(run, index)
        shards = int(json.loads((index / "manifest.json").read_text(encoding="utf-8"))["notes"]["shards"])
        parameters = str(_config(run, "search.parameters") or "")
        next((run / "model").iterdir())
    except (FileNotFoundError, StopIteration) as error:
        raise StorageError(f"{run} is incomplete ({error}); run again to recompute the missing part") from error
    from gradret.search.runs import run_table
    from gradret.search.shards import Shards, merge_candidates
    from gradret.stages.encode import encode_texts, load_model

    vector = encode_texts(load_model(run / "model", trust_remote_code=trusted(run)), [query], "queries")
    searcher = Shards(index / "shards", range(shards), parameters, k)
    ((rows, places),) = merge_candidates([searcher.search(vector, k)], k, exact=searcher.exact)
    scores, doc_ids = searcher.score(vector, rows, places)
    best = run_table([""], [(doc_ids.to_pylist(), scores)], k).to_pylist()
    texts = _texts(docs, {row["doc_id"] for row in best})
    return [
        {"rank": row["rank"], "score": row["score"], "doc_id": row["doc_id"], **texts[row["doc_id"]]} for row in best
    ]


def trusted(run: Path) -> bool:
    """Whether the run's config trusts the model's remote code."""
    return bool(_config(run, "train.encoder.trust_remote_code"))


def _config(run: Path, key: str) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.select(OmegaConf.load(run / "config.yaml"), key)


def _check_model(run: Path, index: Path) -> None:
    """Check that the index was built with the run's model: vectors of two models cannot be compared."""
    model = (run / "model" / "fingerprint.txt").read_text(encoding="utf-8").strip()
    made_with = json.loads((index / "manifest.json").read_text(encoding="utf-8"))["inputs"]["model"]
    if made_with.rpartition("/")[2] != model:
        raise StageError(
            f"the index {index} was built with {made_with}, but {run / 'model'} is {model}, whose vectors cannot be "
            f"compared with it; delete {run / 'model'} and run again"
        )


def _artifact(run: Path, lineage: dict[str, Any], name: str) -> Path:
    return run.parent.parent / str(lineage[name]["path"])


def _texts(folder: Path, doc_ids: set[str]) -> dict[str, dict[str, str]]:
    from gradret.store.artifacts import read_shard

    texts = {}
    for path in sorted(folder.glob("part-*.parquet")):
        for row in read_shard(path, "docs").to_pylist():
            if row["doc_id"] in doc_ids:
                texts[row["doc_id"]] = {"title": row["title"] or "", "text": " ".join(row["text"].split())}
    return texts
