"""Which lists can be trained on: a list that is broken, or that no loss can use, is set aside with its reason."""

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

__all__ = ["broken", "refuse_idle", "unusable"]

Group = Mapping[str, Any]
"""A row of GROUPS."""


def broken(group: Group, corpus: frozenset[str]) -> str:
    """What is wrong with the list itself; empty where nothing is.

    Args:
        group: a row of GROUPS.
        corpus: all doc_ids there are.
    """
    docs, positives = group["doc_ids"], group["positives"]
    if not docs or len({len(group[name]) for name in ("doc_ids", "grades", "scores", "positives")}) > 1:
        return "empty, or doc_ids, grades, scores and positives are not of one length"
    wrong = {
        "a document twice in the list": len(set(docs)) < len(docs),
        "a document that is not in the corpus": not corpus.issuperset(docs),
        "a score that is not a finite number": not all(math.isfinite(score) for score in _given(group["scores"])),
        # NaN too.
        "a grade outside 0 to 1": not all(0 <= grade <= 1 for grade in _given(group["grades"])),
        "a positive after a document that is none": positives != sorted(positives, reverse=True),
    }
    return next((reason for reason, there in wrong.items() if there), "")


def unusable(group: Group, losses: Sequence[Loss]) -> str:
    """Why no loss can use the list; empty where one can."""
    lacks = _lacks(group)
    if any(not lacks.intersection(loss.needs) for loss in losses):
        return ""
    wanted = sorted({NEEDS[need] for loss in losses for need in loss.needs if need in lacks})
    return f"no loss can use the list: it lacks {' and '.join(wanted)}"


def refuse_idle(groups: Iterable[Group], losses: Sequence[Loss]) -> dict[str, int]:
    """How many lists each loss can use, by ``train.loss[number]``.

    Raises:
        ConfigError: a loss can use none; names what it needs.
    """
    total, able = 0, Counter[int]()
    for group in groups:
        total += 1
        lacks = _lacks(group)
        able.update(number for number, loss in enumerate(losses) if not lacks.intersection(loss.needs))
    problems = [
        f"train.loss[{number}]: {name_of(loss)} needs {' and '.join(NEEDS[need] for need in loss.needs)} "
        f"in a list, and none of the {total:,} training lists has that"
        for number, loss in enumerate(losses)
        if not able[number]
    ]
    if problems:
        raise ConfigError.of(problems)
    return {f"train.loss[{number}] {name_of(loss)}": able[number] for number, loss in enumerate(losses)}


def _lacks(group: Group) -> set[str]:
    """Keys of ``NEEDS`` that the list does not have."""
    grades, scores, positives = group["grades"], group["scores"], group["positives"]
    has = {
        "positive": any(positives),
        "grade": any(True for _ in _given(grades)),
        "two graded": sum(1 for _ in _given(grades)) > 1,
        "two grades": len(set(_given(grades))) > 1,
        "teacher scores": bool(positives and positives[0] and scores[0] is not None)
        and any(score is not None and not positive for score, positive in zip(scores, positives, strict=True)),
    }
    return {need for need, there in has.items() if not there}


def _given(values: Iterable[float | None]) -> Iterable[float]:
    return (value for value in values if value is not None)
