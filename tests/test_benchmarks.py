"""The index of benchmarks lists every script, and their result files exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "benchmarks"
INDEX = (ROOT / "README.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `(\w+)` \|.*\| `(\w+\*)` \|$", INDEX, re.MULTILINE))
RUNNABLE = {path.stem for path in ROOT.glob("*.py") if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8")}


def test_every_script_is_in_the_index():
    apart = {"index_paper", "pydocs_pool", "llm_check", "llm_filters"}
    inner = {name for name in RUNNABLE if f"`{name}`" in INDEX.partition("Parts that others import:")[2]}
    assert RUNNABLE - apart - inner == set(ROWS)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_its_results_are_there(name):
    assert list((ROOT / "results").glob(f"{ROWS[name]}.md"))


def test_make_bench_runs_all_of_them():
    recipe = (ROOT.parent / "Makefile").read_text(encoding="utf-8").partition("\nbench:")[2].partition("\n\n")[0]
    assert set(re.findall(r"-m benchmarks\.(\w+)", recipe)) == set(ROWS)
    assert "benchmarks/" not in recipe.partition("\n")[2]


def test_there_is_one_import_style():
    for path in ROOT.glob("*.py"):
        inner = re.findall(r"^\s*from (\w+) import", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert not {name for name in inner if (ROOT / f"{name}.py").is_file()}, path.name


def test_files_are_short():
    assert [path.name for path in ROOT.glob("*.py") if len(path.read_text(encoding="utf-8").splitlines()) > 350] == []
