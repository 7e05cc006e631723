"""Read a search request: ``q``, ``system`` and ``top``, from the address or from a JSON body."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from gradret.serving.refused import Refused

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["MOST_BYTES", "MOST_CHARACTERS", "MOST_DOCUMENTS", "Wanted", "wanted"]

MOST_BYTES = 1 << 16
"""Of a request's body."""
MOST_CHARACTERS = 2_000
"""Of a query."""
MOST_DOCUMENTS = 100
"""Of a system."""
_BODY_SECONDS = 5.0
_KEYS = ("q", "system", "top")


class Wanted(NamedTuple):
    """What to search."""

    query: str
    systems: tuple[str, ...]
    top: int


async def wanted(request: Request, systems: Sequence[str]) -> Wanted:
    """Read a request.

    Args:
        request: GET with ``q``, ``system`` (several times, or separated by commas) and ``top``; or POST with a JSON
            object of the same keys, whose ``system`` is a text or a list.
        systems: the systems that can be searched; the first is the default.

    Raises:
        Refused: something is missing, wrong or too long.
    """
    values = await _object(request) if request.method == "POST" else _parameters(request)
    if unknown := [key for key in values if key not in _KEYS]:
        raise Refused(400, "unknown parameter", ", ".join(_KEYS), ", ".join(unknown))
    return Wanted(_query(values.get("q", "")), _systems(values.get("system", systems[0]), systems), _top(values))


def _parameters(request: Request) -> dict[str, Any]:
    values: dict[str, Any] = dict(request.query_params)
    if "system" in values:
        values["system"] = [name for text in request.query_params.getlist("system") for name in text.split(",")]
    top = values.get("top", "")
    if top.isascii() and top.isdecimal():
        values["top"] = int(top[:9])
    return values


async def _object(request: Request) -> dict[str, Any]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(415, "wrong content type", "application/json", kind or "none")
    try:
        body = await asyncio.wait_for(_body(request), _BODY_SECONDS)
        value = json.loads(body)
    except TimeoutError as error:
        raise Refused(408, "the body did not arrive", f"all of it within {_BODY_SECONDS:g} s", "a part") from error
    except (ValueError, RecursionError) as error:
        raise Refused(400, "the body is not JSON", "a JSON object with q, system, top", str(error)) from error
    if not isinstance(value, dict):
        raise Refused(400, "the body is no object", "a JSON object with q, system, top", type(value).__name__)
    return value


async def _body(request: Request) -> bytes:
    """The body, which is not read further than the limit."""
    length = request.headers.get("content-length", "")
    body = bytearray()
    if not (length.isdecimal() and int(length[:9]) > MOST_BYTES):
        async for part in request.stream():
            body += part
            if len(body) > MOST_BYTES:
                break
        else:
            return bytes(body)
    raise Refused(413, "the body is too long", f"at most {MOST_BYTES:,} bytes", f"{length or 'more'} bytes")


def _query(query: object) -> str:
    if not isinstance(query, str) or not query.strip():
        raise Refused(400, "q: no query", "a text", "an empty one" if isinstance(query, str) else type(query).__name__)
    if len(query) > MOST_CHARACTERS:
        raise Refused(413, "q: too long", f"at most {MOST_CHARACTERS:,} characters", f"{len(query):,} characters")
    if any("\ud800" <= character <= "\udfff" for character in query):
        raise Refused(400, "q: not Unicode", "a text", "an unpaired surrogate")
    return query


def _systems(names: object, known: Sequence[str]) -> tuple[str, ...]:
    listed = [names] if isinstance(names, str) else names
    if not isinstance(listed, list) or not listed or any(name not in known for name in listed):
        raise Refused(400, "system: unknown", f"one or more of {', '.join(known)}", json.dumps(names))
    return tuple(dict.fromkeys(listed))


def _top(values: Mapping[str, Any]) -> int:
    top = values.get("top", 10)
    if type(top) is not int or not 1 <= top <= MOST_DOCUMENTS:
        raise Refused(400, "top: out of range", f"a number from 1 to {MOST_DOCUMENTS}", json.dumps(top))
    return top
