"""Seeded mutations of a line with a JSON object."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

__all__ = ["OF_JSON"]

_JSON_VALUES = [
    "1", "-1", "1.0", "1.5", "1e19", "9" * 400, "9" * 5000, "NaN", "-Infinity", "true", "null", '""', '" "', "-0",
    '"\\ud800"', '"a\\u0000b"', '"a\\nb"', '"\\u2028"', '"1_0"', '"1.0"', '"\\u0661"', "[]", "{}", '["a"]', "01",
    "[" * 2000, "[" * 2000 + "]" * 2000, "[" * 50 + "]" * 50, '{"a": ' * 40 + "1" + "}" * 40, '"\\ud83d\\ude00"',
]  # fmt: skip
_JSON_VALUES += ['"\\q"', "'a'", "1e400", "0.1e1", "2147483648", "False", "undefined", '"d1"', '"q1"']


def _json_value(line: bytes, draw: random.Random) -> bytes:
    return _items(line, draw, lambda key, _value: [(key, draw.choice(_JSON_VALUES))])


def _json_drop(line: bytes, draw: random.Random) -> bytes:
    return _items(line, draw, lambda _key, _value: [])


def _json_again(line: bytes, draw: random.Random) -> bytes:
    return _items(line, draw, lambda key, value: [(key, value), (key, draw.choice(_JSON_VALUES))])


def _json_key(line: bytes, draw: random.Random) -> bytes:
    names = ["id", "ID", "_ID", "text", "title", "score", "query_id", "", "_id "]
    return _items(line, draw, lambda _key, value: [(draw.choice(names), value)])


def _json_whole(_line: bytes, draw: random.Random) -> bytes:
    return f"{draw.choice(_JSON_VALUES)}\n".encode()


def _json_syntax(line: bytes, draw: random.Random) -> bytes:
    old, new = draw.choice(
        [("{", ""), ("}", ""), ("}", ",}"), (":", "="), ('"', "'"), (",", ""), ("}", "}}"), ("}", "} x")]
    )
    return line.decode().replace(old, new, 1).encode()


def _items(line: bytes, draw: random.Random, change: Callable[[str, str], list[tuple[str, str]]]) -> bytes:
    """Replace one item of an object by what ``change`` returns, as JSON text."""
    items = [(key, json.dumps(value)) for key, value in json.loads(line).items()]
    place = draw.randrange(len(items))
    items[place : place + 1] = change(*items[place])
    return ("{" + ", ".join(f"{json.dumps(key)}: {value}" for key, value in items) + "}\n").encode()


OF_JSON = {
    "JSON value": _json_value, "JSON key dropped": _json_drop, "JSON key twice": _json_again, "JSON key": _json_key,
    "no JSON object": _json_whole, "JSON syntax": _json_syntax,
}  # fmt: skip
