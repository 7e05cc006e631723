"""Whether what the config names can be used: dataset, models, templates, engines and the name of the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from gradret.components import name_of
from gradret.datasets import Bad
from gradret.doctor.extras import parts
from gradret.doctor.finding import Finding, all_well
from gradret.engines.openai import OpenAI
from gradret.errors import DataError, GradretError
from gradret.models.locate import locate, on_hub
from gradret.prompts import digests
from gradret.report.folder import results_folder

if TYPE_CHECKING:
    from gradret.config.run import Config

__all__ = ["inputs"]

_TABLES = ("docs", "queries", "qrels")


def inputs(config: Config) -> list[Finding]:
    """Try each part of the config on this machine; reads one row of each table, and downloads no model."""
    found = (f"{what}: {problem}" for what, check in _checks(config) if (problem := _problem(check)))
    # The messages say what to do. A missing dataset is missing for each of its tables.
    findings = [Finding("fault", "config", problem) for problem in dict.fromkeys(found)]
    return all_well("config", findings, "its name is free; dataset, models, templates and engines can be read")


def _checks(config: Config) -> Iterator[tuple[str, Callable[[], object]]]:
    yield "name", partial(results_folder, config, "runs")
    for table in _TABLES:
        yield f"dataset {name_of(config.dataset)}", partial(_read, config.dataset, table)
    for part in parts(config):
        if _is_local(part):
            yield f"{name_of(part)} {part.model}", getattr(part, "check", partial(_locate, part))
        if templates := getattr(part, "templates", ()):
            yield name_of(part), partial(digests, templates)


def _problem(check: Callable[[], object]) -> str:
    try:
        check()
    except GradretError as error:
        return str(error)
    except OSError as error:
        return f"{error.filename or ''} {error.strerror or error}".strip()
    return ""


def _read(dataset: Any, table: str) -> None:
    """Read the first row of a table."""
    for part in dataset.parts(table)[:1]:
        line, row = next(iter(dataset.read(table, part)), (0, None))
        if isinstance(row, Bad):
            raise DataError(f"{part.path}, line {line}: {row.reason}: {row.raw[:80]!r}; correct it or its format")


def _is_local(part: Any) -> bool:
    """Whether a component has a model that need not be downloaded to be checked: a folder, a package, an endpoint."""
    model = getattr(part, "model", None)
    if not isinstance(model, str) or not model:
        return False
    return isinstance(part, OpenAI) or not on_hub(model)


def _locate(part: Any) -> None:
    locate(part.model, getattr(part, "sha256", ""))
