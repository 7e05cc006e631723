"""A tokenizer's chat template, tried with marked texts before it is used: a template may drop what it is given."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from gradret.errors import ConfigError

__all__ = ["ChatTemplate"]

_MARK = "gradret marks the {} text"


class ChatTemplate:
    """Writes messages as the prompt that a model was trained on, with the generation prompt.

    Args:
        tokenizer: a tokenizer of transformers.
        template: Jinja source that replaces the tokenizer's template; empty for the tokenizer's.
        variables: further variables of the template, such as ``enable_thinking``.
    """

    def __init__(self, tokenizer: Any, template: str = "", **variables: Any) -> None:
        self._tokenizer, self._template, self._variables = tokenizer, template, variables

    def text(self, messages: Iterable[Mapping[str, str]]) -> str:
        """The prompt; where the template takes no system message, its text stands before the user's."""
        if self.accepts_system:
            return self.render(messages)
        return self.render([{"role": "user", "content": "\n\n".join(message["content"] for message in messages)}])

    def render(self, messages: Iterable[Mapping[str, str]]) -> str:
        """The messages as they are, rendered by transformers in its sandbox."""
        text = self._tokenizer.apply_chat_template(
            list(messages),
            tokenize=False,
            add_generation_prompt=True,
            chat_template=self._template or None,
            **self._variables,
        )
        return str(text)

    @functools.cached_property
    def accepts_system(self) -> bool:
        """Whether a system message beside a user message comes out; some templates refuse or drop it."""
        return self.shows("system", "user")

    def shows(self, *roles: str) -> bool:
        """Whether the text of one message of each role comes out."""
        from jinja2 import TemplateError

        marks = [_MARK.format(role) for role in roles]
        try:
            text = self.render({"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True))
        except (TemplateError, TypeError, ValueError, LookupError, AttributeError):
            return False
        return all(mark in text for mark in marks)

    def require_user(self, where: str, advice: str) -> None:
        """Check that the texts of a system and a user message come out, in two messages or in one.

        Args:
            where: begins the error's message.
            advice: ends it.

        Raises:
            ConfigError: they do not.
        """
        if not (self.accepts_system or self.shows("user")):
            raise ConfigError(
                f"{where}: its chat template leaves out the text of a system or user message, so "
                f"prompts would lack what is asked (is it for other roles?); {advice}"
            )
