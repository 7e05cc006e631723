"""Apply a tokenizer's chat template, after testing it with marked texts: a template may drop messages."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from gradret.errors import ConfigError

__all__ = ["PLAIN", "ChatTemplate"]

PLAIN = "{{ bos_token }}{% for message in messages %}{{ message.content }}{{ '\n\n' if not loop.last }}{% endfor %}"
"""The texts alone, to be continued: what a base model takes."""

_MARK = "gradret marks the {} text"


class ChatTemplate:
    """Formats messages in the model's chat format, with the generation prompt.

    Args:
        tokenizer: a tokenizer of transformers.
        template: Jinja source that replaces the tokenizer's template; empty for the tokenizer's.
        variables: further variables of the template, such as ``enable_thinking``.
    """

    def __init__(self, tokenizer: Any, template: str = "", **variables: Any) -> None:
        self._tokenizer, self._template, self._variables = tokenizer, template, variables

    def text(self, messages: Iterable[Mapping[str, str]]) -> str:
        """Return the prompt; if the template accepts no system message, its text is put before the user's."""
        if self.accepts_system:
            return self.render(messages)
        return self.render([{"role": "user", "content": "\n\n".join(message["content"] for message in messages)}])

    def render(self, messages: Iterable[Mapping[str, str]]) -> str:
        """Return the unchanged messages, rendered by transformers in its sandbox."""
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
        """Whether the template renders a system message next to a user message; some reject or drop it."""
        return self.shows("system", "user")

    def shows(self, *roles: str) -> bool:
        """Return whether the template renders the texts of one message per role."""
        from jinja2 import TemplateError

        marks = [_MARK.format(role) for role in roles]
        try:
            text = self.render({"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True))
        except (TemplateError, TypeError, ValueError, LookupError, AttributeError):
            return False
        return all(mark in text for mark in marks)

    def require_user(self, where: str, advice: str) -> None:
        """Check that the template renders a system and a user text, in two messages or in one.

        Args:
            where: start of the error message.
            advice: end of the error message.

        Raises:
            ConfigError: it does not.
        """
        if not (self.accepts_system or self.shows("user")):
            raise ConfigError(
                f"{where}: its chat template drops the text of system or user messages, so prompts "
                f"would be incomplete (does it expect other roles?); {advice}"
            )
