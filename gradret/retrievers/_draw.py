"""Draws that follow from seed and query alone, so that they do not depend on place or order."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["generator"]


def generator(seed: int, query_id: str) -> np.random.Generator:
    """A generator of random numbers for this query."""
    import numpy as np

    digest = hashlib.sha256(f"{seed}:{query_id}".encode()).digest()[:8]
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
