"""Search all shards of an index: RUN.

Queries are read and results written in blocks, so memory holds a few blocks whatever the number of queries, and a
killed search resumes with the missing ones.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gradret.errors import ConfigError, GradretError, StageError
from gradret.progress import Progress
from gradret.search.recall import measure_index
from gradret.search.searcher import Searcher
from gradret.search.vectors import as_matrix
from gradret.stages.base import title
from gradret.stages.encode import encode
from gradret.store.artifacts import Artifact, Draft, make
from gradret.store.mirror import exists

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from gradret.config.run import Config, Search

__all__ = ["search_index"]

_QUERIES_A_BLOCK = 512


def search_index(
    stage: str,
    config: Config,
    index: Artifact,
    queries: Artifact,
    *,
    model: Artifact,
    k: int,
    split: str = "",
    measure: bool = False,
) -> Artifact:
    """Write RUN: the ``k`` best documents of each query, by float32 score descending, then doc_id descending.

    A document whose id is that of the query is left out if the dataset sets ``exclude_same_ids``.

    Args:
        stage: name of the artifact's stage.
        config: the run's config; ``search`` and ``encode`` apply.
        index: INDEX, built with ``model``.
        queries: QUERIES.
        model: MODEL that encodes the queries.
        k: number of documents per query.
        split: search only queries of this split; by default all.
        measure: note recall against exact search, latency and size (see ``gradret.search.recall``).

    Raises:
        ConfigError: the index was built with another model, or does not accept ``search.parameters``.
        DamagedError: a shard is missing or damaged; a run rebuilds it.
        StageError: an actor failed for another reason.
    """
    made_with = f"{model.stage}/{model.fingerprint}"
    if index.manifest["inputs"].get("model") != made_with:
        raise ConfigError(
            f"{stage}: the index {index.path} was built with model {index.manifest['inputs'].get('model')}, and cannot "
            f"be searched with {made_with}; build an index with that model"
        )
    vectors = encode(config, model, queries, "queries")
    inputs = {"index": index, "queries": queries, "vectors": vectors}
    settings = {
        "k": k,
        "split": split,
        "parameters": config.search.parameters,
        "exclude_same_ids": config.exclude_same_ids,
        "measure": measure,
        "seed": config.seed,
    }
    body = functools.partial(_search, inputs, config.search, settings)
    return make(
        stage, config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body, about=title(model)
    )


def _search(inputs: dict[str, Artifact], search: Search, settings: dict[str, Any], draft: Draft) -> None:
    from ray.exceptions import RayError

    index, query_ids = inputs["index"], _query_ids(inputs["queries"], settings["split"])
    searcher = Searcher(index, search, settings["k"], exclude_same_ids=settings["exclude_same_ids"])
    progress = Progress(f"{draft.stage} {draft.about}".rstrip(), len(query_ids), "queries")

    def todo() -> Iterator[tuple[int, pa.Array, np.ndarray]]:
        for number, block in enumerate(_blocks(inputs["vectors"], query_ids)):
            if exists(draft.path / "run" / f"part-{number:05d}.parquet"):
                progress.skip(len(block[0]))
            else:
                yield number, *block

    try:
        for number, run in searcher.run(todo()):
            draft.write("run", run.table, number)
            progress.add(run.queries)
        if settings["measure"] and len(query_ids):
            draft.notes["index"] = measure_index(searcher, inputs, query_ids, settings["seed"])
    except RayError as error:
        cause = getattr(error, "cause", None)
        raise (cause if isinstance(cause, GradretError) else StageError(f"{draft.stage}: {error}")) from error
    finally:
        progress.close()
        searcher.close()
    draft.count(queries=len(query_ids), shards=index.manifest["notes"]["shards"])


def _query_ids(queries: Artifact, split: str) -> pa.Array:
    import pyarrow.compute as pc

    rows = queries.table("queries", ["query_id", "split"])
    if split:
        rows = rows.filter(pc.equal(rows["split"], split))
    return rows["query_id"].combine_chunks()


def _blocks(vectors: Artifact, query_ids: pa.Array) -> Iterator[tuple[pa.Array, np.ndarray]]:
    """Blocks of query_ids and their vectors, in stored order, which is by query_id."""
    import pyarrow.compute as pc

    for rows in vectors.batches("vectors"):
        wanted = rows.filter(pc.is_in(rows["id"], value_set=query_ids))
        for start in range(0, wanted.num_rows, _QUERIES_A_BLOCK):
            block = wanted.slice(start, _QUERIES_A_BLOCK)
            yield block["id"].combine_chunks(), as_matrix(block)
