"""How title and text are read as one."""

import pytest

from gradret.text import passage


@pytest.mark.parametrize(
    ("title", "text", "whole"),
    [("A", "b", "A b"), ("", "b", "b"), (None, " b ", " b "), ("A", "", "A"), ("", "", ""), (None, "", "")],
)
def test_passage(title, text, whole):
    assert passage(title, text) == whole
