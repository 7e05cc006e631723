"""The pages of the site: every internal link and anchor resolves, and the navigation names every page once."""

import re
from collections import Counter
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PLACES = ("*.md", "docs/**/*.md", "cluster/*.md", "benchmarks/*.md", "benchmarks/results/*.md", "findings/*.md")
PAGES = sorted({path for place in PLACES for path in ROOT.glob(place)})
NAVIGATION = yaml.safe_load((ROOT / "docs" / "_toc.yml").read_text(encoding="utf-8"))
# The reference gets its headings from docstrings when the site is built.
BUILT = ROOT / "docs" / "api"


@cache
def tokens(path):
    return MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8"))


@cache
def anchors(path):
    """Anchors of the headings, as GitHub and MyST make them."""
    found = Counter()
    for heading, inline in zip(tokens(path), tokens(path)[1:], strict=False):
        if heading.type == "heading_open":
            text = "".join(part.content for part in inline.children if part.type in ("text", "code_inline"))
            found[re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")] += 1
    return {slug if not number else f"{slug}-{number}" for slug, times in found.items() for number in range(times)}


def links(path):
    """The targets of links and pictures within the repository."""
    for block in tokens(path):
        for part in block.children or ():
            target = part.attrs.get("href") or part.attrs.get("src")
            if target and not re.match(r"[a-z][a-z+.-]*:", target):
                yield unquote(str(target))


def broken(path):
    for target in links(path):
        name, _, anchor = target.partition("#")
        to = (path.parent / name).resolve() if name else path
        if not to.is_file():
            yield f"{target}: no file"
        elif anchor and BUILT not in to.parents and anchor not in anchors(to):
            yield f"{target}: no such heading"


def named(entries):
    """The pages that the navigation names, with their suffix."""
    for entry in entries:
        if "glob" in entry:
            yield from ROOT.glob(f"{entry['glob']}.md")
        else:
            yield ROOT / f"{entry['file']}.md"
            yield from named(entry.get("entries", ()))


@pytest.mark.parametrize("path", PAGES, ids=[str(path.relative_to(ROOT)) for path in PAGES])
def test_every_link_resolves(path):
    assert list(broken(path)) == []


def test_the_navigation_names_every_page_once():
    pages = [ROOT / f"{NAVIGATION['root']}.md"]
    for part in NAVIGATION["subtrees"]:
        pages += named(part["entries"])
    assert {page: times for page, times in Counter(pages).items() if times > 1} == {}
    assert set(pages) == set(PAGES)


def test_broken_links_are_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One two\n\n[a](#one-two) [b](#one) [c](missing.md) ![d](missing.svg) [e](https://x.org/y)\n")
    assert list(broken(page)) == ["#one: no such heading", "missing.md: no file", "missing.svg: no file"]
