"""What names a pair of query and document."""

from __future__ import annotations

import hashlib

__all__ = ["pair_id"]


def pair_id(query_id: str, doc_id: str) -> str:
    """A hash that names the pair."""
    return hashlib.sha1(f"{query_id}\0{doc_id}".encode(), usedforsecurity=False).hexdigest()[:16]
