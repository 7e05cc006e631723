"""Define passages, words, sentences and normalised texts, the same way for every stage and script.

A word is a sequence of letters, digits and underscores with their combining marks (UTS #18, Annex C), so a vowel sign
of Devanagari does not end it. In scripts without spaces between words, each letter counts as a word, as in UAX #29,
and pairs of adjacent letters are indexed. docs/languages.md gives the reasons.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["fold", "normalise", "passage", "pieces", "sentences", "terms", "words"]

# Composed Latin, Greek and Cyrillic, punctuation and symbols: Python's re gives the result of gradret.scripts, faster.
_PLAIN = re.compile(
    "[\0-\xac\xae-\u02ff\u0386\u0388-\u03ff\u0400-\u0482\u048a-\u052f\u2010-\u2027\u2030-\u203b\u20a0-\u20bf"
    "\u2100-\u2125\u2127-\u2129\u212c-\u214f\u2190-\u22ff]*"
)
_WORD = re.compile(r"\w+")
_TERM = re.compile(r"\w\w+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n\s*\n")
_NO_LETTERS = re.compile(r"[\W\d_]+", re.ASCII)


def passage(title: str | None, text: str) -> str:
    """Return title and text, joined by a space; only the text if there is no title."""
    return f"{title} {text}".strip() if title else text


def words(text: str) -> list[str]:
    """Return the words without case and punctuation; each letter of a script without spaces is a word."""
    text = text.casefold()
    if _is_plain(text):
        return _WORD.findall(text)
    from gradret import scripts

    return scripts.words(fold(text))


def terms(text: str) -> list[str]:
    """Return the terms by which a text is indexed: lower-case words of at least two characters.

    Chinese, Japanese, Korean, Thai, Lao, Khmer and Burmese words are replaced by all pairs of adjacent letters;
    Chinese, Korean, Khmer and Burmese letters are also terms by themselves.
    """
    text = text.lower()
    if _is_plain(text):
        return _TERM.findall(text)
    from gradret import scripts

    return scripts.terms(fold(text))


def pieces(text: str) -> list[str]:
    """Split a text wherever it may be cut: after a space, and after each letter of a script without spaces.

    ``"".join(pieces(text))`` is the text with single spaces, and possibly an additional one at the end.
    """
    if _is_plain(text):
        return [f"{word} " for word in text.split()]
    from gradret import scripts

    return scripts.pieces(" ".join(text.split()))


def sentences(text: str) -> list[str]:
    """Split a text into sentences, by the punctuation of its script, and paragraphs; none is empty."""
    if _is_plain(text):
        parts = _SENTENCE_END.split(text)
    else:
        from gradret import scripts

        parts = scripts.sentences(text)
    return [part for part in parts if part.strip()]


def normalise(text: str) -> str:
    """Return only the letters, in lower case, with single spaces and without accents, but with vowel signs."""
    if text.isascii():
        return _NO_LETTERS.sub(" ", text.lower()).strip()
    from gradret import scripts

    text = scripts.without_accents(unicodedata.normalize("NFKD", text))
    return " ".join(scripts.letters(fold(text).lower()).split())


def fold(text: str) -> str:
    """Return the text in Unicode's NFC, with one spelling for what readers consider the same.

    Removes characters that Unicode calls ignorable (joiners, soft hyphens), Hebrew and Arabic vowel points and
    tatweels; replaces fullwidth, halfwidth and Arabic presentation forms by the letters they represent.
    """
    if _is_plain(text):
        return text
    from gradret import scripts

    text = scripts.without_ignorable(text)
    text = scripts.FORMS.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
    return scripts.POINTS.sub("", unicodedata.normalize("NFC", text))


def _is_plain(text: str) -> bool:
    return text.isascii() or _PLAIN.fullmatch(text) is not None
