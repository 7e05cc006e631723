"""Compare smaller vectors of a model with the whole: fewer dimensions, fewer bits, or both.

Each size's index is built from the stored vectors in a temporary folder, searched as ``search`` would, and removed;
nothing is encoded again. Notes hold a row for each size, the whole first: float32, all dimensions, exact search.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.config.sizes import WHOLE, Size, is_coded
from gradret.measures import compute_metrics, parse_measures
from gradret.search.codes import SAMPLE, cut, fit
from gradret.search.recall import recall
from gradret.search.runs import ranked
from gradret.search.shard_files import write_shard_files
from gradret.search.shards import Shards, merge_candidates
from gradret.search.vector_files import VectorFiles
from gradret.search.vectors import as_matrix, dimension
from gradret.stages.base import title
from gradret.stages.encode import encode
from gradret.stages.evaluate import read_judgments
from gradret.store.artifacts import Artifact, Draft, make, read_shard
from gradret.store.results import Result
from gradret.work.shards import run_step

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from gradret.config.run import Config

__all__ = ["smaller"]

_DEPTH = 100
_QUERIES_A_BLOCK = 512


def smaller(config: Config, model: Artifact, ingested: Artifact, queries: Artifact) -> Artifact:
    """Note, for the whole vectors and each of ``search.smaller``, bytes, nDCG@10, and overlap with the whole's top 100.

    The overlap is the share of the whole's first 100 documents that are among the size's first 100.

    Args:
        config: the run's config; ``search.smaller`` applies.
        model: MODEL.
        ingested: DOCS.
        queries: QUERIES and QRELS.

    Raises:
        ConfigError: the model's vectors have fewer dimensions than a size.
    """
    tables = {"docs": encode(config, model, ingested, "docs"), "asked": encode(config, model, queries, "queries")}
    sizes = [size for size in config.search.smaller_sizes if size != WHOLE]
    for size in sizes:
        size.check(dimension(tables["docs"]), "search.smaller")
    inputs = {"model": model, "queries": queries, **tables}
    settings = {"sizes": sizes, "exclude_same_ids": config.dataset.exclude_same_ids, "seed": config.seed}
    body = functools.partial(_smaller, inputs, settings)
    about = title(model)
    return make(
        "smaller", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body, about=about
    )


def _smaller(inputs: Mapping[str, Artifact], settings: dict[str, Any], draft: Draft) -> None:
    sizes = [WHOLE, *settings["sizes"]]
    found = run_step(draft, "sizes", sizes, functools.partial(_Sizer, inputs, settings))
    runs = [read_shard(found.path / "run" / f"part-{number:05d}.parquet", "run") for number in range(len(sizes))]
    full, documents = dimension(inputs["docs"]), inputs["docs"].counts["rows_out"]
    draft.notes["sizes"] = [
        {
            "dimensions": size.of(full),
            "vectors": size.vectors,
            "bytes_a_document": (width := size.width(full)),
            "bytes": width * documents,
            f"overlap@{_DEPTH}": recall(run, runs[0], _DEPTH),
            "nDCG@10": _ndcg(inputs["queries"], run),
        }
        for size, run in zip(sizes, runs, strict=True)
    ]
    draft.count(documents=documents, sizes=len(sizes))


def _ndcg(queries: Artifact, run: pa.Table) -> float | None:
    """The mean nDCG@10; None if there are no judgments."""
    import pyarrow.compute as pc

    rows, _ = compute_metrics(parse_measures(["nDCG@10"]), read_judgments(queries), [run], "smaller")
    mean = pc.mean(rows.filter(pc.equal(rows["measure"], "nDCG@10"))["value"]).as_py()
    return None if mean is None else float(mean)


@dataclass
class _Sizer:
    """Builds the index of a size and searches it with the judged queries."""

    inputs: Mapping[str, Artifact]
    settings: Mapping[str, Any]

    def __call__(self, size: Size) -> Result:
        import pyarrow as pa

        files = VectorFiles.of(self.inputs["docs"], self.inputs["model"], size)
        with tempfile.TemporaryDirectory(prefix="gradret-smaller-") as folder:
            self._write(files, size, Path(folder))
            shards = Shards(Path(folder), range(len(files.sizes)))
            parts = [self._search(shards, ids, vectors) for ids, vectors in self._queries(files)]
        queries = sum(len(ids) for ids, _ in parts)
        return Result({"run": pa.concat_tables(table for _, table in parts)}, queries, queries)

    def _write(self, files: VectorFiles, size: Size, folder: Path) -> None:
        """Write a shard for each file of VECTORS."""
        codec, start = None, 0
        if is_coded(size.vectors):
            codec = fit(size.vectors, files.sample(min(files.total, SAMPLE), self.settings["seed"]))
        for number, rows in enumerate(files.sizes.values()):
            batches = files.batches(start, start + rows)
            write_shard_files(folder, number, batches, (rows, files.dimension), codec=codec)
            start += rows

    def _queries(self, files: VectorFiles) -> Iterator[tuple[pa.Array, np.ndarray]]:
        """Ids and vectors of the judged queries, in blocks."""
        import pyarrow as pa
        import pyarrow.compute as pc

        judged = pa.array(sorted(read_judgments(self.inputs["queries"])), pa.string())
        for rows in self.inputs["asked"].batches("vectors"):
            wanted = rows.filter(pc.is_in(rows["id"], value_set=judged))
            for start in range(0, wanted.num_rows, _QUERIES_A_BLOCK):
                block = wanted.slice(start, _QUERIES_A_BLOCK)
                vectors = cut(as_matrix(block), files.dimension, normalize=files.normalize)
                yield block["id"].combine_chunks(), vectors

    def _search(self, shards: Shards, ids: pa.Array, vectors: np.ndarray) -> tuple[pa.Array, pa.Table]:
        excluded = self.settings["exclude_same_ids"]
        wanted = _DEPTH + excluded
        ((rows, places),) = merge_candidates([shards.search(vectors, wanted)], wanted, exact=shards.exact)
        scores, doc_ids = shards.score(vectors, rows, places)
        return ids, ranked(ids, rows, scores, doc_ids, _DEPTH, exclude_same_ids=excluded)
