"""Every colour that a page names is defined, for light and for dark."""

import re
from importlib import resources

from gradret.report.svg import _VARIABLES
from gradret.stats.significance import _ORDER

STYLE = resources.files("gradret.report").joinpath("templates", "page.css").read_text()
LIGHT, DARK = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)


def test_variables_are_defined():
    used = set(re.findall(r"var\((--[\w-]+)\)", STYLE)) | set(_VARIABLES.values())
    assert {f"--plot-{system}" for system in _ORDER} <= used
    for block in (LIGHT, DARK):
        assert used <= set(re.findall(r"(--[\w-]+):", block))
