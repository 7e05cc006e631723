"""Whose model a teacher runs: looked at once, on the driver, before any pair is scored."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gradret.components import name_of
from gradret.errors import ConfigError
from gradret.models.locate import content, quiet
from gradret.store.artifacts import Artifact, Draft, make

if TYPE_CHECKING:
    from gradret.config.run import Config

__all__ = ["checked", "opening", "token_id", "tokenizer"]


class _HasModel(Protocol):
    @property
    def model(self) -> str: ...


def checked(config: Config, teacher: _HasModel, check: Callable[[], Mapping[str, object]]) -> Artifact:
    """What ``check`` says of the teacher's model, as notes; the weights stay where they are.

    A folder's content enters the fingerprint. Of a hub id only the name does, so pin its weights with
    ``sha256``.

    Args:
        config: where to store.
        teacher: with all its settings.
        check: opens what it has to look at, and refuses what cannot be used; not called again while
            nothing changes.
    """
    settings = {"teacher": teacher, "content": content(teacher.model)}
    body = functools.partial(_check, check)
    return make("teacher", config.storage_path, module=__name__, settings=settings, inputs={}, body=body)


def _check(check: Callable[[], Mapping[str, object]], draft: Draft) -> None:
    draft.notes |= check()


@contextmanager
def opening(teacher: _HasModel) -> Iterator[None]:
    """Libraries open the teacher's model without a word of their own.

    Raises:
        ConfigError: it needs Python code of its own and may not run it, or cannot be read.
    """
    quiet()
    try:
        yield
    except ConfigError:
        raise
    except (OSError, ValueError, ImportError, KeyError) as error:
        where = f"teacher {name_of(teacher)}: the model {teacher.model!r}"
        if "trust_remote_code" in str(error):
            raise ConfigError(
                f"{where} needs Python code of its own, which is not run unless trust_remote_code is true; "
                "read the code first"
            ) from error
        raise ConfigError(f"{where} cannot be loaded: {error}") from error


def tokenizer(teacher: _HasModel, folder: Path, *, trust_remote_code: bool) -> Any:
    """The fast tokenizer in ``folder``."""
    from transformers import AutoTokenizer

    found: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    if not found.is_fast:
        raise ConfigError(
            f"teacher {name_of(teacher)}: the model {teacher.model!r} has no fast tokenizer; "
            "save one into its folder as tokenizer.json"
        )
    return found


def token_id(teacher: _HasModel, tokens: Any, token: str, field: str) -> int:
    """The id of the one token that is spelled so.

    Raises:
        ConfigError: the tokenizer has no such token.
    """
    found = tokens.get_vocab().get(token)
    if found is None:
        raise ConfigError(
            f"teacher {name_of(teacher)}: {field}={token!r} is not a token of {teacher.model!r}; "
            "a model that was trained to answer so has it in its tokenizer.json"
        )
    return int(found)
