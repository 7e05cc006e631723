"""Find near-duplicates by MinHash: one signature per text, LSH bands for candidate pairs, connected components.

Signatures, and how they are split into bands, come from datasketch. Its index is a dictionary in one process; here a
band is an array of 8-byte keys that a worker sorts, and signatures stay in memory-mapped files.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.copies.contained import duplicates
from gradret.store.atomic import atomic
from gradret.store.mirror import fetched
from gradret.store.results import Result
from gradret.text import pieces
from gradret.work.shards import run_step

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from gradret.config.resources import Workers
    from gradret.store.artifacts import Draft

__all__ = ["near_copies", "shingles"]

_WORDS = 5
_VALUES = 128
_PAIRS_PER_BLOCK = 1 << 16


def near_copies(draft: Draft, files: Sequence[Path], threshold: float, workers: Workers) -> pa.Table:
    """Return DUPLICATES among the texts of ``files``; the smallest doc_id of each group is kept.

    Two texts are near-duplicates if at least ``threshold`` of their signatures' 128 values agree. This share
    estimates the Jaccard similarity of their shingles with a standard error of at most 0.045. Pairs that share a
    text form one group, so two texts of a group may be less similar. A pair at the threshold becomes a candidate
    with a probability of at least 0.95; below a threshold of about 0.5, most pairs that share a shingle do.

    Args:
        draft: the stage's draft; steps are written under ``work/``.
        files: Parquet files of ``doc_id`` and normalised ``text``; all texts are different.
        threshold: above 0, at most 1.
        workers: number of workers, and what each takes.
    """
    bands, width = _bands(threshold)
    signed, linked = draft.path / "work" / "signed", draft.path / "work" / "linked"
    run_step(draft, "sign", files, functools.partial(_Signer, bands, width, signed), workers)
    signatures = _Signatures([_array_path(signed, path.stem) for path in files])
    keys = [_array_path(signed, f"{path.stem}.keys") for path in files]
    agreeing = math.ceil(threshold * _VALUES - 1e-9)
    load = functools.partial(_Linker, keys, signatures, agreeing, linked)
    run_step(draft, "link", range(bands), load, workers)
    return _groups(files, [_array_path(linked, str(band)) for band in range(bands)])


def shingles(text: str) -> set[str]:
    """Return all sequences of five words of a text; a shorter text is one shingle, which no other text has."""
    words = pieces(text)
    return {"".join(words[start : start + _WORDS]).strip() for start in range(max(1, len(words) - _WORDS + 1))}


def _bands(threshold: float) -> tuple[int, int]:
    """Return the number of bands of a signature, and of values per band."""
    from datasketch import MinHashLSH

    # A pair that shares no band is lost; a false candidate only costs a comparison. datasketch's default weights
    # would lose 60 % of the pairs at a threshold of 0.8. It needs two bands, so it does not accept a threshold of 1.
    cut = MinHashLSH(threshold=min(threshold, 0.95), num_perm=_VALUES, weights=(0.01, 0.99))
    return cut.b, cut.r


class _Signer:
    """Computes the signatures of a file's texts, ``(texts, 128)``, and their keys per band, ``(bands, texts)``."""

    def __init__(self, bands: int, width: int, folder: Path) -> None:
        self.bands, self.width, self.folder = bands, width, folder

    def __call__(self, path: Path) -> Result:
        import numpy as np
        import pyarrow.parquet as pq
        from datasketch import MinHash

        texts = pq.read_table(fetched(path), columns=["text"])["text"].to_pylist()
        sets = ([shingle.encode() for shingle in shingles(text)] for text in texts)
        # The default scheme may change, and with it the copies that are found.
        hashes = MinHash.generator(sets, num_perm=_VALUES, seed=1, scheme="affine32")
        signatures = np.empty((len(texts), _VALUES), np.uint32)
        for row, signature in enumerate(hashes):
            signatures[row] = signature.hashvalues
        # A random linear hash of the band's values. Different bands may collide; comparing the signatures then
        # rejects the pair.
        factors = np.random.Generator(np.random.PCG64(0)).integers(2**64, size=self.width, dtype=np.uint64)
        banded = signatures[:, : self.bands * self.width].reshape(len(texts), self.bands, self.width)
        keys = np.stack([banded[:, band].astype(np.uint64) @ factors for band in range(self.bands)])
        _save(_array_path(self.folder, f"{path.stem}.keys"), keys)
        _save(_array_path(self.folder, path.stem), signatures)
        return Result({}, len(texts), len(texts))


