"""Commands that compute nothing import no heavy package: a typo is told at once."""

import subprocess
import sys

import pytest

from .small_run import ROOT

HEAVY = {"faiss", "pandas", "ray", "scipy", "sklearn", "torch", "transformers"}
CONFIG = str(ROOT / "configs" / "quickstart.yaml")


def imported(*arguments):
    """Exit status of a command, its output, and the heavy packages that its process imported."""
    code = (
        "import atexit, sys; from gradret.cli import main_of_process;"
        f"atexit.register(lambda: print('imported', *({HEAVY!r} & set(sys.modules))));"
        "main_of_process()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )
    return done.returncode, done.stdout + done.stderr, done.stdout.splitlines()[-1].split()[1:]


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["--help"], 0, "usage: gradret"),
        (["--version"], 0, "gradret "),
        (["show"], 0, "losses"),
        (["show", "train.learning_rate"], 0, "train.learning_rate: float"),
        (["show", "losses", "kl"], 0, "losses kl"),
        (["show", "encoders"], 0, "transformer"),
        (["run", CONFIG, "trian.epochs=3"], 2, "did you mean 'train'?"),
        (["run", CONFIG, "train.loss=[{name: lk}]"], 2, "'lk' is not one of the losses"),
        (["run", CONFIG, "train.epochs=many"], 2, "train.epochs: expected"),
        (["run", CONFIG, "train.encoder.modle=x"], 2, "did you mean 'model'?"),
    ],
)
def test_it_imports_nothing_heavy(arguments, status, text):
    got, output, heavy = imported(*arguments)
    assert got == status, output
    assert text in output
    assert heavy == []


def test_a_config_with_every_component_imports_nothing_heavy():
    every = (
        "import sys; from gradret import components;"
        "[components.find(kind, name) for kind in components.KINDS for name in components.names(kind)];"
        f"print(*({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", every], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []


def test_init_imports_nothing_heavy(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("A wing in a slipstream gains lift.")
    status, output, heavy = imported("init", str(tmp_path / "docs"), "--output", str(tmp_path / "c.yaml"))
    assert (status, heavy) == (0, []), output
