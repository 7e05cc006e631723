"""Files for contributors, citation and installation."""

import glob
import itertools
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from gradret.cli import main
from gradret.version import VERSION

ROOT = Path(__file__).parents[1]


def test_the_citation_names_this_version_and_the_four_papers():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == VERSION
    papers = {one["value"] for paper in citation["references"] for one in paper["identifiers"]}
    assert papers == {"arXiv:2503.23239", "arXiv:2502.19712", "arXiv:2508.06781", "arXiv:2602.12727"}


def test_the_wheel_takes_every_file_that_is_no_module():
    listed = subprocess.run(["git", "ls-files", "gradret"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = {line.removeprefix("gradret/") for line in listed.split() if not line.endswith(".py")}
    assert files
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["gradret"]
    # setuptools expands them so: `**` takes files too, which pathlib's does not.
    packaged = (glob.glob(one, root_dir=ROOT / "gradret", recursive=True) for one in patterns)  # noqa: PTH207
    assert files <= set(itertools.chain.from_iterable(packaged))


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"gradret {VERSION}\n"
