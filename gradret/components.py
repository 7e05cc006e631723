"""Find components by their file name: ``losses/kl.py`` contains the class of ``{name: kl}``.

A component is a frozen dataclass. Its fields are its config keys; its docstring is its page in
``gradret show``. The class is named after the file, ignoring case: ``sum_marg_lh.py`` contains
``SumMargLH``. A class outside gradret is named ``package.module:Class``.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
import operator
import pkgutil
import textwrap
import typing
from dataclasses import MISSING, fields, is_dataclass
from types import ModuleType

from gradret.errors import ConfigError

__all__ = ["KINDS", "field_docs", "find", "name_of", "names", "unknown"]

_MOST_SHOWN = 30
"""Known names in a message."""

KINDS = ("datasets", "encoders", "engines", "generators", "losses", "retrievers", "teachers")


def names(kind: str) -> list[str]:
    """Return the names of all components of ``kind``, sorted, without importing them."""
    package = importlib.import_module(f"gradret.{kind}")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_"))


def find(kind: str, name: str) -> type:
    """Return the class named ``name``.

    Raises:
        ConfigError: there is no such component, or it is not a dataclass.
    """
    if ":" in name:
        return _outside(kind, name)
    if name not in names(kind):
        raise ConfigError(unknown(name, names(kind), f"one of the {kind}"))
    return _class_of_file(importlib.import_module(f"gradret.{kind}.{name}"), name)


def name_of(component: object) -> str:
    """Return the config name of a component or its class: its file name, or ``module:Class`` outside gradret."""
    cls = component if isinstance(component, type) else type(component)
    if cls.__module__.startswith("gradret."):
        return cls.__module__.rpartition(".")[2]
    return f"{cls.__module__}:{cls.__qualname__}"


def field_docs(component: type) -> dict[str, str]:
    """Return the docstring under each field in the source of the class and its bases; empty if there is none."""
    classes = [cls for cls in reversed(component.__mro__) if is_dataclass(cls)]
    docs: dict[str, str] = {}
    for cls in classes:
        # A class that only changes a field's default keeps what its base says about it.
        docs |= {name: text or docs.get(name, "") for name, text in _field_docs_of(cls).items()}
    return docs


def _field_docs_of(component: type) -> dict[str, str]:
    body = ast.parse(textwrap.dedent(inspect.getsource(component))).body[0]
    assert isinstance(body, ast.ClassDef)
    named = {f.name for f in fields(component)}  # class variables are not fields
    docs = {}
    for node, following in zip(body.body, [*body.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id in named:
            text = following.value if isinstance(following, ast.Expr) else None
            documented = isinstance(text, ast.Constant) and isinstance(text.value, str)
            docs[node.target.id] = inspect.cleandoc(str(text.value)) if documented else ""  # type: ignore[union-attr]
    return docs


def unknown(got: str, known: list[str], what: str) -> str:
    """Return a message for a name that is not ``known``, which suggests the most similar known name, or all."""
    if near := difflib.get_close_matches(got, known, n=1):
        hint = f"did you mean {near[0]!r}?"
    elif len(known) > _MOST_SHOWN:
        hint = f"the nearest of {len(known)}: {', '.join(difflib.get_close_matches(got, known, n=5, cutoff=0.0))}"
    else:
        hint = f"known: {', '.join(known)}"
    return f"{got!r} is not {what}; {hint}"


def _outside(kind: str, name: str) -> type:
    """Return the class ``package.module:Class``. Importing it runs its module."""
    module_name, _, class_name = name.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), *class_name.split(".")]):
        raise ConfigError(f"{name!r} is not the name of a class; expected package.module:Class")
    try:
        component = operator.attrgetter(class_name)(importlib.import_module(module_name))
    except (Exception, SystemExit) as error:  # whatever the module's own code raises
        raise ConfigError(f"{name} cannot be imported: {type(error).__name__}: {error}") from error
    if not isinstance(component, type) or not is_dataclass(component):
        raise ConfigError(f"{name} is not a dataclass; a component's fields are its config keys")
    _check_kind(kind, component, name)
    return component


def _check_kind(kind: str, component: type, name: str) -> None:
    """Reject a class of another kind, or one that lacks a required member of its kind."""
    protocol = _protocol(kind)
    others = [other for other in KINDS if other != kind and _protocol(other) in component.__mro__]
    if others and protocol not in component.__mro__:
        raise ConfigError(f"{name} is one of the {others[0]}, not one of the {kind}")
    shadowed = [each for cls in component.__mro__ if is_dataclass(cls) for each in _without_default(cls)]
    if shadowed:
        raise ConfigError(
            f"{name}: the field {', '.join(shadowed)} has no default and would get the value of an inherited "
            "attribute; give it a default"
        )
    missing = sorted(_members(protocol) - {*dir(component), *(f.name for f in fields(component))})
    if missing:
        inherit = f"inherit {protocol.__module__}.{protocol.__name__}, which has defaults"
        raise ConfigError(f"{name} is not one of the {kind}: it does not declare {', '.join(missing)}; {inherit}")


def _protocol(kind: str) -> type:
    """Return the protocol of ``kind``, which also defines the defaults."""
    name = {"losses": "Loss"}.get(kind, kind.removesuffix("s").capitalize())
    return typing.cast("type", getattr(importlib.import_module(f"gradret.{kind}"), name))


def _members(protocol: type) -> set[str]:
    return {name for name in {*vars(protocol), *protocol.__annotations__} if not name.startswith("_")}


def _without_default(cls: type) -> list[str]:
    """Return the fields without a default that silently get the value of an inherited attribute."""
    annotated = inspect.get_annotations(cls).keys() - vars(cls).keys()
    return [f.name for f in fields(cls) if f.name in annotated and f.default is not MISSING]


def _class_of_file(module: ModuleType, name: str) -> type:
    wanted = name.replace("_", "")
    for attribute in vars(module).values():
        if isinstance(attribute, type) and attribute.__name__.lower() == wanted and is_dataclass(attribute):
            return attribute
    raise ConfigError(f"{module.__name__} contains no dataclass named after its file ({name})")
