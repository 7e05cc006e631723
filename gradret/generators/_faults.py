"""Measure what is wrong with a generated query: pure functions of texts, for every script."""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from gradret.search.bm25 import LANGUAGES, stopwords
from gradret.text import terms, words

__all__ = ["FORMS", "is_foreign", "is_line", "mentions_document", "on_topic", "shared"]

_FEW = 0.05
"""Share of a document's letters below which it is not written in their script."""
_STOPWORDS = 2
"""Stop words of another language that show a query to be written in it."""
_STEM = 5
"""Letters at the beginning of words that tell whether they are forms of one."""
_PHRASE = 9
"""Words without a separator that are too many for a keyword."""

# bm25s has 33 English stop words, too few to know a question by.
_MORE_ENGLISH = {
    "how", "what", "why", "who", "whom", "whose", "which", "when", "where", "do", "does", "did", "can", "could",
    "should", "would", "may", "might", "must", "has", "have", "had", "am", "were", "been", "being", "i", "you", "he",
    "she", "we", "me", "him", "her", "us", "them", "my", "your", "his", "our", "its", "from", "about", "than", "so",
    "all", "any", "some", "more", "most",
}  # fmt: skip

# The question marks of all scripts; a Greek one is a semicolon.
_MARK = re.compile("[?\uff1f\u061f\u037e\u055e\u1367\u2047\u2048\u2049]|[\u0370-\u03ff]\\s*;$")
_ASKS = re.compile(
    r"(?:what|why|how|when|where|who|whom|whose|which|is|are|was|were|do|does|did|can|could|should|would|will|has|have)\b",
    re.IGNORECASE,
)
_SEPARATOR = re.compile("[,;\u3001\uff0c\uff1b\u060c\u061b\u00b7|\u2022]")
_STOP = re.compile("[.!\u3002\u0964\uff0e\uff01]$")
_MENTION = re.compile(
    r"\b(?:the|this|that|above|given|following|provided) (?:given |above |following |provided )?"
    r"(?:document|text|passage|article|paper|author|authors|message|excerpt|content)\b|^document (?:about|on|title)\b",
    re.IGNORECASE,
)


def shared(text: str, source: str, length: int) -> float:
    """Return the share of the text's words that lie in a sequence of ``length`` words which ``source`` has too.

    Case and punctuation do not count, and a shorter text shares nothing. In a script without spaces, two letters count
    as a word.
    """
    own, other = words(text), words(source)
    size = length * (2 if _is_unspaced(own) else 1)
    known = set(_sequences(other, size))
    covered = bytearray(len(own))
    for start, sequence in enumerate(_sequences(own, size)):
        if sequence in known:
            covered[start : start + size] = b"\1" * size
    return sum(covered) / max(1, len(own))


def is_line(text: str, source: str) -> bool:
    """Return whether ``text`` has the same words as a line of ``source``."""
    return words(text) in map(words, source.splitlines())


def is_foreign(text: str, document: str) -> bool:
    """Return whether ``text`` is in another script or language than ``document``; False if that cannot be told.

    Another script: two letters in a row of a script, other than Latin, that the document lacks, or more than half of
    the letters, in words that it lacks, of scripts that it hardly uses. Another language: at least two stop words of
    one of the languages for which there are stop words, and none of those that the document may be in.
    """
    known = set(words(document))
    there = Counter(_scripts(document))
    if there and any(size > 1 and script != "LATIN" and not there[script] for script, size in _runs(text)):
        return True
    new = [script for word in words(text) if word not in known for script in _scripts(word)]
    if 2 * sum(there[script] < _FEW * there.total() for script in new) > len(_scripts(text)):
        return True
    languages, own = _languages(tuple(words(document))), set(words(text))
    if not languages or any(own & _stopwords(language) for language in languages):
        return False
    return any(len((own - known) & _stopwords(other)) >= _STOPWORDS for other in LANGUAGES - languages)


def on_topic(text: str, document: str) -> float:
    """Return the share of the text's words that the document has too, stop words aside; 0 if there are no others.

    Words are the same if their first five letters are. In a script without spaces, words are pairs of letters.
    """
    stop = frozenset().union(*map(_stopwords, _languages(tuple(words(document)))))
    known = {term[:_STEM] for term in terms(document)}
    own = [term[:_STEM] for term in terms(text) if term not in stop]
    return sum(term in known for term in own) / max(1, len(own))


def mentions_document(text: str) -> bool:
    """Return whether ``text`` mentions "the document", "this article" or the like, in English."""
    return _MENTION.search(text) is not None


def _question(text: str) -> str:
    if len(_MARK.findall(text)) > 1:
        return "several questions"
    asks = _MARK.search(text) or _ASKS.match(text) or _is_unspaced(words(text))
    return "" if asks else "not a question"


def _statement(text: str) -> str:
    asks = _MARK.search(text[-2:]) or (_ASKS.match(text) and not _STOP.search(text))
    return "a question, not a statement" if asks else ""


def _keywords(text: str) -> str:
    if _MARK.search(text):
        return "a question, not keywords"
    longest = max(len(words(part)) for part in _SEPARATOR.split(text))
    return "a sentence, not keywords" if longest >= _PHRASE and not _is_unspaced(words(text)) else ""


FORMS: Mapping[str, Callable[[str], str]] = {"question": _question, "statement": _statement, "keywords": _keywords}
"""Forms of queries; each function returns how a text differs from its form, empty if it does not.

In a script without spaces a question needs no mark. Elsewhere it has one, or begins with a question word in English.
"""


def _is_unspaced(found: Sequence[str]) -> bool:
    return sum(map(len, found)) < 2 * len(found)


def _sequences(found: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(found[start : start + size]) for start in range(len(found) - size + 1)]


def _scripts(text: str) -> list[str]:
    return [_script(letter) for letter in text if letter.isalpha()]


def _runs(text: str) -> Iterator[tuple[str, int]]:
    """Yield the script and number of the letters in each run of letters of one script."""
    for script, run in itertools.groupby(_script(letter) if letter.isalpha() else "" for letter in text):
        if script:
            yield script, sum(1 for _ in run)


@functools.cache
def _script(letter: str) -> str:
    """The first word of the letter's Unicode name: LATIN, CYRILLIC, CJK, HIRAGANA, ..."""
    return unicodedata.name(letter, "").partition(" ")[0]


@functools.lru_cache(maxsize=1)
def _languages(document: tuple[str, ...]) -> frozenset[str]:
    """The languages that a document may be in: those with the most stop words in it, or at least half as many.

    None if these are less than a tenth of its words.
    """
    counts = {language: sum(word in _stopwords(language) for word in document) for language in LANGUAGES}
    most = max(counts.values())
    return frozenset(
        language for language in LANGUAGES if 2 * counts[language] >= most and 10 * most >= len(document) > 0
    )


@functools.cache
def _stopwords(language: str) -> frozenset[str]:
    return stopwords(language) | (_MORE_ENGLISH if language == "english" else set())
