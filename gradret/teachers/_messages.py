"""What an LLM teacher says to the model: one template for the system message and the user's."""

from __future__ import annotations

from collections.abc import Callable

from gradret.errors import ConfigError
from gradret.prompts import exported

__all__ = ["messages"]


def messages(reference: str, **example: object) -> tuple[str, Callable[..., str]]:
    """The template's text ``system`` and its macro ``user``, tried once with ``example``.

    Raises:
        ConfigError: the template lacks one, or ``user`` does not take what it will be given.
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
