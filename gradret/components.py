"""Components are found by their file name: ``losses/kl.py`` holds the class of ``{name: kl}``.

A component is a frozen dataclass. Its fields are its config keys; its docstring is its page in
``gradret show``. The class bears the file's name: ``sum_marg_lh.py`` holds ``SumMargLH``, any
capitals. Code from outside is named ``package.module:Class``.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
import operator
import pkgutil
import textwrap
from dataclasses import fields, is_dataclass
from types import ModuleType

from gradret.errors import ConfigError

__all__ = ["KINDS", "field_docs", "find", "name_of", "names", "unknown"]

KINDS = ("datasets", "encoders", "engines", "generators", "losses", "retrievers", "teachers")


_DECLARED = {
    "encoders": ("reads_docs", "trainable"),
    "generators": ("asks_llm", "takes_queries", "templates"),
    "retrievers": ("searches",),
    "teachers": ("searches", "reranks", "asks_llm", "templates", "positive_above", "unknown_pairs"),
}
"""What a component of a kind says it can do; its Protocol has the defaults."""


def names(kind: str) -> list[str]:
    """Names of all components of ``kind``, sorted; imports none of them."""
    package = importlib.import_module(f"gradret.{kind}")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_"))


def find(kind: str, name: str) -> type:
    """The class called ``name``.

    Raises:
        ConfigError: there is no such component, or it is not a dataclass.
    """
    if ":" in name:
        module_name, _, class_name = name.partition(":")
        try:
            component = operator.attrgetter(class_name)(importlib.import_module(module_name))
        except (ImportError, AttributeError, SyntaxError, ValueError) as error:
            raise ConfigError(f"{name} cannot be imported: {error}") from error
        if not isinstance(component, type) or not is_dataclass(component):
            raise ConfigError(f"{name} is not a dataclass; a component's fields are its config keys")
        _check_declared(kind, component, name)
        return component
    if name not in names(kind):
        raise ConfigError(unknown(name, names(kind), f"one of the {kind}"))
    return _class_in(importlib.import_module(f"gradret.{kind}.{name}"), name)


def name_of(component: object) -> str:
    """The config name of a component or its class: its file name, or ``module:Class`` for outside code."""
    cls = component if isinstance(component, type) else type(component)
    if cls.__module__.startswith("gradret."):
        return cls.__module__.rpartition(".")[2]
    return f"{cls.__module__}:{cls.__qualname__}"


def field_docs(component: type) -> dict[str, str]:
    """What stands under each field in the source of the class and its bases; empty where nothing does."""
    classes = [cls for cls in reversed(component.__mro__) if is_dataclass(cls)]
    return {name: text for cls in classes for name, text in _own_field_docs(cls).items()}


def _own_field_docs(component: type) -> dict[str, str]:
    body = ast.parse(textwrap.dedent(inspect.getsource(component))).body[0]
    assert isinstance(body, ast.ClassDef)
    named = {f.name for f in fields(component)}  # annotations of the class itself are no fields
    found = {}
    for node, following in zip(body.body, [*body.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id in named:
            text = following.value if isinstance(following, ast.Expr) else None
            documented = isinstance(text, ast.Constant) and isinstance(text.value, str)
            found[node.target.id] = inspect.cleandoc(str(text.value)) if documented else ""  # type: ignore[union-attr]
    return found


def unknown(got: str, known: list[str], what: str) -> str:
    """A sentence for a name that is not ``known``, with the nearest one that is."""
    near = difflib.get_close_matches(got, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return f"{got!r} is not {what}; {hint}"


def _check_declared(kind: str, component: type, name: str) -> None:
    missing = [each for each in _DECLARED.get(kind, ()) if each not in dir(component)]
    if missing:
        protocol = f"gradret.{kind}.{kind.removesuffix('s').capitalize()}"
        raise ConfigError(f"{name} does not declare {', '.join(missing)}; inherit {protocol}, which has defaults")


def _class_in(module: ModuleType, name: str) -> type:
    wanted = name.replace("_", "")
    for attribute in vars(module).values():
        if isinstance(attribute, type) and attribute.__name__.lower() == wanted and is_dataclass(attribute):
            return attribute
    raise ConfigError(f"{module.__name__} holds no dataclass named like its file ({name})")
