"""Encode documents or queries with a MODEL: VECTORS. Shared by mine, label, index and search.

Texts are tokenised once, sorted by length, and batched up to a budget of padded tokens; the model's own modules do
the rest, as in sentence-transformers' ``encode``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gradret.errors import StageError
from gradret.models.inference import BATCH_TOKENS, Lanes, assigned_device, pack, token_batches
from gradret.models.locate import open_model
from gradret.models.static import StaticModel, read_static
from gradret.stages.base import title
from gradret.store.artifacts import Artifact, Draft, make, read_shard, shard_metadata
from gradret.store.results import Result
from gradret.text import passage
from gradret.work.session import cores
from gradret.work.shards import map_shards, one_per_node, split_rows

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

    from gradret.config.run import Config

    Model = SentenceTransformer | StaticModel

__all__ = ["encode", "encode_texts", "load_model"]

Table = Literal["docs", "queries"]
Compute = Literal["bfloat16", "float32"]
Features = dict[str, Any]

_QUERIES_A_SHARD = 4000
_PIECE_WORK = 4 * 10**11
"""Rows of a piece times bytes of the model: about a minute on two cores."""
_MIN_PIECE = 256
_TASKS: dict[Table, str] = {"queries": "query", "docs": "document"}
_STATIC_TEXTS = 1024
"""Batch size, in texts, of a static encoder, which does not pad."""
_PADDED = {"input_ids", "attention_mask", "token_type_ids"}


def encode(config: Config, model: Artifact, texts: Artifact, table: Table) -> Artifact:
    """Write VECTORS of all rows of ``table``: documents as title and text, queries as text.

    Prompts and maximum lengths come from the model. A killed run loses at most the piece of a shard that each
    worker was encoding.

    Raises:
        StageError: the model returned a vector that is not finite, or too large for ``encode.precision``; names the
            row.
    """
    body = functools.partial(_encode, config, model, texts, table)
    inputs = {"model": model, "texts": texts}
    settings = {"table": table, "precision": config.encode.precision, "compute": config.encode.computed_in}
    about = f"{table}, {title(model)}"
    return make(
        "encode", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body, about=about
    )


def _encode(config: Config, model: Artifact, texts: Artifact, table: Table, draft: Draft) -> None:
    shards = texts.shards(table)
    if table == "queries":
        shards = split_rows(draft, texts.table(table), table, _QUERIES_A_SHARD)
    resources, folder = config.encode.resources, model.path / "model"
    pieces = _pieces(shards, model.size("model", ".safetensors"))
    load = functools.partial(
        _Encoder,
        folder,
        table,
        config.encode.precision,
        config.encode.computed_in,
        resources.threads,
        # base has refused a model that needs remote code without permission.
        trust_remote_code=model.manifest["notes"].get("trust_remote_code", False),
    )
    total = sum(piece.rows for piece in pieces)
    map_shards(draft, pieces, load, workers=one_per_node(resources), total=total, unit=table)


@dataclass(frozen=True)
class _Piece:
    """``rows`` rows of a shard, from ``start``."""

    path: Path
    start: int
    rows: int


def _pieces(shards: list[Path], model_bytes: int) -> list[_Piece]:
    """Cut shards into pieces small enough to lose; the cuts do not depend on the number of workers."""
    most = max(_MIN_PIECE, _PIECE_WORK // max(1, model_bytes))
    pieces = []
    for path in shards:
        rows = shard_metadata(path).num_rows
        count = max(1, math.ceil(rows / most))
        bounds = [rows * number // count for number in range(count + 1)]
        pieces += [_Piece(path, start, end - start) for start, end in pairwise(bounds)]
    return pieces


def load_model(folder: Path, threads: int = 0, *, trust_remote_code: bool = False) -> Model:
    """Load the sentence-transformers model in ``folder``, on the GPU if Ray assigned one to this process."""
    import torch

    torch.set_num_threads(threads or cores())
    if static := read_static(folder):
        return static
    model = open_model(folder, trust_remote_code=trust_remote_code, device=assigned_device())
    pack(model)
    return model


def encode_texts(
    model: Model, texts: list[str], table: Table, threads: int = 0, compute: Compute = "float32"
) -> np.ndarray:
    """Encode texts as ``encode_document`` or ``encode_query`` does, up to rounding.

    Args:
        model: what ``load_model`` returned.
        texts: documents or queries, without prompts.
        table: which of the two.
        threads: CPU threads; 0 uses all cores of the machine.
        compute: ``bfloat16`` runs the model under autocast.

    Returns:
        ``(len(texts), dimension)``, float32.
    """
    import torch

    if isinstance(model, StaticModel):
        return _encode_static(model, texts, threads)
    task, device = _TASKS[table], model.device
    prompt = model.prompts.get(task)
    prepare = functools.partial(model.preprocess, prompt=prompt, task=task)

    def run(batch: tuple[np.ndarray, Features]) -> tuple[np.ndarray, np.ndarray]:
        rows, features = batch
        placed = {name: value.to(device) if torch.is_tensor(value) else value for name, value in features.items()}
        # Autocast is a state of the thread, and each lane is one.
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=compute == "bfloat16"):
            vectors = model(placed, task=task)["sentence_embedding"][:, : model.truncate_dim]
            return rows, vectors.float().cpu().numpy()

    model.eval()
    if _is_static(model):
        batches = _static_batches(model.tokenizer, texts, prompt or "")
    elif texts and _is_padded(prepare(["a"])):
        batches = _padded_batches(prepare, texts, BATCH_TOKENS[device.type])
    else:
        with torch.autocast(device.type, torch.bfloat16, enabled=compute == "bfloat16"):
            return _encode_whole(model, texts, table)
    encoded = Lanes(threads, device.type, alone=_keeps_state(model)).map(run, batches)
    return _in_order(encoded, len(texts), encoded[0][1].shape[1] if encoded else model.get_embedding_dimension() or 0)


def _encode_static(model: StaticModel, texts: list[str], threads: int) -> np.ndarray:
    import torch

    device = assigned_device()
    bags = model.bags(device)

    def run(batch: tuple[np.ndarray, Features]) -> tuple[np.ndarray, np.ndarray]:
        rows, features = batch
        with torch.inference_mode():
            return rows, bags(features["input_ids"].to(device), features["offsets"].to(device)).cpu().numpy()

    encoded = Lanes(threads, device).map(run, _static_batches(model.tokenizer, texts))
    return _in_order(encoded, len(texts), model.vectors.shape[1])


def _in_order(encoded: list[tuple[np.ndarray, np.ndarray]], count: int, width: int) -> np.ndarray:
    """The vectors of all batches, each at its text's place."""
    import numpy as np

    vectors = np.empty((count, width), np.float32)
    for rows, part in encoded:
        vectors[rows] = part
    return vectors


