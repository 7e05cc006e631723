"""Parse an LLM's answer, a line or a JSON object: strip decoration, reject what cannot be used."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from gradret.engines import Unusable
from gradret.text import pieces

if TYPE_CHECKING:
    from gradret.engines import Answer

__all__ = ["document", "is_copy", "is_refusal", "json_object", "one_line"]

# JSON may contain an unpaired surrogate, which cannot be written to a file.
_SURROGATE = re.compile("[\ud800-\udfff]")
_BULLET = re.compile(r"(?:[-*•]|1[.)]) +")
_LABEL = re.compile(
    r"(?:\*\*)?(?:search query|query|question|claim|title|keywords?|answer|output)(?: \d+)?(?:\*\*)?:(?:\*\*)?(?: +|$)",
    re.IGNORECASE,
)
_QUOTES = (('"', '"'), ("“", "”"), ("„", "“"), ("'", "'"), ("\u2018", "\u2019"), ("«", "»"), ("`", "`"), ("**", "**"))
_ANNOUNCEMENT = re.compile(
    r"(?:sure|certainly|of course|okay|ok|here(?: is|['\u2019]s| are))\b.*:|```\w*", re.IGNORECASE
)

# Match only refusals that nobody would search for: "I can't sleep" is a query.
_CANNOT = r"(?:cannot|can't|can not|won't|will not|(?:am|'m) (?:unable|not able) to)"
_HELP = r"(?:help|assist|provide|write|generate|create|answer|fulfil|fulfill|comply|produce)\b"
_AI = r"as an? (?:ai|artificial intelligence|(?:ai |large )?language model|ai assistant),? i\b"
_REFUSAL = re.compile(
    rf"(?:(?:i'm |i am )?sorry|i apologi[sz]e|unfortunately)[,.]? (?:but )?(?:i ?{_CANNOT}|{_AI})"
    rf"|i ?{_CANNOT} {_HELP}|{_AI}",
    re.IGNORECASE,
)


def one_line(answer: Answer) -> str:
    """Return the first line with content, with single spaces and without label, bullet or quotes.

    Skips a reasoning model's thoughts (up to ``</think>``) and a line that only announces the answer.

    Raises:
        Unusable: there is no such line, it is a refusal, or it was cut off at ``max_tokens``.
    """
    text = answer.text.rpartition("</think>")[2]
    if text.lstrip().startswith("<think>"):
        raise Unusable("no answer after the thoughts")
    cleaned = [_strip_decoration(line) for line in text.split("\n")]
    has_content = [bool(re.search(r"\w", line)) and not _ANNOUNCEMENT.fullmatch(line) for line in cleaned]
    if not any(has_content):
        raise Unusable("empty answer")
    first = has_content.index(True)
    if is_refusal(cleaned[first]):
        raise Unusable("refusal")
    if answer.finish == "length" and first == len(cleaned) - 1:
        raise Unusable("cut off at max_tokens")
    return cleaned[first]


def is_refusal(text: str) -> bool:
    """Return whether ``text`` begins like a refusal, in English.

    A refusal begins with an apology and "I cannot", with "I cannot help" (or write, answer, ...), or with
    "as an AI, I".
    """
    return _REFUSAL.match(text.strip().replace("\u2019", "'")) is not None


def is_copy(line: str, prompt: str) -> bool:
    """Return whether ``line`` is a line of the prompt, or at least three words that occur in it verbatim.

    In a script without spaces, six letters are enough.
    """
    folded = _folded(line)
    is_long = len(folded.split()) >= 3 or len(pieces(folded)) >= 6
    return (is_long and folded in _folded(prompt)) or any(folded == _folded(each) for each in prompt.splitlines())


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _strip_decoration(line: str) -> str:
    """Strip labels, bullets and quotes until none is left."""
    text, previous = " ".join(line.split()), None
    while text != previous:
        previous = text
        text = _without_quotes(_without_prefix(_LABEL, _without_prefix(_BULLET, text)))
    return text


def _without_prefix(prefix: re.Pattern[str], text: str) -> str:
    match = prefix.match(text)
    return text[match.end() :] if match else text


def _without_quotes(text: str) -> str:
    for left, right in _QUOTES:
        inner = text.removeprefix(left).removesuffix(right)
        if text == left + inner + right and left not in inner and right not in inner:
            return inner.strip()
    return text


def json_object(answer: Answer) -> dict[str, Any]:
    """Parse the answer as a JSON object.

    Raises:
        Unusable: the answer is cut off or is not a JSON object.
    """
    try:
        # Not strict: engines allow line ends and other control characters in strings.
        texts = json.loads(answer.text, strict=False)
    except (ValueError, RecursionError):
        raise Unusable("cut off at max_tokens" if answer.finish == "length" else "not JSON") from None
    if not isinstance(texts, dict):
        raise Unusable("not a JSON object")
    return texts


def document(value: object) -> str:
    """Return a document of a JSON answer, without surrounding white space.

    Raises:
        Unusable: the document is missing, empty or a refusal, or has an unpaired surrogate.
    """
    if not isinstance(value, str):
        raise Unusable("a document is missing")
    if not value.strip():
        raise Unusable("a document is empty")
    if is_refusal(value):
        raise Unusable("refusal")
    if _SURROGATE.search(value):
        raise Unusable("an unpaired surrogate in the text")
    return value.strip()
