"""Read a row of training lists, in the format of gradret, FlagEmbedding, Tevatron or sentence-transformers.

A list is a query with passages, each relevant or not, with a score. A query or passage without an id gets a hash of its
text, so the same text has the same id wherever it occurs.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gradret.datasets import Bad, Row
from gradret.datasets._rows import doc, query
from gradret.judgments import bare, is_missing
from gradret.store.contracts import GENERATED

__all__ = ["Passage", "TrainingList", "read_list"]

_QUERY = ("anchor", "query", "question", "sentence1")
_PASSAGE = ("positive", "answer", "passage", "document", "docs", "sentence2")
_SCORE = ("score", "scores", "label", "labels")
_NEGATIVE = re.compile(r"negatives?\d*")
_EXPECTED = (
    "not a training list: expected query with pos and neg (FlagEmbedding), query with positive_passages and "
    "negative_passages (Tevatron), or anchor, positive and negative (sentence-transformers)"
)


class Passage(NamedTuple):
    """A passage of a list."""

    doc: Row
    relevant: bool
    score: float


class TrainingList(NamedTuple):
    """A query and its passages, each once."""

    query: Row
    passages: list[Passage]


class _UnusableError(ValueError):
    """Why a row cannot be used."""


def read_list(record: Mapping[str, Any], positive_above: float) -> TrainingList | Bad:
    """Read a row, in the format that its keys tell.

    Args:
        record: the row.
        positive_above: where the format tells scores alone, a passage with a higher one is relevant.
    """
    try:
        if "positive_passages" in record:
            return _tevatron(record)
        if "pos" in record:
            return _flagembedding(record)
        if "positives" in record:
            return _gradret(record)
        return _sentence_transformers(record, positive_above)
    except _UnusableError as error:
        return Bad(str(error), str(record)[:200])
    except OverflowError:
        return Bad("a score is too large", str(record)[:200])


def _tevatron(record: Mapping[str, Any]) -> TrainingList:
    positives, negatives = (_sequence(record, name) for name in ("positive_passages", "negative_passages"))
    passages = [*positives, *negatives]
    if not all(isinstance(each, Mapping) for each in passages):
        raise _UnusableError("a passage is not an object with docid and text")
    scores = [each.get("score") for each in passages]
    return _list(
        (record.get("query_id"), record.get("query")),
        [(each.get("docid"), each.get("title"), each.get("text")) for each in passages],
        _flags("positive_passages", positives, negatives),
        None if all(map(is_missing, scores)) else scores,
    )


def _flagembedding(record: Mapping[str, Any]) -> TrainingList:
    positives, negatives = _sequence(record, "pos"), _sequence(record, "neg")
    scores = [_sequence(record, f"{name}_scores") for name in ("pos", "neg")]
    if any(scores) and [len(positives), len(negatives)] != [len(each) for each in scores]:
        raise _UnusableError("pos_scores and neg_scores are not one number for each passage")
    texts = _texts([*positives, *negatives])
    flags = _flags("pos", positives, negatives)
    return _list((None, record.get("query")), texts, flags, [*scores[0], *scores[1]] or None)


def _gradret(record: Mapping[str, Any]) -> TrainingList:
    """A row of ``gradret export --format hf``."""
    doc_ids, texts, flags, grades = (_sequence(record, name) for name in ("doc_ids", "docs", "positives", "grades"))
    if not doc_ids or len({len(doc_ids), len(texts), len(flags)}) > 1:
        raise _UnusableError("doc_ids, docs and positives are not as many, or none")
    passages = [(key, "", text) for key, text in zip(doc_ids, texts, strict=True)]
    return _list((record.get("query_id"), record.get("query")), passages, flags, grades)


def _sentence_transformers(record: Mapping[str, Any], positive_above: float) -> TrainingList:
    named = {bare(name): value for name, value in record.items()}
    text, first, score = (
        next((named[name] for name in names if not is_missing(named.get(name))), None)
        for names in (_QUERY, _PASSAGE, _SCORE)
    )
    if text is None or first is None:
        raise _UnusableError(_EXPECTED)
    negatives = [value for name, value in named.items() if _NEGATIVE.fullmatch(name) and not is_missing(value)]
    negatives = [text for value in negatives for text in (value if isinstance(value, list) else [value])]
    passages = _texts([*(first if isinstance(first, list) else [first]), *negatives])
    scores = score if isinstance(score, list) or score is None else [score]
    # A list of passages, or a single one, with scores does not tell which are relevant.
    scored_alone = scores is not None and not negatives
    if isinstance(first, list) and not scored_alone:
        raise _UnusableError("a list of passages without a score for each")
    flags = [scored_alone or not place for place in range(len(passages))]
    made = _list((None, text), passages, flags, scores)
    if not scored_alone:
        return made
    return made._replace(passages=[each._replace(relevant=each.score > positive_above) for each in made.passages])


def _flags(name: str, positives: Sequence[object], negatives: Sequence[object]) -> list[bool]:
    if not positives:
        raise _UnusableError(f"{name} is empty")
    return [True] * len(positives) + [False] * len(negatives)


def _texts(texts: Sequence[object]) -> list[tuple[None, str, str]]:
    """Passages without id and title."""
    if not all(isinstance(text, str) for text in texts):
        raise _UnusableError("a passage is not a text")
    return [(None, "", str(text)) for text in texts]


def _list(
    asked: tuple[Any, Any],
    passages: Sequence[tuple[Any, Any, Any]],
    flags: Sequence[bool],
    scores: Sequence[Any] | None,
) -> TrainingList:
    """The list; of a passage that is there twice, the highest score counts.

    Args:
        asked: id and text of the query.
        passages: id, title and text of each.
        flags: whether each is relevant.
        scores: its score; without scores, 1 of relevant passages and 0 of others.
    """
    query_id, text = asked
    made = _good(query(_hash("", text) if is_missing(query_id) else query_id, text, ""))
    once: dict[str, Passage] = {}
    for (key, title, body), relevant, score in zip(
        passages, flags, _numbers(scores, len(flags)) or map(float, flags), strict=True
    ):
        given = not is_missing(key) and not str(key).startswith(GENERATED)
        row = _good(doc(key if given else _hash(title, body), title, body, ""))
        earlier = once.setdefault(row["doc_id"], Passage(row, relevant, score))
        if earlier.relevant != relevant:
            raise _UnusableError("a passage is both positive and negative")
        once[row["doc_id"]] = earlier._replace(score=max(earlier.score, score))
    return TrainingList(made, list(once.values()))


def _sequence(record: Mapping[str, Any], name: str) -> list[Any]:
    value = record.get(name)
    if is_missing(value):
        return []
    if not isinstance(value, list):
        raise _UnusableError(f"{name} is not a list")
    return value


def _numbers(values: Sequence[Any] | None, number: int) -> list[float]:
    """The scores of as many passages; empty if there are none."""
    if values is None:
        return []
    if len(values) != number:
        raise _UnusableError("the scores are not one for each passage")
    if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in values):
        raise _UnusableError("a score is not a finite number")
    return [float(value) for value in values]


def _good(row: Row | Bad) -> Row:
    if isinstance(row, Bad):
        raise _UnusableError(row.reason)
    return row


def _hash(title: object, text: object) -> str:
    content = f"{title}\0{text}" if title else str(text)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]
