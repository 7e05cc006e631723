"""The unchanged examples of docs/add-a-component.md, one per kind, tested by the laws of their kinds."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from gradret import components

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "add-a-component.md").read_text(encoding="utf-8")
EXAMPLES = {
    kind: (module, code)
    for kind, module, code in re.findall(
        r"^## `(\w+)/(\w+)\.py`\n\n```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL
    )
}
DATA = {
    "docs": [f"d{n}\ttitle {n}\ttext {n}" for n in range(9)] + ["broken"],
    "queries": ["q1\ttext 1", "q2\ttext 2"],
    "qrels": ["q1\td1\t1", "q2\td2\t2"],
}
# The suite that has most of a kind's laws, and the fewest tests there that must pass.
SUITES = {kind: f"tests/conformance/test_{kind}.py" for kind in components.KINDS}
FEWEST = {"datasets": 15, "encoders": 12, "engines": 8, "generators": 5, "losses": 20, "retrievers": 10, "teachers": 5}
FAULTS = {
    "datasets": ("yield number, ", "yield 1, "),
    "encoders": ("default_rng(config.seed)", "default_rng()"),
    "engines": ("return rows.map(_answered)", "return rows.map(_answered).limit(40)"),
    "generators": ('Generated("first words"', 'Generated(""'),
    "losses": ("squares_QG[lists.graded_QG].sum()", "squares_QG.sum()"),
    "retrievers": ("best[:k]", "best"),
    "teachers": ("texts[doc_id])", "texts[ids[0]])"),
}


def laws(folder, examples):
    """Outcomes of the laws by suite, over the examples alone."""
    (folder / "outside").mkdir()
    (folder / "outside" / "__init__.py").touch()
    (folder / "data").mkdir()
    for table, lines in DATA.items():
        (folder / "data" / f"{table}.tsv").write_text("".join(f"{line}\n" for line in lines))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    for kind, (module, code) in examples.items():
        (folder / "outside" / f"{module}.py").write_text(code, encoding="utf-8")
        name = re.search(r"^@dataclass.*\nclass (\w+)", code, re.MULTILINE)[1]
        settings = f", path: {folder / 'data'}" if kind == "datasets" else ""
        environment[f"GRADRET_{kind.upper()}"] = f"{{name: outside.{module}:{name}{settings}}}"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rA",
        "-p",
        "no:cacheprovider",
        "-k",
        "outside",
        "tests/conformance",
    ]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    outcomes = re.findall(r"^(PASSED|FAILED|ERROR) (tests/conformance/\w+\.py)", done.stdout, re.MULTILINE)
    assert outcomes, done.stdout + done.stderr
    return Counter(outcomes), done.stdout


def test_every_kind_is_in_the_document():
    assert set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)) == set(components.KINDS)
    assert set(EXAMPLES) == set(components.KINDS)


def test_the_examples_keep_the_laws_of_their_kinds(tmp_path):
    outcomes, output = laws(tmp_path, EXAMPLES)
    assert {outcome for outcome, _ in outcomes} == {"PASSED"}, output
    assert outcomes["PASSED", "tests/conformance/test_components.py"] >= 7 * len(components.KINDS)
    for kind, suite in SUITES.items():
        assert outcomes["PASSED", suite] >= FEWEST[kind]


def test_broken_examples_are_noticed(tmp_path):
    """A fault in each; its own kind's laws see it."""
    broken = {kind: (module, code.replace(*FAULTS[kind])) for kind, (module, code) in EXAMPLES.items()}
    assert all(code != EXAMPLES[kind][1] for kind, (_, code) in broken.items())
    outcomes, output = laws(tmp_path, broken)
    for suite in SUITES.values():
        assert outcomes["FAILED", suite] or outcomes["ERROR", suite], output
