"""The layout: which module may import which, and the maximum size of functions and files.

Imports are read from the source, so that lazy and type-only ones count too.
"""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import gradret

ROOT = Path(gradret.__file__).parent

# From the ground up: a module imports its own layer and those below. `kind.*` are a kind's
# components, `kind` alone is its Protocol. The longest name that fits a module places it.
LAYERS = (
    "errors progress text scripts urls version components draw",
    "compressed arguments numbered",
    "store",
    (
        "pairs passage_ids texts judgments measures origins prompts search.factory "
        "work.session work.nodes work.confined work.raylet work.reaper work.signals"
    ),
    "models",
    "config",
    "stats lists losses datasets engines",
    "work training",
    "search copies",
    "encoders generators retrievers teachers",
    "stages datasets.* encoders.* engines.* generators.* losses.* retrievers.* teachers.*",
    "report",
    "flow",
    "planning",
    "doctor",
    "commands",
    "finished",
    "serving",
    "gradret",
    "cli",
)
MOST_LINES = {"function": 60, "file": 350}


def modules():
    """Path of each module by its name without the package; the package's own is ``gradret``."""
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in ROOT.rglob("*.py")}
    return {name.removesuffix("__init__").rstrip(".") or "gradret": path for path, name in names.items()}


MODULES = modules()


def imported(source):
    """Dotted names that a module's source imports from the package, lazy and type-only ones included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, "relative import: write it in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "gradret")


def target(name):
    """The module that a dotted name lies in."""
    inner = name.removeprefix("gradret").removeprefix(".")
    while inner and inner not in MODULES:
        inner = inner.rpartition(".")[0]
    return inner or "gradret"


EDGES = {
    (module, target(name)) for module, path in MODULES.items() for name in imported(path.read_text(encoding="utf-8"))
}


def layer(module):
    """The number of a module's layer.

    Raises:
        LookupError: the table does not place it.
    """
    numbers = {name: number for number, line in enumerate(LAYERS) for name in line.split()}
    parts = module.split(".")
    fitting = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    fitting[1:] = [each for name in fitting[1:] for each in (f"{name}.*", name)]
    for name in fitting:
        if name in numbers:
            return numbers[name]
    raise LookupError(f"{module} has no layer: name it, or its folder, in LAYERS")


def circle(edges):
    """The modules of an import circle, or none."""
    graph = {}
    for source, imports in edges:
        graph.setdefault(source, set()).add(imports)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def upward(edges):
    """Imports of a higher layer."""
    return sorted(f"{source} imports {imports}" for source, imports in edges if layer(source) < layer(imports))


def trespassing(edges):
    """Imports of another folder's underscored module."""
    return sorted(
        f"{source} imports {imports}"
        for source, imports in edges
        if any(part.startswith("_") for part in imports.split("."))
        and source != imports.rpartition(".")[0]
        and source.rpartition(".")[0] != imports.rpartition(".")[0]
    )


def private_stages(names):
    """Underscored modules of stages."""
    return [name for name in names if name.startswith("stages._")]


def long_functions(source):
    """Name and length of each function that is too long, decorators not counted."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    lengths = [(node.name, node.end_lineno - node.lineno + 1) for node in functions]
    return [(name, length) for name, length in lengths if length > MOST_LINES["function"]]


def is_long(source):
    return len(source.splitlines()) > MOST_LINES["file"]


def test_no_circle():
    assert not circle(EDGES)


def test_no_import_of_a_higher_layer():
    assert not upward(EDGES)


def test_no_import_of_another_folders_private_module():
    assert not trespassing(EDGES)


def test_stages_holds_stages_only():
    assert not private_stages(MODULES)


def test_every_name_in_the_table_is_a_module():
    names = {name for line in LAYERS for name in line.split()}
    assert not names - set(MODULES) - {f"{name}.*" for name in MODULES}


@pytest.mark.parametrize("path", sorted(MODULES.values()), ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_and_files_are_short(path):
    source = path.read_text(encoding="utf-8")
    assert not long_functions(source)
    assert not is_long(source)


def test_imports_are_all_seen():
    source = (
        "import gradret.flow\nif TYPE_CHECKING:\n from gradret.text import passage\ndef f():\n from gradret import cli"
    )
    assert [target(name) for name in imported(source)] == ["flow", "text", "cli"]
    assert target("gradret.Config") == "gradret"
    with pytest.raises(AssertionError, match="relative"):
        list(imported("from . import text"))


# What an assert may call: `python -O` drops it, and with it whatever it calls.
PURE = {"abs", "all", "any", "exists", "isinstance", "len", "min", "max", "set", "sorted", "sum"}


def effects(source):
    """Lines of asserts that call something that may have an effect."""
    asserts = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assert))
    calls = ((node.lineno, call.func) for node in asserts for call in ast.walk(node) if isinstance(call, ast.Call))
    return [line for line, name in calls if getattr(name, "attr", getattr(name, "id", "")) not in PURE]


@pytest.mark.parametrize("folder", ["gradret", "pipelines", "benchmarks"])
def test_no_assert_has_an_effect(folder):
    found = {str(path): effects(path.read_text()) for path in (ROOT.parent / folder).rglob("*.py")}
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_an_effect_in_an_assert_is_noticed():
    assert effects("x = 1\nassert flow.train") == []
    assert effects("x = 1\nassert run(flow), x\nassert len(x) == 3") == [2]


@pytest.mark.parametrize(
    ("edge", "broken"),
    [
        (("errors", "cli"), True),
        (("store.artifacts", "stages.ingest"), True),
        (("config.run", "retrievers.bm25"), True),
        (("retrievers", "retrievers.bm25"), True),
        (("stages.train", "report.page"), True),
        (("stages.train", "teachers.file"), False),
        (("cli", "errors"), False),
    ],
)
def test_a_higher_layer_is_noticed(edge, broken):
    assert upward({edge}) == ([f"{edge[0]} imports {edge[1]}"] if broken else [])


def test_an_unknown_folder_is_noticed():
    with pytest.raises(LookupError, match="has no layer"):
        layer("utils.misc")


def test_a_circle_is_noticed():
    source, imports = min(edge for edge in EDGES if edge[0] != "gradret")
    assert {source, imports} <= set(circle(EDGES | {(imports, source)}))
    assert not circle(EDGES)


@pytest.mark.parametrize(
    ("edge", "broken"),
    [
        (("stages.train", "teachers._model"), True),
        (("teachers.file", "teachers._model"), False),
        (("teachers", "teachers._model"), False),
        (("stages.train", "teachers.file"), False),
    ],
)
def test_trespassing_is_noticed(edge, broken):
    assert bool(trespassing({edge})) is broken


def test_a_private_stage_is_noticed():
    assert private_stages(["stages.train", "stages._map"]) == ["stages._map"]


def test_too_many_lines_are_noticed():
    body = "\n" + "    pass\n" * 60
    assert long_functions(f"def f():{body}") == [("f", 61)]
    assert not long_functions(f"def f():{body.removesuffix('    pass' + chr(10))}")
    assert is_long("\n" * 351)
    assert not is_long("\n" * 350)
