"""Letters, marks and sentence ends of every script, from Unicode's properties as the package ``regex`` has them.

Used by ``gradret.text``, for texts that are more than Latin, Greek and Cyrillic.
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
# Line_Break=SA: Thai, Lao, Khmer, Burmese and their neighbours, where only a dictionary finds the words.
_UNSPACED = r"[[[\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}]&&[\p{L}\u3007]][\p{LB=SA}&&\p{L}]]"
# Korean writes blanks, but none between a noun and its particle.
_PAIRED = rf"[{_UNSPACED}[\p{{Hangul}}&&\p{{L}}]]"

_WORD = regex.compile(rf"{_UNSPACED}{_MARK}*|[{_LETTER}--{_UNSPACED}](?:[{_LETTER}--{_UNSPACED}]|{_MARK})*", regex.V1)
_RUN = regex.compile(
    rf"(?P<paired>(?:{_PAIRED}{_MARK}*)+)|[{_LETTER}--{_PAIRED}](?:[{_LETTER}--{_PAIRED}]|{_MARK})+", regex.V1
)
_PAIRED_LETTER = regex.compile(rf"{_PAIRED}{_MARK}*", regex.V1)
# With its marks often a syllable or a word, which a query may consist of. A letter of Thai is neither.
_ALONE = regex.compile(r"[\p{Han}\p{Hangul}\p{Khmer}\p{Myanmar}]")
_PIECE = regex.compile(rf"{_UNSPACED}{_MARK}*[^\s\p{{L}}\p{{N}}_]* ?|[^\s{_UNSPACED}]+ ?", regex.V1)
_SENTENCE_END = regex.compile(
    r"(?<=[.!?])[\s\x1c-\x1f]+|\n\s*\n"  # with the separators that Python's re counts as blanks
    # The danda, the ideographic full stop, the Arabic question mark and others need no blank.
    r"|(?<=[\p{SB=STerm}--[!?]][\p{Pe}\p{Pf}]*)(?![\p{SB=STerm}\p{Pe}\p{Pf}])\s*"
    # Thai and Lao end a sentence with a blank.
    r"|(?<=[\p{Thai}\p{Lao}])\s+(?=[\p{Thai}\p{Lao}])",
    regex.V1,
)
# Zero-width space, which separates words, is kept.
_IGNORABLE = regex.compile(r"[\p{Default_Ignorable_Code_Point}--\u200b]+", regex.V1)
_NO_LETTERS = regex.compile(r"[^\p{L}\p{Mn}\p{Mc}\p{Nl}\p{No}]+")
_ACCENTS = re.compile("[\u0300-\u036f\u0483-\u0487\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")

POINTS = re.compile(
    "[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u0652\u0670\u06d6-\u06dc]+"
)
"""Hebrew and Arabic vowel points, cantillation and tatweels: most texts are written without."""
FORMS = re.compile("[\ufb50-\ufdff\ufe70-\ufefc\uff00-\uffef]+")
"""Arabic presentation forms, fullwidth and halfwidth forms."""


def words(text: str) -> list[str]:
    """Words of a folded text."""
    found: list[str] = _WORD.findall(text)
    return found


def terms(text: str) -> list[str]:
    """What a folded text is indexed by."""
    found: list[str] = []
    for run in _RUN.finditer(text):
        if run["paired"]:
            found.extend(_pairs(run[0]))
        else:
            found.append(run[0])
    return found


def _pairs(run: str) -> Iterator[str]:
    """Every two neighbouring letters of a run, each letter that may be a word, and a run of one letter itself."""
    letters = _PAIRED_LETTER.findall(run)
    yield from (letter for letter in letters if len(letters) == 1 or _ALONE.match(letter))
    yield from (first + second for first, second in pairwise(letters))


def pieces(text: str) -> list[str]:
    """Where a text with single blanks may be cut."""
    found: list[str] = _PIECE.findall(text)
    return found


def sentences(text: str) -> list[str]:
    """Some may be empty."""
    found: list[str] = _SENTENCE_END.split(text)
    return found


def letters(text: str) -> str:
    """The text with a blank for whatever is no letter."""
    return str(_NO_LETTERS.sub(" ", text))


def without_accents(text: str) -> str:
    """A decomposed text without the accents of Latin, Greek and Cyrillic letters."""
    return _ACCENTS.sub("", text)


def without_ignorable(text: str) -> str:
    """The text without characters that have no width and no meaning by themselves."""
    return str(_IGNORABLE.sub("", text))
