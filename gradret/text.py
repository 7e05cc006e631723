"""What a passage, a word, a sentence and a normalised text are: the same for every stage, and in every script.

A word is a run of letters, digits and underscores with their combining marks (UTS #18, Annex C), so a vowel sign of
Devanagari does not end it. Where a script writes no blanks between words, each letter counts as a word, as in
UAX #29, and what is indexed are pairs of neighbouring letters. docs/languages.md has the reasons.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["fold", "normalise", "passage", "pieces", "sentences", "terms", "words"]

# Composed Latin, Greek and Cyrillic, punctuation and symbols, which Python's re reads as gradret.scripts does, faster.
_PLAIN = re.compile(
    "[\0-\xac\xae-\u02ff\u0386\u0388-\u03ff\u0400-\u0482\u048a-\u052f\u2010-\u2027\u2030-\u203b\u20a0-\u20bf"
    "\u2100-\u2125\u2127-\u2129\u212c-\u214f\u2190-\u22ff]*"
)
_WORD = re.compile(r"\w+")
_TERM = re.compile(r"\w\w+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n\s*\n")
_NO_LETTERS = re.compile(r"[\W\d_]+", re.ASCII)


def passage(title: str | None, text: str) -> str:
    """Title and text with one space between; the text alone where there is no title."""
    return f"{title} {text}".strip() if title else text


def words(text: str) -> list[str]:
    """The words without case and punctuation; each letter of a script without blanks is a word."""
    text = text.casefold()
    if _is_plain(text):
        return _WORD.findall(text)
    from gradret import scripts

    return scripts.words(fold(text))


def terms(text: str) -> list[str]:
    """What a text is indexed by: lower-case words of two characters or more.

    Chinese, Japanese, Korean, Thai, Lao, Khmer and Burmese words are replaced by every two neighbouring letters, and
    Chinese, Korean, Khmer and Burmese letters by themselves too.
    """
    text = text.lower()
    if _is_plain(text):
        return _TERM.findall(text)
    from gradret import scripts

    return scripts.terms(fold(text))


def pieces(text: str) -> list[str]:
    """Where a text may be cut: after a blank, and after each letter of a script without blanks.

    ``"".join(pieces(text))`` is the text with single blanks, and maybe one more at its end.
    """
    if _is_plain(text):
        return [f"{word} " for word in text.split()]
    from gradret import scripts

    return scripts.pieces(" ".join(text.split()))


def sentences(text: str) -> list[str]:
    """Sentences by the marks of the text's script, and paragraphs; none is empty."""
    if _is_plain(text):
        parts = _SENTENCE_END.split(text)
    else:
        from gradret import scripts

        parts = scripts.sentences(text)
    return [part for part in parts if part.strip()]


def normalise(text: str) -> str:
    """Letters only, lower case, single spaces, without accents; vowel signs and the like are no accents."""
    if text.isascii():
        return _NO_LETTERS.sub(" ", text.lower()).strip()
    from gradret import scripts

    text = scripts.without_accents(unicodedata.normalize("NFKD", text))
    return " ".join(scripts.letters(fold(text).lower()).split())


def fold(text: str) -> str:
    """The text with one spelling for what readers take for the same, in Unicode's NFC.

    Without characters that Unicode calls ignorable (joiners, soft hyphens), Hebrew and Arabic vowel points and
    tatweels; fullwidth, halfwidth and Arabic presentation forms become the letters they stand for.
    """
    if _is_plain(text):
        return text
    from gradret import scripts

    text = scripts.without_ignorable(text)
    text = scripts.FORMS.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text)
    return scripts.POINTS.sub("", unicodedata.normalize("NFC", text))


def _is_plain(text: str) -> bool:
    return text.isascii() or _PLAIN.fullmatch(text) is not None
