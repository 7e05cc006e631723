"""Read a page as a browser would, and check what every page of gradret keeps to."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

VOID = frozenset({"meta", "br", "link", "img", "input", "hr"})
SHAPES = frozenset({"path", "use", "defs", "rect", "clippath"})


class Page(HTMLParser):
    """Collects the elements of a page, and checks that every one is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.contents: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def of(self, tag: str) -> list[dict[str, str]]:
        """The attributes of each element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


def read(html: str) -> Page:
    """Parse a page of gradret.

    It is well-formed and self-contained; ids are unique; contents and sections agree; headings of tables have a scope,
    tables a caption, plots a text; and the browser is told to run nothing but the page's own script.
    """
    page = Page()
    page.feed(html)
    assert not page.open
    assert html.startswith("<!doctype html>")
    assert not {"link", "img", "iframe", "object", "form"} & {tag for tag, _ in page.elements}
    addresses = [a[name] for _, a in page.elements for name in ("src", "href", "xlink:href") if name in a]
    assert all(address.startswith("#") for address in addresses)
    assert not re.findall(r"@import|url\((?!#)", html)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {address.removeprefix("#") for address in addresses} <= set(ids)
    page.contents = re.findall(r'<li><a href="#([^"]+)">(.*?)</a></li>', html)
    assert [name for name, _ in page.contents] == [attributes["id"] for attributes in page.of("section")]
    assert all(heading.get("scope") in {"col", "row"} for heading in page.of("th"))
    assert len(page.of("table")) == len(page.of("caption"))
    assert all(len(plot["aria-label"].split()) >= 5 for plot in page.of("svg"))
    _check_script(page, html)
    return page


def _check_script(page: Page, html: str) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = (each["content"] for each in page.of("meta") if "http-equiv" in each)
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
