"""A small config, and seeded mutations of its text and of its overrides."""

from __future__ import annotations

import random
from collections.abc import Callable

__all__ = ["CONFIG", "mutated"]

CONFIG = """\
name: toy
storage_path: /tmp/no-such-storage
seed: 3
dataset:
  name: files
  docs: corpus.tsv
  queries: queries.tsv
  test: qrels.txt
  exclude_same_ids: false
ingest: {max_bad_share: 0.25}
generate: {generator: {name: human}}
mine:
  leak_similarity: 0.5
  retrievers:
    - bm25
    - {name: random, k: 5}
label:
  teacher: {name: file, path: labels.tsv, positive_above: 0.5}
train:
  encoder: {name: static, lexical: 64, stop_weight: 0.5}
  loss: [{name: kl, weight: 1.5}, infonce]
  epochs: 4
  learning_rate: 0.02
  seed: 11
index: {factory: "Flat"}
evaluate: {measures: [nDCG@10, Recall@100]}
"""

_SCALARS = [
    "", "~", "null", "???", "${seed}", "\\\\${seed}", "${nowhere}", "${", "${name}_x", "..x:b", ":", "a:", "1e999",
    "010", "1_000", "1:30", "0x10", "1e3", "1.", ".5", "-1", "0", "1.5", "+2", "9" * 30, "9" * 5000, "no", "yes",
    "true", "True", "TRUE", "off", ".inf", ".nan", "NaN", "2024_11_29", "2024-11-29", "\u0661", "\uff11", '"1"',
    "'true'", '"\\0"', '"\\ud800"', "[]", "{}", "[a]", "{a: b}", "[[[1]]]", "*x", "&x y", "!!int 3",
    "!!binary aGk=", "!!python/name:os.system", "|", ">", "a: b", "- a", "# c", "'", '"', "\t", "a\tb", "\u00e9",
    "x" * 300, "../x", "/", ".", "PQ9999999999999999999", "IVF0,Flat", "judge", "cross_encoder", "KL", "kl ",
    "gradret.teachers.judge:Judge", "no_such_module:X", "json:loads", "json:", "[" * 100 + "]" * 100,
    "{a: " * 50 + "}" * 50, "${oc.env:HOME}", "${oc.decode:x}", "${.}", "${..name}", "${train}", "%s",
]  # fmt: skip
_KEYS = [
    "name", "Name", "nmae", "seed", "", "~", "null", "1", "a.b", "a b", "<<", "[a]", "? x", "datasets", "resources",
    "__class__",
]  # fmt: skip
_PATHS = [
    "seed",
    "train.epochs",
    "train.loss[0].weight",
    "train.loss[1].weight",
    "train.loss[9].weight",
    "train.loss[-1].weight",
]
_PATHS += [
    "train.loss", "train.loss[0]", "train.encoder", "train.encoder.lexical", "dataset.docs", "dataset.x",
    "mine.retrievers[1].k", "train", "name", "storage_path", "label.teacher.path", "evaluate.measures", "", ".",
    "a..b", "train.loss[0]weight", "[0]", "seed[0]", "seed.x", "train.loss.0.weight", "train.loss[x]",
    "train.loss[99999999999999999999]", "a." * 100 + "a", "train.", "-x",
]  # fmt: skip


def mutated(draw: random.Random) -> tuple[str, bytes, tuple[str, ...]]:
    """Return the mutation's name, the file and the overrides."""
    mutation = draw.choice(sorted(_MUTATIONS))
    if mutation == "override":
        return mutation, CONFIG.encode(), tuple(_override(draw) for _ in range(draw.randint(1, 2)))
    changed = _MUTATIONS[mutation](CONFIG, draw)
    data = changed if isinstance(changed, bytes) else changed.encode("utf-8", "surrogatepass")
    return mutation, data, ()


def _override(draw: random.Random) -> str:
    return (
        draw.choice(["", "", "", " ", "--"])
        + draw.choice(_PATHS)
        + draw.choice(["=", "=", "=", "=", "", "=="])
        + draw.choice(_SCALARS)
    )


def _on_line(change: Callable[[str, random.Random], str]) -> Callable[[str, random.Random], str]:
    def mutate(text: str, draw: random.Random) -> str:
        lines = text.splitlines()
        place = draw.randrange(len(lines))
        lines[place] = change(lines[place], draw)
        return "\n".join(lines) + "\n"

    return mutate


def _scalar(line: str, draw: random.Random) -> str:
    head, colon, value = line.rpartition(": ")
    closing = "".join(char for char in value if char in "]}")
    return f"{head}{colon}{draw.choice(_SCALARS)}{closing}"


def _inner_scalar(line: str, draw: random.Random) -> str:
    head, colon, rest = line.partition(": ")
    first, comma, more = rest.partition(",")
    if not comma:
        return _scalar(line, draw)
    start = first.rpartition(": ")[0] + ": " if ": " in first else first[: first.rfind("[") + 1]
    return f"{head}{colon}{start}{draw.choice(_SCALARS)}{comma}{more}"


def _key(line: str, draw: random.Random) -> str:
    indent = line[: len(line) - len(line.lstrip())]
    return f"{indent}{draw.choice(_KEYS)}:{line.partition(':')[2]}"


def _drop(_line: str, _draw: random.Random) -> str:
    return ""


def _twice(line: str, _draw: random.Random) -> str:
    return f"{line}\n{line}"


def _indent(line: str, draw: random.Random) -> str:
    return draw.choice([" ", "  ", "\t", "- ", "    "]) + line if draw.random() < 0.6 else line.lstrip()


def _cut(line: str, draw: random.Random) -> str:
    return line[: draw.randrange(len(line))]


def _mark(line: str, draw: random.Random) -> str:
    place = draw.randrange(len(line) + 1)
    return (
        line[:place]
        + draw.choice(["[", "]", "{", "}", ":", ",", "&", "*", "!", "|", "%", "@", "`", "'", '"', "#", "?", "-"])
        + line[place:]
    )


def _flip(text: str, draw: random.Random) -> bytes:
    changed = bytearray(text.encode())
    for _ in range(draw.randint(1, 3)):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _encode(text: str, draw: random.Random) -> bytes:
    return text.replace("toy", "caf\u00e9").encode(draw.choice(["utf-8-sig", "utf-16", "latin-1", "utf-8", "utf-32"]))


def _whole(_text: str, draw: random.Random) -> str:
    return draw.choice(
        [
            "",
            "\0",
            "a",
            "[]",
            "- a",
            "---\na: 1\n---\nb: 2",
            "%YAML 9.9\n---\na: 1",
            "3",
            "null",
            "{",
            "\ufeff",
            "x: &a [*a]",
        ]
    )


def _truncate(text: str, draw: random.Random) -> str:
    return text[: draw.randrange(len(text))]


def _line_ends(text: str, draw: random.Random) -> str:
    return text.replace("\n", draw.choice(["\r\n", "\r", "\n\n", "\u2028", " \n", "\t\n"]))


_MUTATIONS: dict[str, Callable[[str, random.Random], str | bytes]] = {
    "scalar": _on_line(_scalar), "inner scalar": _on_line(_inner_scalar), "key": _on_line(_key),
    "line dropped": _on_line(_drop), "line repeated": _on_line(_twice), "indent": _on_line(_indent),
    "line cut": _on_line(_cut), "mark": _on_line(_mark), "bytes flipped": _flip, "encoding": _encode,
    "another file": _whole, "truncated": _truncate, "line ends": _line_ends, "override": _whole,
}  # fmt: skip
