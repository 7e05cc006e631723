"""The example of docs/add-a-component.md, run as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

from gradret import components

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "add-a-component.md").read_text(encoding="utf-8")


def laws(folder):
    """The laws of losses over those of the package and the example in ``folder``; the example's only."""
    path = os.pathsep.join([str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"GRADRET_LOSSES": "outside.mse:MSE", "PYTHONPATH": path}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "outside.mse"]
    command.append("tests/conformance/test_losses.py")
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def written(folder, code):
    (folder / "outside").mkdir()
    (folder / "outside" / "__init__.py").touch()
    (folder / "outside" / "mse.py").write_text(code, encoding="utf-8")
    return folder


def example():
    (code,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return code


def test_the_example_keeps_the_laws_of_losses(tmp_path):
    done = laws(written(tmp_path, example()))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.match(r"\.{20}", done.stdout)  # twenty laws or more, one dot each


def test_a_broken_example_is_noticed(tmp_path):
    code = example().replace("squares_QG[lists.graded_QG].sum()", "squares_QG.sum()")
    assert code != example()
    assert laws(written(tmp_path, code)).returncode == 1


def test_every_kind_is_in_the_document():
    assert set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)) == set(components.KINDS)
