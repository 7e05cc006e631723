"""The size of a document's vector in an index: how many dimensions, and how many bits each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeGuard, cast, get_args

from gradret.errors import ConfigError

__all__ = ["WHOLE", "Precision", "Size", "is_coded", "parse_size"]

Precision = Literal["float32", "int8", "binary"]
_BITS = {"float32": 32, "int8": 8, "binary": 1}


@dataclass(frozen=True)
class Size:
    """The first ``dimensions`` of a vector, in ``vectors``."""

    dimensions: int = 0
    """0 is all."""
    vectors: Precision = "float32"

    def __str__(self) -> str:
        return f"{self.dimensions or 'all'} {self.vectors}"

    def of(self, dimension: int) -> int:
        """The number of dimensions of a model's vectors, which have ``dimension``."""
        return min(self.dimensions or dimension, dimension)

    def width(self, dimension: int) -> int:
        """Bytes of a document's vector, for a model whose vectors have ``dimension``."""
        return -(-self.of(dimension) * _BITS[self.vectors] // 8)

    def check(self, dimension: int, key: str) -> None:
        """Check that a model's vectors, which have ``dimension``, have as many.

        Raises:
            ConfigError: they have fewer; names ``key``.
        """
        if dimension and self.dimensions > dimension:
            raise ConfigError(
                f"{key}: the model's vectors have {dimension} dimensions, so they cannot be cut to {self.dimensions}; "
                f"set at most {dimension}"
            )


WHOLE = Size()
"""What the model returns."""


def parse_size(text: str) -> Size:
    """Read a size such as ``128``, ``int8`` or ``128 int8``.

    Raises:
        ConfigError: it is none.
    """
    known = "|".join(get_args(Precision))
    found = re.fullmatch(rf"([1-9]\d{{0,6}})?\s*\b({known})?", text.strip())
    if not found or not text.strip():
        raise ConfigError(f"must be a number of dimensions, one of {known}, or both, as in 128 int8; got {text!r}")
    return Size(int(found[1] or 0), cast("Precision", found[2] or "float32"))


def is_coded(kind: str) -> TypeGuard[Literal["int8", "binary"]]:
    """Whether an index of this kind, a FAISS factory string or a precision, stores codes in place of vectors."""
    return kind in ("int8", "binary")
