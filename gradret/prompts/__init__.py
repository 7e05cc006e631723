"""Load the templates of all prompts: jinja files, which a config can replace.

A template is named by its file in this folder without the suffix (``queries/question``) or by the path of
a user's file (``my/question.jinja``), also in ``{% import %}``. Its content is part of the fingerprint of
each stage that uses it, and so is the content of the templates that it imports.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.errors import ConfigError

if TYPE_CHECKING:
    from jinja2 import Environment, Template, TemplateSyntaxError

__all__ = ["digests", "exported", "messages", "names", "source", "template"]

_FOLDER = Path(__file__).parent


def names(folder: str) -> list[str]:
    """Return the names of the templates in this package's ``folder``, sorted; omit partials (``_NAME.jinja``)."""
    stems = (path.stem for path in (_FOLDER / folder).glob("*.jinja"))
    return sorted(f"{folder}/{stem}" for stem in stems if not stem.startswith("_"))


def template(reference: str) -> Template:
    """Return the template; rendering it fails for undefined names.

    Raises:
        ConfigError: there is no such file, or it is not valid jinja.
    """
    from jinja2 import TemplateSyntaxError

    try:
        return _environment().get_template(reference)
    except TemplateSyntaxError as error:
        raise _invalid(reference, error) from error


def exported(reference: str, *wanted: str) -> list[Any]:
    """Return the variables or macros named ``wanted`` that the template sets.

    Raises:
        ConfigError: it does not set one of them, or cannot be rendered.
    """
    from jinja2 import TemplateError

    try:
        module = template(reference).module
    except TemplateError as error:
        raise ConfigError(f"template {reference}: {error}") from error
    missing = [name for name in wanted if not hasattr(module, name)]
    if missing:
        raise ConfigError(f"template {reference} does not set {' and '.join(missing)}; add {{% set {missing[0]} %}}")
    return [getattr(module, name) for name in wanted]


def messages(reference: str, **example: object) -> tuple[str, Callable[..., str]]:
    """Return a template's text ``system`` and its macro ``user``, after testing the macro with ``example``.

    Raises:
        ConfigError: the template lacks one, or ``user`` fails with ``example``.
    """
    from jinja2 import TemplateError

    system, user = exported(reference, "system", "user")

    def write(**given: object) -> str:
        return str(user(**given)).strip()

    try:
        write(**example)
    except (TemplateError, TypeError) as error:
        raise ConfigError(f"template {reference}: user({', '.join(example)}) fails: {error}") from error
    return str(system).strip(), write


def source(reference: str) -> str:
    """Return the template's text.

    Raises:
        ConfigError: there is no such file.
    """
    path = Path(reference) if reference.endswith(".jinja") else _FOLDER / f"{reference}.jinja"
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = names(reference.rpartition("/")[0])
        choices = f"one of {', '.join(known)}" if known else "a template of gradret, such as queries/question"
        raise ConfigError(
            f"template {reference!r} cannot be read ({error}); use {choices}, or a file that ends in .jinja"
        ) from error


def digests(references: Iterable[str]) -> dict[str, str]:
    """Return a hash of the text of each template, and of each template that they import, for the fingerprint.

    Raises:
        ConfigError: there is no such file, or it is not valid jinja.
    """
    todo, hashes = list(references), dict[str, str]()
    if not todo:
        return {}
    from jinja2 import TemplateSyntaxError, meta

    while todo:
        reference = todo.pop()
        if reference in hashes:
            continue
        text = source(reference)
        hashes[reference] = hashlib.sha256(text.encode()).hexdigest()[:16]
        try:
            imported = meta.find_referenced_templates(_environment().parse(text))
        except TemplateSyntaxError as error:
            raise _invalid(reference, error) from error
        todo += [name for name in imported if name]
    return dict(sorted(hashes.items()))


def _environment() -> Environment:
    from jinja2 import FunctionLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # Sandboxed, because a user's template must not run code. Not escaped, because the output is text, not HTML.
    return ImmutableSandboxedEnvironment(
        loader=FunctionLoader(source), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def _invalid(reference: str, error: TemplateSyntaxError) -> ConfigError:
    return ConfigError(f"template {reference}, line {error.lineno}: {error.message}")
