"""Draw random numbers by hash: a draw depends on its seed and id, not on the order or number of other draws."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["draw", "generator"]


def draw(*parts: object) -> int:
    """Return a number from 0 to 2**64 - 1 for the parts of a key, such as a purpose, the seed and an id."""
    return int.from_bytes(_digest(parts), "big")


def generator(*parts: object) -> np.random.Generator:
    """Return a random number generator for the parts of a key, for more than one draw."""
    import numpy as np

    return np.random.Generator(np.random.PCG64(int.from_bytes(_digest(parts), "little")))


def _digest(parts: tuple[object, ...]) -> bytes:
    return hashlib.sha256(":".join(map(str, parts)).encode()).digest()[:8]