def _encode_whole(model: SentenceTransformer, texts: list[str], table: Table) -> np.ndarray:
    """Encode with sentence-transformers itself, for modules whose features cannot be sliced into batches here."""
    import numpy as np

    encode = model.encode_query if table == "queries" else model.encode_document
    vectors: np.ndarray = encode(texts, show_progress_bar=False, convert_to_numpy=True)
    return vectors.astype(np.float32).reshape(len(texts), -1 if texts else model.get_embedding_dimension() or 0)


def _keeps_state(model: SentenceTransformer) -> bool:
    """Whether a batch may change the model: remote code is unknown, and these RoPE types update on long input."""
    return any(
        type(module).__module__.startswith("transformers_modules")
        or getattr(module, "rope_type", None) in ("dynamic", "longrope")
        for module in model.modules()
    )


def _is_static(model: SentenceTransformer) -> bool:
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    return type(model[0]) is StaticEmbedding


def _static_batches(tokenizer: Tokenizer, texts: list[str], prompt: str = "") -> Iterator[tuple[np.ndarray, Features]]:
    """The batches of ``StaticEmbedding.preprocess``, tokenised without character offsets, which is faster."""
    import numpy as np
    import torch

    for start in range(0, len(texts), _STATIC_TEXTS):
        part = [prompt + text for text in texts[start : start + _STATIC_TEXTS]]
        rows = [encoding.ids for encoding in tokenizer.encode_batch_fast(part, add_special_tokens=False)]
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        ids = np.fromiter(chain.from_iterable(rows), np.int64, lengths.sum())
        offsets = torch.from_numpy(lengths.cumsum() - lengths)
        yield np.arange(start, start + len(part)), {"input_ids": torch.from_numpy(ids), "offsets": offsets}


