"""A request that is refused: what is wrong, what was expected, what came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Refused"]

_SHOWN = 100
"""Most characters of what came that are repeated."""


class Refused(Exception):  # noqa: N818 - it is the answer to a request, and no fault of the server
    """The answer to a request that is not served."""

    def __init__(
        self, status: int, what: str, expected: str, came: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(what)
        self.status = status
        came = came if len(came) <= _SHOWN else f"{came[:_SHOWN]}..."
        self.body: dict[str, Any] = {"error": what, "expected": expected, "came": came}
        self.headers = dict(headers or {})
