"""Turn documents or queries into VECTORS with a MODEL; what mine, label, index and search share."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gradret.artifacts import Artifact, Draft, make, read_shard
from gradret.errors import StageError
from gradret.models import open_model
from gradret.session import cores
from gradret.stages._map import Pool, Result, map_shards, split_rows
from gradret.text import passage

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from sentence_transformers import SentenceTransformer

    from gradret.config import Config

__all__ = ["encode", "encode_texts", "load_model"]

_QUERIES_A_SHARD = 4000


def encode(config: Config, model: Artifact, texts: Artifact, table: Literal["docs", "queries"]) -> Artifact:
    """VECTORS of all rows of ``table``: documents as title and text, queries as their text.

    Prompts and lengths of either kind are the model's own.

    Raises:
        StageError: the model gave a vector that is not finite; names the row.
    """
    body = functools.partial(_encode, config, model, texts, table)
    inputs = {"model": model, "texts": texts}
    return make("encode", config.storage_path, module=__name__, settings={"table": table}, inputs=inputs, body=body)


def _encode(config: Config, model: Artifact, texts: Artifact, table: Literal["docs", "queries"], draft: Draft) -> None:
    shards = texts.shards(table)
    if table == "queries":
        shards = split_rows(draft, texts.table(table), table, _QUERIES_A_SHARD)
    resources = config.encode.resources
    folder, trusted = model.path / "model", _trusts(config)
    load = functools.partial(_Encoder, folder, table, resources.threads, trust_remote_code=trusted)
    total = sum(_rows(path) for path in shards)
    pool = Pool(actors=resources.actors, gpus=resources.gpus)
    map_shards(draft, shards, load, pool=pool, total=total, unit=table)


def _rows(path: Path) -> int:
    import pyarrow.parquet as pq

    rows: int = pq.read_metadata(path).num_rows
    return rows


def _trusts(config: Config) -> bool:
    """The config lets a model run code of its own; base has refused one that needs it without leave."""
    encoders = (config.train.encoder, getattr(config.label.teacher, "encoder", None))
    return any(getattr(encoder, "trust_remote_code", False) for encoder in encoders)


def load_model(folder: Path, threads: int = 0, *, trust_remote_code: bool = False) -> SentenceTransformer:
    """The sentence-transformers model in ``folder``, on the GPU if Ray gave this process one."""
    import torch

    torch.set_num_threads(threads or cores())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return open_model(folder, trust_remote_code=trust_remote_code, device=device)


def encode_texts(model: SentenceTransformer, texts: list[str], table: Literal["docs", "queries"]) -> np.ndarray:
    """``(len(texts), dimension)`` in float32, with the model's own prompt and length for that kind of text."""
    import numpy as np

    encode = model.encode_query if table == "queries" else model.encode_document
    # A static encoder pads nothing: bigger batches only save it work a batch.
    size = 1024 if type(model[0]).__name__ == "StaticEmbedding" else 32
    vectors: np.ndarray = encode(texts, batch_size=size, show_progress_bar=False, convert_to_numpy=True)
    return vectors.astype(np.float32).reshape(len(texts), model.get_embedding_dimension() or 0)


class _Encoder:
    def __init__(
        self, folder: Path, table: Literal["docs", "queries"], threads: int, *, trust_remote_code: bool
    ) -> None:
        self.model, self.table = load_model(folder, threads, trust_remote_code=trust_remote_code), table

    def __call__(self, path: Path) -> Result:
        import numpy as np
        import pyarrow as pa

        rows = read_shard(path, self.table)
        ids, texts = _texts(rows, self.table)
        vectors = encode_texts(self.model, texts, self.table)
        broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(broken):
            raise StageError(f"the model gave a vector that is not finite for {self.table} {ids[broken[0]]!r}")
        column = pa.FixedSizeListArray.from_arrays(vectors.ravel(), vectors.shape[1]).cast(pa.list_(pa.float32()))
        table = pa.table({"id": pa.array(ids, pa.string()), "vector": column})
        return Result({"vectors": table}, len(ids), len(ids))


def _texts(rows: pa.Table, table: str) -> tuple[list[str], list[str]]:
    if table == "queries":
        return rows["query_id"].to_pylist(), rows["text"].to_pylist()
    columns = rows["title"].to_pylist(), rows["text"].to_pylist()
    return rows["doc_id"].to_pylist(), [passage(title, text) for title, text in zip(*columns, strict=True)]