class _Signatures:
    """Signatures of all texts, by row, in files that are memory-mapped on first use."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    @functools.cached_property
    def files(self) -> list[np.ndarray]:
        import numpy as np

        return [np.load(fetched(path), mmap_mode="r") for path in self.paths]

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the signatures of ``rows``, ``(len(rows), 128)``."""
        import numpy as np

        starts = np.cumsum([0, *(len(file) for file in self.files)])
        files = np.searchsorted(starts, rows, side="right") - 1
        taken = np.empty((len(rows), _VALUES), np.uint32)
        for number in np.unique(files):
            in_file = files == number
            taken[in_file] = self.files[number][rows[in_file] - starts[number]]
        return taken


class _Linker:
    """Confirms a band's candidate pairs; writes rows, and the smallest row that each is linked to."""

    def __init__(self, keys: list[Path], signatures: _Signatures, agreeing: int, folder: Path) -> None:
        self.keys, self.signatures, self.agreeing, self.folder = keys, signatures, agreeing, folder

    def __call__(self, band: int) -> Result:
        import numpy as np

        keys = np.concatenate([np.load(fetched(path), mmap_mode="r")[band] for path in self.keys])
        smallest = np.arange(len(keys))
        for one, two in _candidates(keys):
            apart = smallest[one] != smallest[two]
            pairs = np.stack([one[apart], two[apart]])
            agree = (self.signatures.take(pairs[0]) == self.signatures.take(pairs[1])).sum(axis=1)
            smallest = _merge(smallest, *pairs[:, agree >= self.agreeing])
        linked = np.flatnonzero(smallest != np.arange(len(keys)))
        _save(_array_path(self.folder, str(band)), np.stack([linked, smallest[linked]]))
        return Result({}, len(keys), len(keys))


def _candidates(keys: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield all pairs of rows with the same key in blocks: first neighbours in key order, then rows two apart."""
    import numpy as np

    order = np.argsort(keys, kind="stable")
    starts, ordered = np.arange(len(keys)), keys[order]
    for distance in itertools.count(1):
        starts = starts[starts + distance < len(keys)]
        starts = starts[ordered[starts] == ordered[starts + distance]]
        if not len(starts):
            return
        for first in range(0, len(starts), _PAIRS_PER_BLOCK):
            block = starts[first : first + _PAIRS_PER_BLOCK]
            yield order[block], order[block + distance]


def _merge(smallest: np.ndarray, one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Return the smallest row of each row's group after merging the groups of rows ``one`` and ``two`` pairwise."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = np.concatenate([smallest[one], smallest[two]])
    rows, nodes = np.unique(ends, return_inverse=True)
    edges = (np.ones(len(one), bool), (nodes[: len(one)], nodes[len(one) :]))
    _, group = connected_components(coo_array(edges, shape=(len(rows), len(rows))), directed=False)
    _, first = np.unique(group, return_index=True)
    moved = np.arange(len(smallest))
    moved[rows] = rows[first[group]]
    joined: np.ndarray = moved[smallest]
    return joined


def _groups(files: Sequence[Path], linked: list[Path]) -> pa.Table:
    """Return DUPLICATES of the groups formed by the links of all bands."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids = pa.chunked_array(
        [pq.read_table(fetched(path), columns=["doc_id"])["doc_id"].combine_chunks() for path in files]
    )
    one, two = np.concatenate([np.load(fetched(path)) for path in linked], axis=1)
    smallest = _merge(np.arange(len(ids)), one, two)
    rows = np.unique(np.concatenate([one, two]))
    members = pa.table({"group": smallest[rows], "doc_id": ids.take(rows)}).sort_by(
        [("group", "ascending"), ("doc_id", "ascending")]
    )
    group, doc_id = members["group"].to_numpy(), members["doc_id"]
    _, first, of = np.unique(group, return_index=True, return_inverse=True)
    copies = np.setdiff1d(np.arange(len(group)), first)
    return duplicates(doc_id.take(copies), doc_id.take(first[of[copies]]), "near")


def _array_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.npy"


def _save(path: Path, array: np.ndarray) -> None:
    """Write an array atomically."""
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as draft, draft.open("wb") as file:
        np.save(file, array)