def _is_padded(features: Features) -> bool:
    """Whether the features are padded token rows and nothing else, so that rows and columns can be sliced."""
    import torch

    tensors = {name for name, value in features.items() if torch.is_tensor(value)}
    return "attention_mask" in tensors and tensors <= _PADDED


def _padded_batches(
    prepare: Callable[[list[str]], Features], texts: list[str], budget: int
) -> Iterator[tuple[np.ndarray, Features]]:
    """Positions in ``texts`` and their features, padded to the longest text of the batch."""
    import numpy as np
    import torch

    # Sort by characters first: texts that are tokenised together are padded together.
    order = np.argsort([-len(text) for text in texts], kind="stable")
    size = budget // 4
    for part in (order[start : start + size] for start in range(0, len(order), size)):
        features = prepare([texts[row] for row in part])
        padded = {name: features.pop(name) for name in _PADDED & set(features)}
        if not padded["attention_mask"].shape[1]:  # texts without a token
            padded = {name: torch.nn.functional.pad(value, (0, 1)) for name, value in padded.items()}
        mask = padded["attention_mask"]
        left = bool((mask[:, -1] > mask[:, 0]).any())
        lengths = mask.sum(1).clamp(min=1).numpy()
        for batch in token_batches(lengths, budget):
            longest = int(lengths[batch].max())
            columns = slice(-longest, None) if left else slice(longest)
            yield part[batch], features | {name: value[batch, columns] for name, value in padded.items()}


class _Encoder:
    def __init__(
        self,
        folder: Path,
        table: Table,
        precision: Literal["float16", "float32"],
        compute: Compute,
        threads: int,
        *,
        trust_remote_code: bool,
    ) -> None:
        self.model = load_model(folder, threads, trust_remote_code=trust_remote_code)
        self.table, self.precision, self.compute, self.threads = table, precision, compute, threads

    def __call__(self, piece: _Piece) -> Result:
        import pyarrow as pa

        rows = read_shard(piece.path, self.table).slice(piece.start, piece.rows)
        ids, texts = _texts(rows, self.table)
        encoded = encode_texts(self.model, texts, self.table, self.threads, self.compute)
        vectors = self._to_precision(encoded, ids)
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
        table = pa.table({"id": pa.array(ids, pa.string()), "vector": column.cast(pa.list_(column.type.value_type))})
        return Result({"vectors": table}, len(ids), len(ids))

    def _to_precision(self, vectors: np.ndarray, ids: list[str]) -> np.ndarray:
        import numpy as np

        with np.errstate(over="ignore"):
            stored = vectors.astype(self.precision)
        for matrix, why in ((vectors, "is not finite"), (stored, "is too large for encode.precision=float16")):
            broken = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
            if len(broken):
                raise StageError(f"the model returned a vector that {why} for {self.table} {ids[broken[0]]!r}")
        return stored


def _texts(rows: pa.Table, table: str) -> tuple[list[str], list[str]]:
    if table == "queries":
        return rows["query_id"].to_pylist(), rows["text"].to_pylist()
    columns = rows["title"].to_pylist(), rows["text"].to_pylist()
    return rows["doc_id"].to_pylist(), [passage(title, text) for title, text in zip(*columns, strict=True)]
