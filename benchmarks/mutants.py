"""Small valid inputs of every kind, and seeded mutations of them.

A case is one file with one mutation. The same seed and number give the same case, so that a fault can be repeated.
"""

from __future__ import annotations

import bz2
import gzip
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks import mutants_config, mutants_parquet
from benchmarks.mutants_json import OF_JSON

__all__ = ["KINDS", "Case", "make_case"]

KINDS = ("corpus", "queries", "qrels", "judgments", "runs", "labels", "parquet", "config")
SEED = 20261129

Mutation = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Case:
    """A mutated file."""

    kind: str
    number: int
    mutation: str
    """Name of what was done to the valid file."""
    name: str
    """The file's name; its suffix names the format."""
    data: bytes
    table: str = ""
    """Of a Parquet file: docs, queries, qrels or labels."""
    overrides: tuple[str, ...] = ()
    """Of a config."""


def make_case(kind: str, number: int, seed: int = SEED) -> Case:
    """Return the case of a number."""
    draw = random.Random(f"{seed} {kind} {number}")  # noqa: S311 - not for secrets
    if kind == "config":
        mutation, data, overrides = mutants_config.mutated(draw)
        return Case(kind, number, mutation, "c.yaml", data, overrides=overrides)
    if kind == "parquet":
        mutation, table, data = mutants_parquet.mutated(draw)
        return Case(kind, number, mutation, "t.parquet", data, table=table)
    name, data = draw.choice(_files(kind))
    mutation = draw.choice(_mutations(name, number))
    data = _MUTATIONS[mutation](data, draw)
    suffix, pack = draw.choice(_PACKED)
    if suffix and (mutation in _OF_PACKED or draw.random() < 0.2):
        name, data = f"{name}{suffix}", pack(data)
        data = _OF_PACKED.get(mutation, _same)(data, draw)
    return Case(kind, number, mutation, name, data)


# Valid files

_IDS = [("q1", "d1"), ("q1", "d2"), ("q2", "d\u00e9 3"), ("17", "44"), ("q3", "d1")]
_DOCS = [
    ("d1", "Wings", "A wing in a slipstream gains lift."),
    ("d2", "", "caf\u00e9 \u65e5\u672c"),
    ("d3", "Title", ""),
]
_DOCS += [(f"m{number}", "", f"text {number}") for number in range(4)]
_QUERIES = [
    ("q1", "lift of a wing"),
    ("q2", "when does a shell buckle"),
    ("17", "\u0939\u093f\u0928\u094d\u0926\u0940"),
]


def _files(kind: str) -> list[tuple[str, bytes]]:
    judged = [(query, doc, grade) for (query, doc), grade in zip(_IDS, (3, 0, 1, 2, -1), strict=True)]
    trec = "".join(f"{q} 0 {d.replace(' ', '')} {grade}\n" for q, d, grade in judged)
    beir = _lines([("query-id", "corpus-id", "score"), *judged])
    return {
        "corpus": [
            ("c.jsonl", _json([dict(zip(("_id", "title", "text"), doc, strict=True)) for doc in _DOCS])),
            ("c.tsv", _lines([(key, text or title) for key, title, text in _DOCS])),
            ("c.tsv", _lines([(key, "http://x", title, text) for key, title, text in _DOCS])),
            ("c.tsv", _lines([("docid", "title", "text"), *_DOCS])),
        ],
        "queries": [
            ("q.jsonl", _json([{"_id": key, "text": text, "metadata": {}} for key, text in _QUERIES])),
            ("q.tsv", _lines(_QUERIES)),
            ("q.tsv", _lines([("qid", "query"), *_QUERIES])),
        ],
        "qrels": [
            ("t.tsv", beir),
            ("t.txt", trec.encode()),
            ("t.jsonl", _json([{"query-id": q, "corpus-id": d, "score": grade} for q, d, grade in judged])),
        ],
        "judgments": [("t.tsv", beir), ("t.txt", trec.encode())],
        "runs": [
            ("r.trec", "".join(f"{q} Q0 {d.replace(' ', '')} 1 {s / 2} run\n" for q, d, s in judged).encode()),
            ("r.trec", _lines([(q, "Q0", d, 1, s, "run") for q, d, s in judged])),
        ],
        "labels": [
            ("l.tsv", beir),
            ("l.txt", trec.encode()),
            ("l.jsonl", _json([{"query_id": q, "doc_id": d, "score": grade / 4} for q, d, grade in judged])),
        ],
    }[kind]


