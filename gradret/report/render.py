"""Render HTML pages from the templates of this folder: self-contained, escaped, with a contents list."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from gradret.progress import duration, printable
from gradret.stats.significance import p_text

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["render"]

_SNIPPET = 160
_SECTION = re.compile(r'<section id="([^"]+)">\s*<h2>(.*?)</h2>', re.DOTALL)


def render(template: str, *, name: str, what: str, **values: object) -> str:
    """Render a template that extends ``layout.html.jinja``.

    The page's Content-Security-Policy allows its own style and its own script, by the script's hash, and nothing else:
    a text that escaped the escaping could neither run code nor fetch anything.

    Args:
        template: name of the file in ``templates/``.
        name: title of the page.
        what: kind of page, such as ``report``.
        values: what the template shows.
    """
    style, script = _part("page.css"), _part("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment()
        .get_template(template)
        .render(name=name, what=what, style=style, script=script, script_hash=f"sha256-{digest}", **values)
    )


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("gradret.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"p_text": p_text, "snippet": _snippet, "contents": _contents, "duration": duration}
    return environment


def _part(name: str) -> str:
    return resources.files("gradret.report").joinpath("templates", name).read_text(encoding="utf-8")


def _visible(value: object) -> object:
    """A text with its control characters written out; not what the template marks as HTML."""
    return printable(value) if type(value) is str else value


def _contents(body: str) -> list[tuple[str, str]]:
    """The id and title, as HTML, of each section of a rendered page."""
    return _SECTION.findall(body)


def _snippet(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SNIPPET else text[:_SNIPPET].rstrip(" .,;") + "…"
