"""Choose the documents to write queries about: SAMPLE, and which documents are copies: DUPLICATES.

The rule is Tamber et al.'s (2502.19712, their released preparation script): normalise, sort by
text and again by reversed text, and take a document that is contained in one of its next
neighbours for its copy. Here, too: of equal texts the smallest doc_id stays, neighbours are
different texts, and the second pass sees only what the first one kept. Only writing queries
leaves copies out; index and evaluation use every document, for a copy may be a judged one.
"""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
from typing import TYPE_CHECKING

from gradret.artifacts import Artifact, Draft, make
from gradret.errors import DataError
from gradret.text import passage

if TYPE_CHECKING:
    from gradret.config import Config

__all__ = ["copies", "dedupe", "normalise"]

_CUT = 2048
_NOT_LETTERS = re.compile(r"[\d_]|[^\w\s]")


def dedupe(config: Config, ingested: Artifact) -> Artifact:
    """SAMPLE (documents to write queries about) and DUPLICATES (``doc_id`` is a copy of ``kept_doc_id``).

    Raises:
        DataError: no document is long enough to write a query about.
    """
    settings = {"dedupe": config.dedupe, "seed": config.seed}
    body = functools.partial(_dedupe, config, ingested)
    return make("dedupe", config.storage_path, module=__name__, settings=settings, inputs={"docs": ingested}, body=body)


def _dedupe(config: Config, ingested: Artifact, draft: Draft) -> None:
    import pyarrow as pa

    from gradret.contracts import schema

    texts, total = {}, 0
    for docs in ingested.batches("docs"):
        total += docs.num_rows
        for doc_id, title, text in zip(*(docs[name].to_pylist() for name in ("doc_id", "title", "text")), strict=True):
            normal = normalise(passage(title, text))
            if len(normal) >= config.dedupe.min_chars:
                texts[doc_id] = normal
    short = total - len(texts)
    copy_of = copies(texts, config.dedupe.window)
    kept = [doc_id for doc_id in texts if doc_id not in copy_of]
    kept.sort(key=lambda doc_id: _draw(config.seed, doc_id))
    sample = sorted(kept[: config.dedupe.max_docs])
    if not sample:
        raise DataError(
            f"none of the {total:,} documents has {config.dedupe.min_chars} letters once digits and "
            "punctuation are gone; nothing to write queries about"
        )
    draft.write("sample", pa.table({"doc_id": sample}))
    pairs = [{"doc_id": doc_id, "kept_doc_id": copy_of[doc_id]} for doc_id in sorted(copy_of)]
    draft.write("duplicates", pa.Table.from_pylist(pairs, schema("duplicates")))
    not_drawn = len(kept) - len(sample)
    draft.count(rows_in=total, sampled=len(sample), copies=len(pairs), too_short=short, not_drawn=not_drawn)


def normalise(text: str) -> str:
    """Letters only, lower case, no accents, single spaces, from the first 2,048 characters."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text[:_CUT]))
    letters = "".join(char for char in plain if not unicodedata.combining(char)).lower()
    return " ".join(_NOT_LETTERS.sub(" ", letters).split())


def copies(texts: dict[str, str], window: int) -> dict[str, str]:
    """Which documents are contained in a neighbour: ``{doc_id: kept doc_id}``, chains followed to their end."""
    copy_of, first = _equal(texts)
    for backwards in (False, True):
        rows = [(text[::-1] if backwards else text, doc_id) for text, doc_id in first.items()]
        copy_of |= _contained(sorted(rows), window)
        first = {text: doc_id for text, doc_id in first.items() if doc_id not in copy_of}
    return {doc_id: _last(copy_of, doc_id) for doc_id in copy_of}


def _equal(texts: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Copies of an equal text with a smaller doc_id, and that doc_id of each text."""
    copy_of: dict[str, str] = {}
    first: dict[str, str] = {}
    for doc_id in sorted(texts):
        kept = first.setdefault(texts[doc_id], doc_id)
        if kept != doc_id:
            copy_of[doc_id] = kept
    return copy_of, first


def _contained(rows: list[tuple[str, str]], window: int) -> dict[str, str]:
    """Sorted, different texts: each that one of its next ``window`` neighbours contains, with the first such."""
    found: dict[str, str] = {}
    for number, (text, doc_id) in enumerate(rows):
        holder = next((row for row in rows[number + 1 : number + 1 + window] if text in row[0]), None)
        if holder:
            found[doc_id] = holder[1]
    return found


def _last(copy_of: dict[str, str], doc_id: str) -> str:
    while doc_id in copy_of:
        doc_id = copy_of[doc_id]
    return doc_id


def _draw(seed: int, doc_id: str) -> bytes:
    return hashlib.sha256(f"{seed}:{doc_id}".encode()).digest()