def _lines(rows: Sequence[Sequence[object]]) -> bytes:
    return "".join("\t".join(map(str, row)) + "\n" for row in rows).encode()


def _json(rows: Sequence[dict[str, object]]) -> bytes:
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows).encode()


# Mutations of any text

_ODD_BYTES = [
    b"\0", b"\r", b"\xff", b"\xc3", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xc2\x85", b"\xc2\xa0", b"\xe3\x80\x80",
]  # fmt: skip
_ODD_BYTES += [b"\x1c", b"\x0b", b"\t", b" ", b"\n", b"\r\n", b'"', b"\\", b",", b"#", b"\xed\xa0\x80"]


def _same(data: bytes, _draw: random.Random) -> bytes:
    return data


def _flip(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.randint(1, 8)):
        changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _cut_out(data: bytes, draw: random.Random) -> bytes:
    start, end = sorted(draw.randrange(len(data) + 1) for _ in range(2))
    return data[:start] + data[end:]


def _repeat(data: bytes, draw: random.Random) -> bytes:
    start, end = sorted(draw.randrange(len(data) + 1) for _ in range(2))
    return data[:end] + data[start:]


def _truncate(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def _insert(data: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(data) + 1)
    return data[:place] + draw.choice(_ODD_BYTES) + data[place:]


def _encode(data: bytes, draw: random.Random) -> bytes:
    text = data.decode()
    encoding = draw.choice(["utf-16", "utf-16-le", "utf-8-sig", "latin-1", "cp1252", "utf-7", "utf-32"])
    return text.encode(encoding, "replace")


def _line_ends(data: bytes, draw: random.Random) -> bytes:
    return data.replace(b"\n", draw.choice([b"\r\n", b"\r", b"\n\n", b"\n\r", b" \n", b"\t\n", "\u2028".encode(), b""]))


# Mutations of lines


def _drop_line(lines: list[bytes], draw: random.Random) -> None:
    del lines[draw.randrange(len(lines))]


def _same_line(lines: list[bytes], draw: random.Random) -> None:
    lines.insert(draw.randrange(len(lines) + 1), draw.choice(lines))


def _swap_lines(lines: list[bytes], draw: random.Random) -> None:
    draw.shuffle(lines)


def _blank_line(lines: list[bytes], draw: random.Random) -> None:
    blank = draw.choice([b"\n", b" \n", b"\t\n", b"\r\n", b"\xc2\xa0\n", b"\x1c\n", b"\0\n", b"\xef\xbb\xbf\n"])
    lines.insert(draw.choice([0, 0, draw.randrange(len(lines) + 1)]), blank)


def _cut_line(lines: list[bytes], draw: random.Random) -> None:
    number = draw.randrange(len(lines))
    lines[number] = lines[number][: draw.randrange(len(lines[number]))] + b"\n"


def _join_lines(lines: list[bytes], draw: random.Random) -> None:
    number = draw.randrange(len(lines))
    lines[number] = lines[number].rstrip(b"\n")


_HEADERS = [
    "query-id\tcorpus-id\tscore",
    "qid\tdocid\trelevance",
    "corpus-id\tquery-id\tscore",
    "score\tquery-id\tcorpus-id",
]
_HEADERS += [
    "qid 0 docid rel", "id\ttext", "text\tid", "docid\turl\ttitle\tbody", "_id\ttitle\ttext", "title\ttext", "# x",
    "Query ID\tDoc ID\tGrade", "query_id,doc_id,score", "qid\tquery", "query\tqid\textra",
    "query-id\tquery-id\tscore",
]  # fmt: skip


def _header(lines: list[bytes], draw: random.Random) -> None:
    lines.insert(draw.choice([0, 0, 0, draw.randrange(len(lines))]), f"{draw.choice(_HEADERS)}\n".encode())


# Mutations of a field

VALUES = ["", " ", "0", "-1", "1.0", "1.", "01", "+1", "1.5", "1e0", "1e19", "-1e19", "1e400", "9" * 400, "9" * 5000]
VALUES += [
    "2147483647", "2147483648", "NaN", "nan", "inf", "-Infinity", "1_0", "0x1", "\u0661", "\uff11", "\u00b2", "1,5",
    "high", " 1", "1 ", "\u00a01", "a\u00a0b", "a\u3000b", "a\x85b", "a\u2028b", "a\0b", "\x1c", "true", "null",
    "q1", "d1", "x" * 300,
]  # fmt: skip
VALUES += ["-0", "-0.0", "0.0000", "1e-400", "16777217", "9007199254740993", ".5", ".", "+", "--1", "1e", "1.0e0", "1-"]


def _field(line: bytes, draw: random.Random) -> bytes:
    return _columns(line, lambda columns: columns.__setitem__(draw.randrange(len(columns)), draw.choice(VALUES)))


def _value(line: bytes, draw: random.Random) -> bytes:
    return _columns(line, lambda columns: columns.__setitem__(-1 if len(columns) < 6 else 4, draw.choice(VALUES)))


def _fewer(line: bytes, draw: random.Random) -> bytes:
    return _columns(line, lambda columns: columns.pop(draw.randrange(len(columns))))


def _more(line: bytes, draw: random.Random) -> bytes:
    return _columns(line, lambda columns: columns.insert(draw.randrange(len(columns) + 1), draw.choice(VALUES)))


def _separator(line: bytes, draw: random.Random) -> bytes:
    old, new = (
        draw.choice([b"\t", b" "]),
        draw.choice([b" ", b"\t", b",", b";", b"  ", b"\t\t", b" \t", b"\xc2\xa0", b"\x0b"]),
    )
    return line.replace(old, new, draw.choice([1, -1]))


def _columns(line: bytes, change: Callable[[list[str]], object]) -> bytes:
    text = line.decode().rstrip("\n")
    separator = "\t" if "\t" in text else " "
    columns = text.split(separator)
    change(columns)
    return f"{separator.join(columns)}\n".encode()


# Mutations of a compressed file


def _garbage(data: bytes, draw: random.Random) -> bytes:
    return data + draw.choice([b"\0", b"\0" * 20, b"garbage", data])


def _empty(_data: bytes, _draw: random.Random) -> bytes:
    return b""


_PACKED: list[tuple[str, Callable[[bytes], bytes]]] = [
    (".gz", gzip.compress), (".bz2", bz2.compress), (".gz", lambda data: data), (".bz2", lambda data: data)
]  # fmt: skip


def _on_lines(change: Callable[[list[bytes], random.Random], None]) -> Mutation:
    def mutate(data: bytes, draw: random.Random) -> bytes:
        lines = data.splitlines(keepends=True)
        change(lines, draw)
        return b"".join(lines)

    return mutate


def _on_a_line(change: Callable[[bytes, random.Random], bytes]) -> Mutation:
    def mutate(data: bytes, draw: random.Random) -> bytes:
        lines = data.split(b"\n")[:-1]
        place = draw.randrange(len(lines))
        lines[place] = change(lines[place] + b"\n", draw).removesuffix(b"\n")
        return b"\n".join(lines) + b"\n"

    return mutate


_OF_TEXT = {
    "bytes flipped": _flip, "bytes cut out": _cut_out, "bytes repeated": _repeat, "truncated": _truncate,
    "byte inserted": _insert, "encoding": _encode, "line ends": _line_ends, "unchanged": _same,
}  # fmt: skip
_OF_LINES = {
    "line dropped": _drop_line, "line repeated": _same_line, "lines shuffled": _swap_lines, "blank line": _blank_line,
    "line cut": _cut_line, "lines joined": _join_lines, "header": _header,
}  # fmt: skip
_OF_FIELDS = {
    "field": _field, "value": _value, "field dropped": _fewer, "field added": _more, "separator": _separator,
}  # fmt: skip
_OF_PACKED = {
    "compressed: truncated": _truncate, "compressed: flipped": _flip, "compressed: garbage after it": _garbage,
    "compressed: empty": _empty,
}  # fmt: skip
_MUTATIONS: dict[str, Mutation] = {
    **_OF_TEXT,
    **{name: _on_lines(change) for name, change in _OF_LINES.items()},
    **{name: _on_a_line(change) for name, change in (_OF_FIELDS | OF_JSON).items()},
    **dict.fromkeys(_OF_PACKED, _same),
}


def _mutations(name: str, number: int) -> list[str]:
    """Names of a group of mutations that fit the file; the groups take turns."""
    fields = OF_JSON if name.endswith(".jsonl") else _OF_FIELDS
    groups: list[dict[str, object]] = [{**_OF_TEXT}, {**_OF_LINES}, {**fields}, {**fields}, {**_OF_PACKED}]
    return sorted(groups[number % len(groups)])
