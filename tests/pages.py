"""The commands of the documentation's pages."""

import re
import shlex

from markdown_it import MarkdownIt

from .small_run import ROOT

PAPERS = ("listwise-distillation", "sycl", "bixse", "multiple-positives")


def paper(name):
    """The path of a paper's page."""
    return ROOT / "docs" / "papers" / f"{name}.md"


def commands(path):
    """The words of every gradret command and every pipeline in a page's code blocks."""
    for block in MarkdownIt("commonmark").parse(path.read_text(encoding="utf-8")):
        if block.type == "code_block" or (block.type == "fence" and block.info in ("", "bash")):
            for line in block.content.replace("\\\n", " ").splitlines():
                if re.match(r"\s*(\.venv/bin/)?gradret \w|\s*python pipelines/", line):
                    yield shlex.split(line, comments=True)


def small_pipelines(name):
    """The words of the commands that run a paper's pipeline with its small config."""
    return [words for words in commands(paper(name)) if words[0] == "python" and words[2].endswith("_small.yaml")]
