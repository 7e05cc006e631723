"""Show the documents that a search by hand returns: the best passage of each, with the query's words in bold."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from gradret.progress import printable
from gradret.text import pieces, terms

__all__ = ["as_columns", "as_list", "excerpt"]

_WIDTH = 240
_MARK = re.compile("\0(.*?)\0")


def as_list(hits: Sequence[Mapping[str, Any]], query: str, *, bold: bool) -> str:
    """Return a paragraph a hit: rank, score, doc_id and title, and below them the best passage."""
    lines = [] if hits else ["no document"]
    for hit in hits:
        lines.append(printable(f"{hit['rank']:>3}  {hit['score']:.4f}  {hit['doc_id']}  {hit['title']}").rstrip())
        lines.append(f"     {_shown(excerpt(printable(hit['text']), query), bold=bold)}")
    return "\n".join(lines)


def as_columns(hits: Mapping[str, Sequence[Mapping[str, Any]]], width: int = 0) -> str:
    """Return the systems' rankings side by side, each document as its id and title.

    Args:
        hits: each system's documents.
        width: of the whole, in characters; 0 is the terminal's.
    """
    width = width or shutil.get_terminal_size((120, 24)).columns
    cell = max(16, (width - 4) // max(1, len(hits)) - 2)
    rows = [list(hits), *_rows(list(hits.values()))]
    return "\n".join(
        f"{number or '':>3} {''.join(f' {text[:cell]:<{cell}} ' for text in row)}".rstrip()
        for number, row in enumerate(rows)
    )


def _rows(rankings: Sequence[Sequence[Mapping[str, Any]]]) -> list[list[str]]:
    def cell(ranking: Sequence[Mapping[str, Any]], place: int) -> str:
        return printable(f"{ranking[place]['doc_id']}  {ranking[place]['title']}") if place < len(ranking) else ""

    return [[cell(ranking, place) for ranking in rankings] for place in range(max(map(len, rankings), default=0))]


def excerpt(text: str, query: str) -> str:
    r"""Return the part of ``text`` with most of the query's words, each of them between ``\0``."""
    wanted = set(terms(query))
    parts = pieces(text)
    found = [wanted & set(terms(part)) for part in parts]
    start, end = max(_windows(parts), key=lambda window: (len(set().union(*found[slice(*window)])), -window[0]))
    marked = (_mark(parts[place]) if found[place] else parts[place] for place in range(start, end))
    return ("" if start == 0 else "... ") + "".join(marked).rstrip() + ("" if end == len(parts) else " ...")


def _mark(part: str) -> str:
    word = part.rstrip()
    return f"\0{word}\0{part[len(word) :]}"


def _windows(parts: Sequence[str]) -> list[tuple[int, int]]:
    """Return the parts that fit into ``_WIDTH`` from each start, up to the one that reaches the end of the text."""
    windows, end, size = [], 0, 0
    for start in range(max(1, len(parts))):
        while end < len(parts) and (end == start or size + len(parts[end]) <= _WIDTH):
            size += len(parts[end])
            end += 1
        windows.append((start, end))
        if end >= len(parts):
            break
        size -= len(parts[start])
    return windows


def _shown(marked: str, *, bold: bool) -> str:
    return _MARK.sub("\033[1m\\1\033[0m" if bold else "\\1", marked)
