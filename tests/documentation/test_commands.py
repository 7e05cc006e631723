"""The commands of README and of the pages: gradret takes them, with their flags and config keys."""

from pathlib import Path

import pytest

from gradret import arguments
from gradret.config.evaluation import is_evaluation, load_evaluation
from gradret.config.loading import load
from gradret.errors import ConfigError

from ..pages import PAPERS, commands, paper, small_pipelines

ROOT = Path(__file__).parents[2]
GUIDES = sorted(
    {ROOT / "README.md", ROOT / "cluster" / "README.md", *(ROOT / "docs").glob("**/*.md")} - {ROOT / "docs" / "log.md"}
)


COMMANDS = [
    pytest.param(words, id=f"{path.relative_to(ROOT)}: {' '.join(words)[:70]}")
    for path in GUIDES
    for words in commands(path)
]


def config_of(words):
    """A command's config and overrides; None for a command that takes no config of the repository."""
    if words[0] == "python":
        return words[2], words[3:]
    parsed = arguments.parse([word for word in words[1:] if word != "..."])
    path = getattr(parsed, "config", None)
    return (path, parsed.overrides) if path and path.startswith("configs/") else None


def test_there_are_commands():
    assert len(COMMANDS) > 60


@pytest.mark.parametrize("words", COMMANDS)
def test_gradret_takes_the_command(words, monkeypatch):
    monkeypatch.chdir(ROOT)
    check(words)


@pytest.mark.parametrize("line", ["run configs/quickstart.yaml train.epoch=2", "search RUN --best", "runn CONFIG"])
def test_a_wrong_command_is_noticed(line, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises((SystemExit, ConfigError)):
        check(["gradret", *line.split()])


@pytest.mark.parametrize("name", PAPERS)
def test_a_paper_has_its_commands(name):
    """On a laptop and on GPUs, its pipeline; its recipes side by side; what a run would cost."""
    found = [(words[0] if words[0] == "python" else words[1], config_of(words)[0]) for words in commands(paper(name))]
    (small,) = small_pipelines(name)  # tests/test_pipelines.py runs it
    config = small[2].removesuffix("_small.yaml")
    assert {("python", f"{config}.yaml"), ("plan", f"{config}.yaml"), ("compare", f"{config}.yaml")} <= set(found)
    assert ("compare", f"{config}_small.yaml") in found


def check(words):
    if words[0] == "python":
        assert (ROOT / words[1]).is_file()
    if found := config_of(words):
        path, overrides = found
        (load_evaluation if is_evaluation(path) else load)(path, [word for word in overrides if "=" in word])
