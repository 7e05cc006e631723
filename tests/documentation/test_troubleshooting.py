"""docs/troubleshooting.md: every message that it quotes is in the source, in these words."""

import ast
import re
from pathlib import Path

import pytest

import gradret

PACKAGE = Path(gradret.__file__).parent
PAGE = (PACKAGE.parent / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"^```text\n(.+?)\n```$", PAGE, re.MULTILINE | re.DOTALL)


def texts(path):
    """Every text of a module, an expression in an f-string as ``…``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


SOURCE = [" ".join(text.split()) for path in sorted(PACKAGE.rglob("*.py")) for text in texts(path)]


def test_there_are_messages():
    assert len(QUOTED) > 30
    assert len(set(QUOTED)) == len(QUOTED)


@pytest.mark.parametrize("message", QUOTED)
def test_a_quoted_message_is_in_the_source(message):
    pieces = [piece for piece in re.split(r"\s*…\s*", message) if piece]
    assert max(map(len, pieces)) >= 6, "too short to recognise"
    wanted = re.compile(".*?".join(map(re.escape, pieces)))
    assert any(wanted.search(text) for text in SOURCE), message


def test_a_message_that_nobody_raises_is_noticed():
    wanted = re.compile(".*?".join(map(re.escape, ["no config file at", "in the moon"])))
    assert not any(wanted.search(text) for text in SOURCE)
