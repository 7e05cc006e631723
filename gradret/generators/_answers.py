"""Parse an LLM's answer, a line or a JSON object: strip decoration, reject what cannot be used."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from gradret.engines import Unusable

if TYPE_CHECKING:
    from gradret.engines import Answer

__all__ = ["document", "is_refusal", "json_object", "one_line"]

# JSON may contain an unpaired surrogate, which cannot be written to a file.
_SURROGATE = re.compile("[\ud800-\udfff]")
_BULLET = re.compile(r"(?:[-*•]|1[.)]) +")
_NOUN = (
    r"(?:(?:web )?search (?:query|terms?|phrase)|query|question|claim|statement|title|headline|keywords?|key phrases?"
    r"|answer|output|response|sentence)"
)
_LABELLED = rf"(?:(?:document |suggested )?{_NOUN}|main idea|document|web search)"
_LABEL = re.compile(rf"(?:\*\*)?{_LABELLED}(?: \d+)?(?:\*\*)?:(?:\*\*)?(?: +|$|(?=\w))", re.IGNORECASE)
# "The title for the document is: ", "A possible question about this text: "; "Query optimisation: a survey" is a title.
_PREAMBLE = re.compile(
    rf"(?:here(?: is|['\u2019]s| are)|sure|certainly|of course|okay|ok)\b[^:]*\b{_NOUN}\b[^:]*:(?: +|$)"
    rf"|(?:(?:the|a|an|my|your|one|this|possible|suggested|good|best|short|following) )*{_NOUN}\b[^:?]*"
    r"\b(?:is|are|(?:would|could|can|might|may) be|as follows|below|(?:the|this|above|given) "
    r"(?:document|text|article|passage|page))\b[^:?]*:(?: +|$)",
    re.IGNORECASE,
)
_TAGGED = re.compile(r"<(\w+)>(.*)</\1>")
_LINK = re.compile(r"https?://\S+$", re.IGNORECASE)
_QUOTES = (('"', '"'), ("“", "”"), ("„", "“"), ("'", "'"), ("\u2018", "\u2019"), ("«", "»"), ("`", "`"), ("**", "**"))
_ANNOUNCEMENT = re.compile(r".*[:\uff1a]|```\w*")

# Match only refusals that nobody would search for: "I can't sleep" is a query.
_CANNOT = r"(?:cannot|can't|can not|won't|will not|(?:am|'m) (?:unable|not able) to)"
_HELP = r"(?:help|assist|provide|write|generate|create|answer|fulfil|fulfill|comply|produce)\b"
_AI = r"as an? (?:ai|artificial intelligence|(?:ai |large )?language model|ai assistant),? i\b"
_REFUSAL = re.compile(
    rf"(?:(?:i'm |i am )?sorry|i apologi[sz]e|unfortunately)[,.]? (?:but )?(?:i ?{_CANNOT}|{_AI})"
    rf"|i ?{_CANNOT} {_HELP}|{_AI}",
    re.IGNORECASE,
)


def one_line(answer: Answer, task: str = "") -> str:
    """Return the first line with content, with single spaces and without label, bullet, quotes or the task before it.

    Skips a reasoning model's thoughts (up to ``</think>``) and a line that only announces the answer.

    Raises:
        Unusable: there is no such line, it is a refusal or a link, or it was cut off at ``max_tokens``.
    """
    text = answer.text.rpartition("</think>")[2]
    if text.lstrip().startswith("<think>"):
        raise Unusable("no answer after the thoughts")
    echo = re.compile(rf"{re.escape(task)}:(?: +|$)", re.IGNORECASE)
    cleaned = [_strip_decoration(line, echo) for line in text.split("\n")]
    has_content = [bool(re.search(r"\w", line)) and not _ANNOUNCEMENT.fullmatch(line) for line in cleaned]
    if not any(has_content):
        raise Unusable("empty answer")
    first = has_content.index(True)
    if is_refusal(cleaned[first]):
        raise Unusable("refusal")
    if _LINK.match(cleaned[first]):
        raise Unusable("a link")
    if answer.finish == "length" and first == len(cleaned) - 1:
        raise Unusable("cut off at max_tokens")
    return cleaned[first]


def is_refusal(text: str) -> bool:
    """Return whether ``text`` begins like a refusal, in English.

    A refusal begins with an apology and "I cannot", with "I cannot help" (or write, answer, ...), or with
    "as an AI, I".
    """
    return _REFUSAL.match(text.strip().replace("\u2019", "'")) is not None


def _strip_decoration(line: str, echo: re.Pattern[str]) -> str:
    """Strip announcements, labels, bullets and quotes until none is left."""
    text, previous = " ".join(line.split()), None
    while text != previous:
        previous = text
        for prefix in (echo, _BULLET, _LABEL, _PREAMBLE):
            text = _without_prefix(prefix, text)
        text = _without_quotes(_TAGGED.sub(r"\2", text) if _TAGGED.fullmatch(text) else text)
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
