"""The search page: one HTML text with its style and its script, without any text of the run."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

__all__ = ["page"]


def page() -> tuple[str, str]:
    """Return the page, and its Content-Security-Policy.

    The policy allows its own style and script, by their hashes, and requests to this server only: a document's text
    that escaped the escaping could neither run code nor send anything elsewhere.
    """
    style = _part("report", "page.css") + _part("serving", "search.css")
    script = _part("serving", "search.js")
    html = _part("serving", "search.html").replace("{{ style }}", style).replace("{{ script }}", script)
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return html, policy


def _part(folder: str, name: str) -> str:
    return resources.files(f"gradret.{folder}").joinpath("templates", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
