"""docs/pictures.py: the pictures are as it draws them, from the results that are there."""

import runpy
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PICTURES = runpy.run_path(str(DOCS / "pictures.py"))["PICTURES"]


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_as_the_script_draws_it(name):
    stored = (DOCS / name).read_text(encoding="utf-8")
    assert stored == PICTURES[name](), "run python docs/pictures.py"
    assert ET.fromstring(stored).attrib["role"] == "img"
