"""Choose FAISS factory strings, compute bytes per vector, set search parameters."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from gradret.errors import ConfigError

if TYPE_CHECKING:
    import faiss

__all__ = [
    "bytes_a_vector",
    "choose",
    "empty_index",
    "is_exact",
    "is_threaded",
    "lists",
    "misspelt",
    "reason",
    "set_parameters",
    "training_size",
]

EXACT_VECTORS = 1_000_000
"""Largest number of vectors for exact search by default: one core takes about 10 ms per query."""

# FAISS warns below 39 training vectors per list. A product quantizer uses up to 256 for each of its 256 centroids.
_PER_LIST, _FOR_CODES = 40, 1 << 16
_LIST_ID, _LINK = 8, 4


def is_exact(factory: str) -> bool:
    """Return whether a search compares the query with every vector as it is stored."""
    return factory in ("Flat", "int8")


def is_threaded(factory: str) -> bool:
    """Return whether adding vectors in parallel builds the same index; a graph's links depend on the order."""
    return not any(part.startswith("HNSW") for part in factory.split(","))


def misspelt(factory: str) -> str:
    """Return what is wrong with ``factory`` for any dimension; empty if nothing is."""
    import faiss

    if "NSG" in factory:
        return f"FAISS cannot build {factory} in parts; use HNSW32 for a graph index"
    if "IDMap" in factory:
        return f"{factory} sets its own ids, but gradret assigns them: remove IDMap"
    try:
        faiss.index_factory(3840, factory, faiss.METRIC_INNER_PRODUCT)  # a dimension with many divisors
    except RuntimeError as error:
        if "stoi" in str(error):  # std::stoi: more digits than an int holds
            return f"a number in {factory!r} is too large"
        if "could not parse" in str(error):
            return (
                f"FAISS does not accept {factory!r}; use for example Flat, SQfp16, HNSW32, IVF4096,SQ8 and "
                "OPQ48,IVF4096,PQ48x8"
            )
    except MemoryError:
        pass  # with the index's own dimension it may fit
    return ""


def empty_index(factory: str, dimension: int) -> faiss.Index:
    """Create an untrained index for inner products.

    Raises:
        ConfigError: FAISS rejects the factory string for this dimension.
    """
    import faiss

    try:
        return faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    except (RuntimeError, MemoryError) as error:
        raise ConfigError(
            f"index.factory={factory}: FAISS rejects it for vectors of dimension {dimension}: {reason(error)}"
        ) from error


def reason(error: Exception) -> str:
    """Return FAISS's error message without the location in its sources."""
    text = str(error).rpartition("Error: ")[2].strip()
    return re.sub(r"^Error in .* at \S+\.cpp:\d+: ", "", text)


def lists(index: faiss.Index) -> int:
    """Return the number of inverted lists; 0 if the index has none."""
    import faiss

    inner = faiss.try_extract_index_ivf(index)
    return int(inner.nlist) if inner is not None else 0


def training_size(index: faiss.Index, vectors: int) -> int:
    """Return how many of ``vectors`` to train the index on; 0 if it needs no training."""
    return 0 if index.is_trained else min(vectors, max(_FOR_CODES, _PER_LIST * lists(index)))


def bytes_a_vector(index: faiss.Index) -> float:
    """Return the bytes per vector in memory and on disk: code, id in a list, links of a graph."""
    import faiss

    index = _inner(index)
    if isinstance(index, faiss.IndexRefine):
        return bytes_a_vector(index.base_index) + bytes_a_vector(index.refine_index)
    if isinstance(index, faiss.IndexIVF):
        return float(index.code_size) + _LIST_ID
    if isinstance(index, faiss.IndexHNSW):
        _, lowest, both = faiss.vector_to_array(index.hnsw.cum_nneighbor_per_level)[:3].tolist()
        links = lowest + (both - lowest) / max(1, both - lowest - 1)  # on the lowest level, and on higher levels
        return bytes_a_vector(index.storage) + float(_LINK * links) + 12  # offset of its links, and its level
    return float(index.sa_code_size())


def choose(vectors: int, dimension: int, memory: int) -> tuple[str, str]:
    """Choose the least lossy factory string with fast search whose shards fit half of ``memory``, and say why.

    Args:
        vectors: number of vectors.
        dimension: their dimension.
        memory: bytes of memory of all nodes together.
    """
    limit, gib = memory / 2, f"half of {memory / 2**30:,.1f} GiB"
    exact = vectors * dimension * 4
    if vectors <= EXACT_VECTORS and exact <= limit:
        return "Flat", f"{vectors:,} vectors are few enough to compare every query with all of them"
    why = (
        f"{vectors:,} vectors are too many to compare every query with all of them"
        if vectors > EXACT_VECTORS
        else f"{exact / 2**30:,.1f} GiB of vectors are more than {gib}"
    )
    num_lists = _power_of_two(min(4 * math.sqrt(vectors), vectors / _PER_LIST))
    coarse = f"IVF{num_lists}_HNSW32" if num_lists > 1 << 15 else f"IVF{num_lists}"
    eight_bits = vectors * (dimension + _LIST_ID)
    if eight_bits <= limit:
        return f"{coarse},SQ8", f"{why}; at 8 bits per dimension they take {eight_bits / 2**30:,.1f} GiB, within {gib}"
    parts = [part for part in range(dimension // 8, 0, -1) if dimension % part == 0]
    fits = [part for part in parts if vectors * (part + _LIST_ID) <= limit]
    part = (fits or parts or [1])[0]
    return f"OPQ{part},{coarse},PQ{part}x8", f"{why}; at 8 bits per dimension they would exceed {gib}"


def _power_of_two(value: float) -> int:
    return int(2 ** round(math.log2(max(1.0, value))))


def set_parameters(index: faiss.Index, parameters: str, k: int, space: Any = None) -> str:
    """Set search parameters on top of gradret's defaults; return all that are set.

    FAISS's own defaults, one list and 16 candidates, have low recall.

    Args:
        index: an index of any type.
        parameters: such as ``nprobe=32``.
        k: results per query.
        space: FAISS's ``ParameterSpace``, or ``GpuParameterSpace``.

    Raises:
        ConfigError: the index has no such parameter.
    """
    import faiss

    wanted = {"nprobe": str(_nprobe(lists(index)))} if lists(index) else {}
    if isinstance(_inner(index), faiss.IndexHNSW):
        wanted["efSearch"] = str(max(64, 2 * k))
    wanted |= dict(part.split("=", 1) for part in parameters.split(",") if part)
    text = ",".join(f"{name}={value}" for name, value in wanted.items())
    if text:
        try:
            (space or faiss.ParameterSpace()).set_index_parameters(index, text)  # type: ignore[arg-type]
        except RuntimeError as error:
            kind = type(faiss.downcast_index(index)).__name__
            raise ConfigError(
                f"search.parameters={parameters}: {kind}, the type of the index, has no such parameter"
            ) from error
    return text


def _inner(index: faiss.Index) -> faiss.Index:
    import faiss

    index = faiss.downcast_index(index)
    return _inner(index.index) if isinstance(index, faiss.IndexPreTransform) else index


def _nprobe(number: int) -> int:
    """Return a 64th of the lists, at least 8 and at most 256."""
    return min(number, max(8, min(256, number // 64)))
