"""Extract the documents of the embedded collection from the running interpreter.

They are the docstrings of the standard library, read from its source files with ``ast`` (nothing is
imported), and the language topics that ship with the interpreter.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

__all__ = ["documents", "source_files", "split_passages"]

MIN_CHARACTERS = 40
MAX_WORDS = 200
MIN_TAIL_WORDS = 30
MAX_SIGNATURE = 240

SKIPPED_FOLDERS = frozenset({"distutils", "ensurepip", "idlelib", "lib2to3", "test", "tests", "turtledemo"})

# Implementation modules and their public names.
PUBLIC_NAMES = {
    "_collections_abc": "collections.abc",
    "_pydatetime": "datetime",
    "_pydecimal": "decimal",
    "_pyio": "io",
    "_threading_local": "threading",
    "concurrent.futures._base": "concurrent.futures",
    "genericpath": "os.path",
    "importlib._abc": "importlib.abc",
    "pathlib._local": "pathlib",
    "posixpath": "os.path",
    "zipfile._path": "zipfile",
}

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def documents() -> Iterator[dict[str, str]]:
    """Yield the documents of the collection in a fixed order.

    Yields:
        Records with ``doc_id``, ``title`` and ``text``. A long text comes as several
        passages under one title; the second one's id ends in ``#2``, and so on.

    Raises:
        FileNotFoundError: The interpreter has no source files of its standard library.
    """
    root = Path(sysconfig.get_path("stdlib"))
    texts = _library_texts(root)
    if not texts:
        raise FileNotFoundError(f"no standard library source files under {root}")
    titles = {name: name for name in texts}
    for topic, text in _topics(root).items():
        texts[f"topics.{topic}"] = text
        titles[f"topics.{topic}"] = f"language topic: {topic}"
    for name in sorted(texts):
        for number, passage in enumerate(split_passages(texts[name]), start=1):
            doc_id = name if number == 1 else f"{name}#{number}"
            yield {"doc_id": doc_id, "title": titles[name], "text": passage}


def source_files() -> list[Path]:
    """Return every file that ``documents`` reads."""
    root = Path(sysconfig.get_path("stdlib"))
    topics = root / "pydoc_data" / "topics.py"
    return [path for path, _ in _modules(root)] + ([topics] if topics.is_file() else [])


def split_passages(text: str, max_words: int = MAX_WORDS) -> list[str]:
    """Split a text at blank lines into passages of about ``max_words`` words.

    Args:
        text: The text to split.
        max_words: The length above which a passage is split.

    Returns:
        The passages in reading order; a short last one is joined to the one before.
    """
    passages: list[list[str]] = []
    filled = 0
    for block in _blocks(text, max_words):
        words = len(block.split())
        if not passages or filled + words > max_words:
            passages.append([])
            filled = 0
        passages[-1].append(block)
        filled += words
    if len(passages) > 1 and filled < MIN_TAIL_WORDS:
        tail = passages.pop()
        passages[-1].extend(tail)
    return ["\n\n".join(blocks) for blocks in passages]


def _blocks(text: str, max_words: int) -> Iterator[str]:
    """Yield the paragraphs of a text, those above ``max_words`` cut at line ends."""
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        lines: list[str] = []
        filled = 0
        for line in paragraph.splitlines():
            words = len(line.split())
            if lines and filled + words > max_words:
                yield "\n".join(lines)
                lines, filled = [], 0
            lines.append(line.rstrip())
            filled += words
        yield "\n".join(lines)


def _library_texts(root: Path) -> dict[str, str]:
    """Collect the documentation of every public module by qualified name."""
    texts: dict[str, str] = {}
    for path, module in _modules(root):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                tree = ast.parse(path.read_bytes())
            except (SyntaxError, ValueError):
                continue
        for name, text in _module_texts(tree, module):
            texts.setdefault(name, text)
    return texts


def _modules(root: Path) -> list[tuple[Path, str]]:
    """List the source files to read, each with its public module name."""
    public, renamed = [], []
    for path in sorted(_python_files(root)):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name in PUBLIC_NAMES:
            renamed.append((path, PUBLIC_NAMES[name]))
        elif all(p.isidentifier() and not p.startswith("_") for p in name.split(".")):
            public.append((path, name))
    return public + renamed  # a public module's docstrings win over its implementation's


def _python_files(root: Path) -> Iterator[Path]:
    """Yield the source files below ``root``, not entering skipped folders and those of installed packages."""
    for folder, inner, files in os.walk(root):
        inner[:] = [name for name in inner if name.isidentifier() and name not in SKIPPED_FOLDERS]
        yield from (Path(folder, name) for name in files if name.endswith(".py"))


def _module_texts(tree: ast.Module, module: str) -> Iterator[tuple[str, str]]:
    """Yield qualified names and texts of a module and what it defines."""
    text = _docstring(tree)
    if len(text) >= MIN_CHARACTERS:
        yield module, text
    yield from _member_texts(tree.body, module)


def _member_texts(body: list[ast.stmt], owner: str) -> Iterator[tuple[str, str]]:
    """Yield qualified names and texts of the public definitions in a body."""
    for node in _definitions(body):
        if node.name.startswith("_"):
            continue
        name = f"{owner}.{node.name}"
        text = _class_doc(node) if isinstance(node, ast.ClassDef) else _docstring(node)
        if len(text) >= MIN_CHARACTERS:
            yield name, f"{_signature(node)}\n\n{text}"
        if isinstance(node, ast.ClassDef):
            yield from _member_texts(node.body, name)


def _definitions(body: list[ast.stmt]) -> Iterator[ast.ClassDef | _Function]:
    """Yield classes and functions, also those under ``if`` and ``try``."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        elif isinstance(node, ast.If):
            yield from _definitions(node.body + node.orelse)
        elif isinstance(node, ast.Try):
            handlers = [child for handler in node.handlers for child in handler.body]
            yield from _definitions(node.body + handlers + node.orelse)


def _docstring(node: ast.Module | ast.ClassDef | _Function) -> str:
    """Return a node's cleaned docstring, empty where it has none."""
    return inspect.cleandoc(ast.get_docstring(node, clean=False) or "").strip()


def _class_doc(node: ast.ClassDef) -> str:
    """Return a class's docstring followed by that of its constructor."""
    constructor = _constructor(node)
    parts = [_docstring(node), _docstring(constructor) if constructor else ""]
    return "\n\n".join(part for part in parts if part)


def _constructor(node: ast.ClassDef) -> _Function | None:
    """Return the ``__init__`` of a class, if the class defines one."""
    for child in _definitions(node.body):
        if child.name == "__init__" and not isinstance(child, ast.ClassDef):
            return child
    return None


def _signature(node: ast.ClassDef | _Function) -> str:
    """Return a one-line signature, shortened where it is very long."""
    source = _constructor(node) if isinstance(node, ast.ClassDef) else node
    line = f"{node.name}({ast.unparse(source.args) if source else ''})"
    return line if len(line) <= MAX_SIGNATURE else f"{line[:MAX_SIGNATURE]}..."


def _topics(root: Path) -> dict[str, str]:
    """Read the language topics as literals, without importing their module."""
    path = root / "pydoc_data" / "topics.py"
    if not path.is_file():
        return {}
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            topics: dict[str, str] = ast.literal_eval(node.value)
            return {name: inspect.cleandoc(text) for name, text in topics.items()}
    return {}
