"""Read an LLM's answer, one line or a JSON object: strip what models put around it, refuse what cannot be used."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from gradret.engines import Unusable

if TYPE_CHECKING:
    from gradret.engines import Answer

__all__ = ["document", "is_copy", "is_refusal", "json_object", "one_line"]

# JSON may hold one, and no file can.
_HALF = re.compile("[\ud800-\udfff]")
_BULLET = re.compile(r"(?:[-*•]|1[.)]) +")
_LABEL = re.compile(
    r"(?:\*\*)?(?:search query|query|question|claim|title|keywords?|answer|output)(?: \d+)?(?:\*\*)?:(?:\*\*)?(?: +|$)",
    re.IGNORECASE,
)
_AROUND = (('"', '"'), ("“", "”"), ("„", "“"), ("'", "'"), ("\u2018", "\u2019"), ("«", "»"), ("`", "`"), ("**", "**"))
_ANNOUNCES = re.compile(r"(?:sure|certainly|of course|okay|ok|here(?: is|['\u2019]s| are))\b.*:|```\w*", re.IGNORECASE)

# Only what nobody searches for: "I can't sleep" is a query.
_CANNOT = r"(?:cannot|can't|can not|won't|will not|(?:am|'m) (?:unable|not able) to)"
_HELP = r"(?:help|assist|provide|write|generate|create|answer|fulfil|fulfill|comply|produce)\b"
_AI = r"as an? (?:ai|artificial intelligence|(?:ai |large )?language model|ai assistant),? i\b"
_REFUSAL = re.compile(
    rf"(?:(?:i'm |i am )?sorry|i apologi[sz]e|unfortunately)[,.]? (?:but )?(?:i ?{_CANNOT}|{_AI})"
    rf"|i ?{_CANNOT} {_HELP}|{_AI}",
    re.IGNORECASE,
)


def one_line(answer: Answer) -> str:
    """The first line of the answer that says something, its spaces single, without label, bullet or quotes.

    A reasoning model's thoughts (up to ``</think>``) and a line that only announces the answer are
    passed over.

    Raises:
        Unusable: there is no such line, it is a refusal, or it did not end before ``max_tokens``.
    """
    text = answer.text.rpartition("</think>")[2]
    if text.lstrip().startswith("<think>"):
        raise Unusable("no answer after the thoughts")
    cleaned = [_clean(line) for line in text.split("\n")]
    says = [bool(re.search(r"\w", line)) and not _ANNOUNCES.fullmatch(line) for line in cleaned]
    if not any(says):
        raise Unusable("empty answer")
    first = says.index(True)
    if is_refusal(cleaned[first]):
        raise Unusable("refusal")
    if answer.finish == "length" and first == len(cleaned) - 1:
        raise Unusable("cut off at max_tokens")
    return cleaned[first]


def is_refusal(text: str) -> bool:
    """Whether ``text`` begins as models begin when they decline, in English.

    That is: an apology and that they cannot, that they cannot write, help, answer or the like, or
    that they are an AI.
    """
    return _REFUSAL.match(text.strip().replace("\u2019", "'")) is not None


def is_copy(line: str, prompt: str) -> bool:
    """Whether ``line`` is a line of the prompt, or three words or more that stand in it as they are."""
    folded = _folded(line)
    long = len(folded.split()) >= 3
    return (long and folded in _folded(prompt)) or any(folded == _folded(each) for each in prompt.splitlines())


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _clean(line: str) -> str:
    """Without what stands around it, layer by layer."""
    text, before = " ".join(line.split()), None
    while text != before:
        before = text
        text = _unwrapped(_without(_LABEL, _without(_BULLET, text)))
    return text


def _without(head: re.Pattern[str], text: str) -> str:
    found = head.match(text)
    return text[found.end() :] if found else text


def _unwrapped(text: str) -> str:
    for left, right in _AROUND:
        inner = text.removeprefix(left).removesuffix(right)
        if text == left + inner + right and left not in inner and right not in inner:
            return inner.strip()
    return text


def json_object(answer: Answer) -> dict[str, Any]:
    """The JSON object that the answer is.

    Raises:
        Unusable: it is cut off, or something else.
    """
    try:
        # Not strict: engines let line ends and other control characters through.
        texts = json.loads(answer.text, strict=False)
    except (ValueError, RecursionError):
        raise Unusable("cut off at max_tokens" if answer.finish == "length" else "not JSON") from None
    if not isinstance(texts, dict):
        raise Unusable("not a JSON object")
    return texts


def document(value: object) -> str:
    """A document of a JSON answer, without the space around it.

    Raises:
        Unusable: it is missing, empty, a refusal, or no file can hold it.
    """
    if not isinstance(value, str):
        raise Unusable("a document is missing")
    if not value.strip():
        raise Unusable("a document is empty")
    if is_refusal(value):
        raise Unusable("refusal")
    if _HALF.search(value):
        raise Unusable("half a surrogate pair in the text")
    return value.strip()
