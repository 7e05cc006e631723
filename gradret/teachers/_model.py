"""Check a teacher's model once, on the driver, before any pair is scored."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gradret.components import name_of
from gradret.errors import ConfigError
from gradret.models.license import say_license
from gradret.models.locate import content, quiet
from gradret.store.artifacts import Artifact, Draft, make

if TYPE_CHECKING:
    from gradret.config.run import Config

__all__ = ["checked", "opening", "token_id", "tokenizer"]


class _HasModel(Protocol):
    @property
    def model(self) -> str: ...


def checked(config: Config, teacher: _HasModel, check: Callable[[], Mapping[str, object]]) -> Artifact:
    """Run ``check`` on the teacher's model and store what it returns as notes; weights are not copied.

    A folder's content enters the fingerprint, but only the name of a Hub id does: pin its weights with
    ``sha256``.

    Args:
        config: says where to store.
        teacher: the teacher with all its settings.
        check: loads what it needs and raises ConfigError if the model cannot be used; called again only
            when something changes.
    """
    settings = {"teacher": teacher, "content": content(teacher.model)}
    body = functools.partial(_check, teacher.model, check)
    return make("teacher", config.storage_path, module=__name__, settings=settings, inputs={}, body=body)


def _check(model: str, check: Callable[[], Mapping[str, object]], draft: Draft) -> None:
    say_license(model)
    draft.notes |= check()


@contextmanager
def opening(teacher: _HasModel) -> Iterator[None]:
    """Silence the libraries that load the teacher's model, and turn their errors into a ConfigError.

    Raises:
        ConfigError: the model needs its own Python code, which is not allowed to run, or cannot be loaded.
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
                f"{where} needs its own Python code, which is not run unless trust_remote_code is true; "
                "read that code first"
            ) from error
        raise ConfigError(f"{where} cannot be loaded: {error}") from error


def tokenizer(teacher: _HasModel, folder: Path, *, trust_remote_code: bool) -> Any:
    """Load the fast tokenizer in ``folder``."""
    from transformers import AutoTokenizer

    loaded: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    if not loaded.is_fast:
        raise ConfigError(
            f"teacher {name_of(teacher)}: the model {teacher.model!r} has no fast tokenizer; "
            "save one into its folder as tokenizer.json"
        )
    return loaded


def token_id(teacher: _HasModel, tokens: Any, token: str, field: str) -> int:
    """Return the id of ``token``.

    Raises:
        ConfigError: the tokenizer has no such token.
    """
    number = tokens.get_vocab().get(token)
    if number is None:
        raise ConfigError(
            f"teacher {name_of(teacher)}: {field}={token!r} is not a token of {teacher.model!r}; "
            f"set {field} to a token in its tokenizer.json that it was trained to answer"
        )
    return int(number)
