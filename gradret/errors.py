"""Define all exceptions that gradret raises on purpose.

    GradretError
    |-- ConfigError      a key, value or component of the config is wrong          (exit 2)
    |-- DataError        the dataset cannot be used                                (exit 2)
    |-- StorageError     the storage cannot be read or written                     (exit 2)
    |   `-- DamagedError a file of an artifact is missing or damaged               (exit 2)
    |-- ContractError    a table between two stages breaks its contract: a bug     (exit 1)
    `-- StageError       a stage could not finish                                  (exit 1)

A message says where, what was expected, what came, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gradret.urls import shown

__all__ = [
    "ConfigError",
    "ContractError",
    "DamagedError",
    "DataError",
    "GradretError",
    "StageError",
    "StorageError",
]


class GradretError(Exception):
    """Base of all errors that gradret raises on purpose."""

    exit_code = 1


class ConfigError(GradretError, ValueError):
    """One or more keys of the config are wrong; the message lists all of them."""

    exit_code = 2
    problems: Sequence[str] = ()
    """One line per problem, if there may be several."""

    @classmethod
    def of(cls, problems: list[str]) -> ConfigError:
        """Return one error for all ``problems``, so that they can be fixed together."""
        head = "the config has 1 error" if len(problems) == 1 else f"the config has {len(problems)} errors"
        error = cls("\n".join([f"{head}:", *(f"  {problem}" for problem in problems)]))
        error.problems = tuple(problems)
        return error


class DataError(GradretError, ValueError):
    """The dataset cannot be used."""

    exit_code = 2


class StorageError(GradretError, OSError):
    """The storage cannot be read or written."""

    exit_code = 2


class DamagedError(StorageError):
    """A file of an artifact is missing or not as it was written; ``gradret run`` computes the artifact again."""

    path: Path = Path()
    """The file."""
    artifact: Path = Path()
    """The folder of its artifact."""

    @classmethod
    def of(cls, path: Path, artifact: Path, why: str) -> DamagedError:
        """The error for a file, and what to do: an artifact without one of its files is computed again."""
        error = cls(
            f"{shown(path)} {why}; {'delete it and ' if path.exists() else ''}run the command that made it again"
        )
        error.path, error.artifact = path, artifact
        return error


class ContractError(GradretError):
    """A table between two stages breaks its contract."""


class StageError(GradretError):
    """A stage could not finish."""
