"""Ask a run's indexes: one query of the command line, or those that are typed or piped, one a line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from gradret.commands.lookup import SYSTEMS, Lookup
from gradret.commands.lookup_text import as_columns, as_list

__all__ = ["ask"]


def ask(run: Path, query: str, *, k: int = 10, compare: bool = False, as_json: bool = False) -> None:
    """Print the results of ``query``, or of every line of the standard input if it is empty.

    Args:
        run: the folder of a finished run.
        query: the query; empty reads lines until the end of the input.
        k: documents per query.
        compare: search with the tuned model, the base model and BM25, instead of the tuned model alone.
        as_json: print a JSON line per query: a list of hits, or with ``compare`` one for each system.
    """
    lookup = Lookup(run, SYSTEMS if compare else SYSTEMS[:1])
    for text in [query] if query else _lines():
        hits = lookup.search(text, k)
        if as_json:
            print(json.dumps(hits if compare else hits["tuned"], indent=2 if query else None), flush=True)
        else:
            shown = as_columns(hits) if compare else as_list(hits["tuned"], text, bold=sys.stdout.isatty())
            print(shown, flush=True)


def _lines() -> Iterator[str]:
    """Yield the lines that are not blank; with a prompt if a person types them."""
    if not sys.stdin.isatty():
        yield from (line.strip() for line in sys.stdin if line.strip())
        return
    import readline  # noqa: F401 - lets input() edit lines and recall earlier ones

    while True:
        try:
            text = input("query> ").strip()
        except EOFError:
            print()
            return
        if text:
            yield text
