"""Seeded vectors for index benchmarks: clusters of unequal size whose members differ in few directions.

A smaller corpus is a prefix of a larger one; queries are near documents.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

DIMENSION, CLUSTERS, SEED, BLOCK = 384, 4096, 0, 50_000


def vectors_of(size: int) -> Iterator[np.ndarray]:
    """Yield blocks of unit vectors, float32."""
    for number in range(-(-size // BLOCK)):
        yield _block(number)[: size - number * BLOCK]


def _block(number: int) -> np.ndarray:
    draw = np.random.default_rng([SEED, 1 + number])
    members = np.minimum(draw.zipf(1.3, BLOCK) - 1, draw.integers(CLUSTERS, size=BLOCK))
    return _unit(_centres()[members] + _noise(draw, BLOCK, 0.9))


def _centres() -> np.ndarray:
    return _unit(np.random.default_rng([SEED, 0]).standard_normal((CLUSTERS, DIMENSION), np.float32) * _scales())


def _noise(draw: np.random.Generator, number: int, length: float) -> np.ndarray:
    return length * _unit(draw.standard_normal((number, DIMENSION), np.float32) * _scales())


def _scales() -> np.ndarray:
    """Scale of the differences in each direction: large in a few directions, small in most."""
    places = np.random.default_rng(SEED).permutation(DIMENSION)
    return (1 / np.sqrt(1 + places / 24)).astype(np.float32)


def _unit(matrix: np.ndarray) -> np.ndarray:
    unit: np.ndarray = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    return unit


def query_vectors(size: int, number: int) -> np.ndarray:
    """Return queries near documents of the first block."""
    draw = np.random.default_rng([SEED, 1 << 20])
    near = _block(0)[draw.integers(min(size, BLOCK), size=number)]
    return _unit(near + _noise(draw, number, 0.6))
