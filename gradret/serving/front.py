"""Answer HTTP requests: the page, its search, and what is served. Everything that is no page is JSON."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradret.serving.access import Access
from gradret.serving.page import page
from gradret.serving.rates import Rates
from gradret.serving.refused import Refused
from gradret.serving.wanted import Wanted, wanted

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["Front", "Rules"]

_SECONDS = 10.0
"""Longest search."""
_METHODS = {"/": ("GET",), "/health": ("GET",), "/about": ("GET",), "/search": ("GET", "POST")}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_log = logging.getLogger("ray.serve")


@dataclass(frozen=True)
class Rules:
    """Who may ask, and how often."""

    host: str
    """Where the server listens."""
    token: bytes | None
    """Digest of the token that requests must carry."""
    client_rate: float
    """Requests a second of one client."""
    total_rate: float
    """Requests a second of all clients."""


class Front:
    """Answers requests.

    Args:
        rules: who may ask.
        about: what is served, as ``gradret.serving.searcher.about`` returns it.
        search: the search; it raises TimeoutError or ``Refused`` if it is too busy.
    """

    def __init__(
        self, rules: Rules, about: Mapping[str, Any], search: Callable[[Wanted], Awaitable[dict[str, Any]]]
    ) -> None:
        self.access = Access(rules.host, rules.token)
        self.rates = Rates(rules.client_rate, rules.total_rate)
        self.about, self.search = about, search
        self.page, self.policy = page()

    async def answer(self, request: Request) -> Response:
        """Return the response; an error is JSON with ``error``, ``expected`` and ``came``."""
        from starlette.responses import JSONResponse

        try:
            response = await self._answer(request)
        except Refused as refused:
            response = JSONResponse(refused.body, refused.status, refused.headers)
        except Exception:
            # Without the request, whose query is the user's.
            _log.exception("gradret serve: a request failed")
            response = JSONResponse({"error": "internal error", "expected": "an answer", "came": "none"}, 500)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    async def _answer(self, request: Request) -> Response:
        from starlette.responses import HTMLResponse, JSONResponse

        self.access.check_origin(request)
        self.rates.count(request.client.host if request.client else "")
        path = request.url.path
        if path not in _METHODS:
            raise Refused(404, "no such page", ", ".join(_METHODS), path)
        if request.method not in _METHODS[path]:
            allowed = ", ".join(_METHODS[path])
            raise Refused(405, "wrong method", allowed, request.method, {"Allow": allowed})
        # The page and /health tell nothing of the run.
        if path == "/":
            return HTMLResponse(self.page, headers={"Content-Security-Policy": self.policy})
        if path == "/health":
            return JSONResponse({"status": "ok", "token": self.access.token is not None})
        self.access.check_token(request)
        return JSONResponse(self.about if path == "/about" else await self._found(request))

    async def _found(self, request: Request) -> dict[str, Any]:
        asked = await wanted(request, self.about["systems"])
        try:
            systems = await asyncio.wait_for(self.search(asked), _SECONDS)
        except TimeoutError as error:
            raise Refused(504, "the search took too long", f"at most {_SECONDS:g} s", "more") from error
        return {"query": asked.query, "top": asked.top, "systems": systems}
