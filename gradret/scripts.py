"""Find letters, marks and sentence ends of every script by the Unicode properties of the package ``regex``.

Used by ``gradret.text`` for texts that are not only Latin, Greek and Cyrillic.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

import regex

__all__ = [
    "FORMS",
    "POINTS",
    "letters",
    "pieces",
    "sentences",
    "terms",
    "without_accents",
    "without_ignorable",
    "words",
]

_MARK = r"[\p{Mn}\p{Mc}]"
_LETTER = r"[\p{L}\p{N}_]"
# Line_Break=SA: Thai, Lao, Khmer, Burmese and similar scripts, where finding words requires a dictionary.
_UNSPACED = r"[[[\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}]&&[\p{L}\u3007]][\p{LB=SA}&&\p{L}]]"
# Korean has spaces, but none between a noun and its particle.
_PAIRED = rf"[{_UNSPACED}[\p{{Hangul}}&&\p{{L}}]]"

_WORD = regex.compile(rf"{_UNSPACED}{_MARK}*|[{_LETTER}--{_UNSPACED}](?:[{_LETTER}--{_UNSPACED}]|{_MARK})*", regex.V1)
_RUN = regex.compile(
    rf"(?P<paired>(?:{_PAIRED}{_MARK}*)+)|[{_LETTER}--{_PAIRED}](?:[{_LETTER}--{_PAIRED}]|{_MARK})+", regex.V1
)
_PAIRED_LETTER = regex.compile(rf"{_PAIRED}{_MARK}*", regex.V1)
# With its marks, such a letter is often a syllable or a word, so a query may consist of it; a Thai letter is neither.
_ALONE = regex.compile(r"[\p{Han}\p{Hangul}\p{Khmer}\p{Myanmar}]")
_PIECE = regex.compile(rf"{_UNSPACED}{_MARK}*[^\s\p{{L}}\p{{N}}_]* ?|[^\s{_UNSPACED}]+ ?", regex.V1)
_SENTENCE_END = regex.compile(
    r"(?<=[.!?])[\s\x1c-\x1f]+|\n\s*\n"  # including the separators that Python's re counts as whitespace
    # The danda, the ideographic full stop, the Arabic question mark and others need no following space.
    r"|(?<=[\p{SB=STerm}--[!?]][\p{Pe}\p{Pf}]*)(?![\p{SB=STerm}\p{Pe}\p{Pf}])\s*"
    # Thai and Lao end a sentence with a space.
    r"|(?<=[\p{Thai}\p{Lao}])\s+(?=[\p{Thai}\p{Lao}])",
    regex.V1,
)
# The zero-width space is kept, because it separates words.
_IGNORABLE = regex.compile(r"[\p{Default_Ignorable_Code_Point}--\u200b]+", regex.V1)
_NO_LETTERS = regex.compile(r"[^\p{L}\p{Mn}\p{Mc}\p{Nl}\p{No}]+")
_ACCENTS = re.compile("[\u0300-\u036f\u0483-\u0487\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")

POINTS = re.compile(
    "[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u0652\u0670\u06d6-\u06dc]+"
)
"""Hebrew and Arabic vowel points, cantillation marks and tatweels, which most texts omit."""
FORMS = re.compile("[\ufb50-\ufdff\ufe70-\ufefc\uff00-\uffef]+")
"""Arabic presentation forms, fullwidth and halfwidth forms."""


def words(text: str) -> list[str]:
    """Return the words of a folded text."""
    result: list[str] = _WORD.findall(text)
    return result


def terms(text: str) -> list[str]:
    """Return the terms by which a folded text is indexed."""
    result: list[str] = []
    for run in _RUN.finditer(text):
        if run["paired"]:
            result.extend(_pairs(run[0]))
        else:
            result.append(run[0])
    return result


def _pairs(run: str) -> Iterator[str]:
    """Yield all pairs of adjacent letters, and each letter that may be a word or is the only one."""
    letters = _PAIRED_LETTER.findall(run)
    yield from (letter for letter in letters if len(letters) == 1 or _ALONE.match(letter))
    yield from (first + second for first, second in pairwise(letters))


def pieces(text: str) -> list[str]:
    """Split a text with single spaces wherever it may be cut."""
    result: list[str] = _PIECE.findall(text)
    return result


def sentences(text: str) -> list[str]:
    """Split a text into sentences, some of which may be empty."""
    result: list[str] = _SENTENCE_END.split(text)
    return result


def letters(text: str) -> str:
    """Replace everything but letters by spaces."""
    return str(_NO_LETTERS.sub(" ", text))


def without_accents(text: str) -> str:
    """Remove the accents of Latin, Greek and Cyrillic letters from a decomposed text."""
    return _ACCENTS.sub("", text)


def without_ignorable(text: str) -> str:
    """Remove characters that have no width and no meaning by themselves."""
    return str(_IGNORABLE.sub("", text))
