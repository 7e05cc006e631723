"""Decide which lists can be used for training, with the reason for those that cannot."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gradret.components import name_of
from gradret.errors import ConfigError
from gradret.losses import NEEDS

if TYPE_CHECKING:
    from gradret.losses import Loss

__all__ = ["broken", "count_usable", "unusable"]

Group = Mapping[str, Any]
"""A row of GROUPS."""


def broken(group: Group, unknown: frozenset[str]) -> str:
    """Return what is wrong with a list; empty if nothing is.

    Args:
        group: a row of GROUPS.
        unknown: documents of any list that are not in the corpus.
    """
    docs, positives = group["doc_ids"], group["positives"]
    if not docs or len({len(group[name]) for name in ("doc_ids", "grades", "scores", "positives")}) > 1:
        return "empty, or doc_ids, grades, scores and positives differ in length"
    wrong = {
        "a document twice in the list": len(set(docs)) < len(docs),
        "a document that is not in the corpus": not unknown.isdisjoint(docs),
        "a score that is not a finite number": not all(math.isfinite(score) for score in _given(group["scores"])),
        # Also catches NaN.
        "a grade outside 0 to 1": not all(0 <= grade <= 1 for grade in _given(group["grades"])),
        "a positive after a document that is not one": positives != sorted(positives, reverse=True),
    }
    return next((reason for reason, applies in wrong.items() if applies), "")


def unusable(group: Group, losses: Sequence[Loss]) -> str:
    """Return why no loss can use a list; empty if one can."""
    missing = _missing(group)
    if any(not missing.intersection(loss.needs) for loss in losses):
        return ""
    wanted = sorted({NEEDS[need] for loss in losses for need in loss.needs if need in missing})
    return f"no loss can use the list: it lacks {' and '.join(wanted)}"


def count_usable(groups: Iterable[Group], losses: Sequence[Loss], key: str = "train") -> dict[str, int]:
    """Count the lists that each loss can use, by ``KEY.loss[number]``.

    Raises:
        ConfigError: a loss can use none; the message says what it needs.
    """
    total, counts = 0, Counter[int]()
    for group in groups:
        total += 1
        missing = _missing(group)
        counts.update(number for number, loss in enumerate(losses) if not missing.intersection(loss.needs))
    problems = [
        f"{key}.loss[{number}]: {name_of(loss)} needs {' and '.join(NEEDS[need] for need in loss.needs)} "
        f"in a list, but none of the {total:,} training lists has that; use another loss or other labels"
        for number, loss in enumerate(losses)
        if not counts[number]
    ]
    if problems:
        raise ConfigError.of(problems)
    return {f"{key}.loss[{number}] {name_of(loss)}": counts[number] for number, loss in enumerate(losses)}


def _missing(group: Group) -> set[str]:
    """Return the keys of ``NEEDS`` that a list does not meet."""
    grades, scores, positives = group["grades"], group["scores"], group["positives"]
    has = {
        "positive": any(positives),
        "grade": any(True for _ in _given(grades)),
        "two graded": sum(1 for _ in _given(grades)) > 1,
        "two grades": len(set(_given(grades))) > 1,
        "teacher scores": bool(positives and positives[0] and scores[0] is not None)
        and any(score is not None and not positive for score, positive in zip(scores, positives, strict=True)),
    }
    return {need for need, present in has.items() if not present}


def _given(values: Iterable[float | None]) -> Iterable[float]:
    return (value for value in values if value is not None)
