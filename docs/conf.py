"""Build the site: ``make docs``. The source folder is the repository, so links mean the same in it as in the site.

The navigation is ``_toc.yml``. Two directives keep the reference complete: ``components KIND`` documents every
component of a kind, ``keys BLOCK`` every config key of a block.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from gradret import components
from gradret.commands.keys import keys_below
from gradret.version import VERSION

project = "gradret"
author = "The gradret authors"
project_copyright = author
release = version = VERSION

extensions = ["myst_parser", "sphinx_external_toc", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
external_toc_path = "docs/_toc.yml"
include_patterns = [
    "*.md",
    "docs/*.md",
    "docs/**/*.md",
    "cluster/*.md",
    "benchmarks/*.md",
    "benchmarks/results/*.md",
    "findings/*.md",
]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 80
napoleon_numpy_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"gradret {VERSION}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_theme_options = {"source_edit_link": ""}
pygments_style = "default"
pygments_dark_style = "github-dark"
highlight_language = "none"


class Components(SphinxDirective):
    """Document every component of a kind: its class, and its fields, which are its config keys."""

    required_arguments = 1

    def run(self) -> list[Any]:
        kind = self.arguments[0]
        text = "\n".join(_component(kind, name) for name in components.names(kind))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


class Keys(SphinxDirective):
    """List the config keys of a block: default and meaning."""

    required_arguments = 1

    def run(self) -> list[Any]:
        lines = []
        for key in keys_below(self.arguments[0]):
            default = "required" if key.required else f"`{key.default!r}`"
            kind = f" See [{key.of}]({key.of}.md)." if key.of else ""
            lines.append(f"- `{key.key}` ({default}): {key.doc}{kind}")
        return self.parse_text_to_nodes("\n".join(lines))


def _component(kind: str, name: str) -> str:
    found = components.find(kind, name)
    members = ", ".join(field.name for field in dataclasses.fields(found))
    options = f"   :members: {members}\n   :undoc-members:\n" if members else ""
    where = f"{found.__module__}.{found.__qualname__}"
    return f"## {name}\n\n```{{eval-rst}}\n.. autoclass:: {where}\n{options}```\n"


def setup(app: Sphinx) -> None:
    """Register the directives."""
    app.add_directive("components", Components)
    app.add_directive("keys", Keys)
