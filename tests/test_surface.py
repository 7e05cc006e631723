"""The public interface: names, cost of importing, commands and flags, configs, errors."""

import argparse
import ast
import importlib
import pickle
import pkgutil
import re
import subprocess
import sys
from functools import cached_property
from pathlib import Path

import pytest

import gradret
from gradret import arguments, errors, flow
from gradret.config.evaluation import is_evaluation, load_evaluation
from gradret.config.loading import load

ROOT = Path(gradret.__file__).parents[1]
MODULES = sorted(module.name for module in pkgutil.walk_packages(gradret.__path__, "gradret."))
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
HEAVY = {"torch", "ray", "pyarrow", "numpy", "transformers", "ir_measures", "omegaconf"}

OUTPUT = {"--json", "-q", "-v"}
STAGE = {"CONFIG", "key=value"} | OUTPUT
COMMANDS = {
    "run": STAGE | {"--dry-run"},
    "ingest": STAGE,
    "queries": STAGE,
    "cut": STAGE,
    "dedupe": STAGE,
    "generate": STAGE,
    "check": STAGE,
    "leaks": STAGE,
    "mine": STAGE,
    "label": STAGE,
    "select": STAGE,
    "base": STAGE,
    "train": STAGE,
    "train-teacher": STAGE,
    "index": STAGE,
    "search": {"CONFIG|RUN", "key=value|WORD", "--top", "--compare", *OUTPUT},
    "evaluate": {"CONFIG|RUN", "key=value|RUN", "--qrels", "--measures", "--one-sided", *OUTPUT},
    "report": {"CONFIG|RUN", "key=value|RUN", "--output", *OUTPUT},
    "doctor": {"CONFIG", "key=value", "--json"},
    "plan": STAGE
    | {"--probe", "--gpu", "--parameters", "--tokens-in-per-second", "--tokens-out-per-second", "--prices"},
    "tune": STAGE,
    "compare": STAGE,
    "agreement": {"HUMAN_QRELS", "OTHER_QRELS", "--json"},
    "export": {"RUN", "DIR", "--format", "--json"},
    "push": {"RUN", "REPO_ID", "--private", "--json"},
    "init": {"FOLDER", "--output", "--json"},
    "serve": {"RUN", "--host", "--port", "--replicas", "--client-rate", "--total-rate"},
    "status": {"RUN", "--json"},
    "submit": {"CONFIG", "key=value", "--address"},
    "show": {"kind", "name", "--json"},
}


def test_every_public_name_that_the_documents_use_is_public():
    texts = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "pipelines").glob("*.py")]
    used = set()
    for path in texts:
        used |= set(re.findall(r"(?<![\w./-])gradret\.(\w+)\(", path.read_text(encoding="utf-8")))
    assert {"load", "run"} <= used
    assert used <= set(gradret.__all__)


def test_raised_errors_can_be_caught_from_the_package():
    assert {name: getattr(gradret, name, None) for name in errors.__all__} == ERRORS


@pytest.mark.parametrize("name", MODULES)
def test_all_is_sorted_and_true(name):
    module = importlib.import_module(name)
    public = getattr(module, "__all__", [])
    assert list(public) == sorted(public, key=lambda each: (not each.isupper(), each[0].islower(), each))
    assert all(hasattr(module, each) for each in public)
    assert module.__doc__ or not Path(module.__file__).read_text(encoding="utf-8").strip()


@pytest.mark.parametrize("code", ["import gradret", "import gradret.cli; gradret.cli.main(['--help'])"])
def test_importing_and_helping_are_light(code):
    code = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nprint('loaded', {HEAVY} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded set()"


def subparsers():
    (action,) = [each for each in arguments._parser()._actions if isinstance(each, argparse._SubParsersAction)]
    return action.choices


def test_commands_and_flags():
    found = {
        name: {
            (each.option_strings or [each.metavar or each.dest])[0]
            for each in parser._actions
            if not isinstance(each, argparse._HelpAction)
        }
        for name, parser in subparsers().items()
    }
    assert found == COMMANDS


def test_every_stage_is_a_command():
    made = [name for name, value in vars(flow.Flow).items() if isinstance(value, cached_property) and name[0] != "_"]
    assert sorted([*arguments.STAGES, "train_teacher"]) == sorted(made)


@pytest.mark.parametrize("path", CONFIGS, ids=[str(path.relative_to(ROOT)) for path in CONFIGS])
def test_every_config_loads_and_says_how_to_run_it(path):
    evaluation = is_evaluation(path)
    (load_evaluation if evaluation else load)(path)
    header = path.read_text(encoding="utf-8").partition("\n\n")[0]
    assert header.startswith("# ")
    commands = (
        r"gradret evaluate" if evaluation else r"gradret (run|compare|tune|train-teacher)|python pipelines/\w+\.py"
    )
    assert re.search(rf"^# +({commands}) {path.relative_to(ROOT)}", path.read_text(encoding="utf-8"), re.MULTILINE)


def test_there_are_configs():
    assert CONFIGS


ERRORS = {name: getattr(errors, name) for name in errors.__all__}
EXITS = {
    "ConfigError": 2,
    "DataError": 2,
    "StorageError": 2,
    "DamagedError": 2,
    "ContractError": 1,
    "StageError": 1,
    "GradretError": 1,
}


def test_exit_codes_are_those_the_docstring_draws():
    assert {name: error.exit_code for name, error in ERRORS.items()} == EXITS
    drawn = re.findall(r"-- (\w+) .*\(exit (\d)\)", errors.__doc__)
    assert {name: int(code) for name, code in drawn} == {name: EXITS[name] for name in EXITS if name != "GradretError"}


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_errors_cross_processes(name):
    error = pickle.loads(pickle.dumps(ERRORS[name]("said", *()))) if name != "ConfigError" else None
    if error is None:
        error = pickle.loads(pickle.dumps(errors.ConfigError.of(["a: b"])))
        assert error.problems == ("a: b",)
        assert str(error) == "the config has 1 error:\n  a: b"
    else:
        assert str(error) == "said"
    assert isinstance(error, errors.GradretError)


def test_every_error_class_documented_in_a_raises_section_is_real():
    names = set()
    for path in (ROOT / "gradret").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)):
                section = (ast.get_docstring(node) or "").partition("Raises:")[2]
                names |= set(re.findall(r"^\s+(\w*(?:Error|Exception)):", section, re.MULTILINE))
    assert names - set(ERRORS) <= {"FileNotFoundError", "OverflowError", "ValueError", "TypeError"}
