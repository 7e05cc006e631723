"""Render several finished runs side by side: results, queries, settings that differ, and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradret.components import name_of
from gradret.config.loading import to_yaml
from gradret.config.written import read
from gradret.errors import ConfigError
from gradret.measures import parse_measures
from gradret.report.comparison import MARK, Table, compare, few_queries, legend
from gradret.report.cost import Cost, cost
from gradret.report.folder import settings_of
from gradret.report.machine import machine
from gradret.report.render import render
from gradret.report.samples import query_texts
from gradret.stats.significance import headline_measure, p_text, values_of

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.stats.significance import Values
    from gradret.store.artifacts import Artifact

__all__ = ["RunPart", "page"]


@dataclass(frozen=True)
class RunPart:
    """A finished run on the page."""

    name: str
    config: Config
    artifacts: Mapping[str, Artifact]

    @property
    def measures(self) -> list[str]:
        """The measures, in order."""
        return list(parse_measures(self.config.evaluate.measures))

    def metrics(self, system: str) -> Any:
        """METRICS of a system."""
        try:
            return self.artifacts[f"evaluate.{system}"].table("metrics")
        except KeyError as error:
            raise ConfigError(f"{self.name}: {system} was not evaluated; finish the run with gradret run") from error


def page(runs: Sequence[RunPart]) -> str:
    """Render finished runs side by side, as one self-contained HTML page.

    Raises:
        ConfigError: the runs were not evaluated on the same queries, or have no measure in common.
    """
    query_ids, values = _values(runs)
    measures = list(next(iter(values.values())))
    table = compare(
        {name_of(runs[0].config.dataset): [values]}, measures, runs[0].config.seed, runs[0].config.evaluate.test
    )
    measure = headline_measure(measures) or measures[0]
    costs = {run.name: cost(run.config, run.artifacts) for run in runs}
    return render(
        "runs.html.jinja",
        name=" / ".join(run.name for run in runs),
        what="runs side by side",
        headline=_headline(table, measure),
        warnings=few_queries(table),
        table=table,
        mark=MARK,
        note=legend(table),
        plot="",
        measure=measure,
        runs=[{"name": run.name, **_facts(run), "seconds": costs[run.name].seconds} for run in runs],
        queries=_queries(runs, query_ids, {name: each[measure] for name, each in values.items()}),
        differing=_differing(runs),
        stages=_stages([_by_stage(each) for each in costs.values()]),
        machine=machine(),
    )


def _values(runs: Sequence[RunPart]) -> tuple[tuple[str, ...], dict[str, dict[str, Values]]]:
    """Ids of the queries, and for each run the values of the common measures."""
    common = [m for m in runs[0].measures if all(m in run.measures for run in runs)]
    if not common:
        raise ConfigError("the runs have no measure in common; set evaluate.measures alike and run them again")
    first: tuple[str, ...] = ()
    values: dict[str, dict[str, Values]] = {}
    for run in runs:
        query_ids, values[run.name] = values_of(run.name, run.metrics("tuned"), common)
        if first and query_ids != first:
            raise ConfigError(
                f"{run.name} was evaluated on other test queries than {runs[0].name} ({len(query_ids):,} and "
                f"{len(first):,}); only runs on the same queries stand side by side"
            )
        first = query_ids
    return first, values


def _headline(table: Table, measure: str) -> str:
    """The mean of each run, and whether it differs from the first."""
    (row,), first = table.rows, table.systems[0]
    parts = [f"On {row.queries:,} test queries {first} reaches {measure} {row.means[first][measure].value:.3f}"]
    for system in table.systems[1:]:
        difference = table.difference(row.name, system, measure)
        text = f"{system} {row.means[system][measure].value:.3f}"
        if difference:
            better = f"significantly {'better' if difference.mean.value > 0 else 'worse'}"
            word = better if difference.significant else "not significantly different"
            text += f" ({word}, {difference.mean.value:+.3f}, {p_text(difference.p_corrected)})"
        parts.append(text)
    return ", ".join(parts) + "."


def _facts(run: RunPart) -> dict[str, Any]:
    """What a run was trained on, by its counts."""

    def _count(name: str, key: str) -> int | None:
        artifact = run.artifacts.get(name)
        number: int | None = artifact.counts.get(key) if artifact else None
        return number

    trained = run.artifacts.get("train")
    return {
        "documents": _count("ingest", "rows_out"),
        "queries": _count("generate", "rows_out"),
        "labels": _count("label", "rows_out"),
        "lists": _count("train", "rows_out"),
        "epoch": trained.manifest["notes"].get("best_epoch") if trained else None,
    }


def _queries(runs: Sequence[RunPart], query_ids: Sequence[str], values: Mapping[str, Values]) -> list[dict[str, Any]]:
    """The value of each query with each run, largest difference between last and first run first."""
    sources = [runs[0].artifacts["queries"]] if "queries" in runs[0].artifacts else []
    texts = query_texts(sources, set(query_ids))
    columns = [values[run.name].tolist() for run in runs]
    rows = [
        {"query_id": query_id, "text": texts.get(query_id, ""), "values": row, "difference": row[-1] - row[0]}
        for query_id, *row in zip(query_ids, *columns, strict=True)
    ]
    return sorted(rows, key=lambda row: (-row["difference"], row["query_id"]))


def _differing(runs: Sequence[RunPart]) -> dict[str, list[str]]:
    """The settings in which the runs differ, by key, with each run's value."""
    settings = [settings_of(read(to_yaml(run.config))) for run in runs]
    keys = dict.fromkeys(key for each in settings for key in each if key != "name")
    rows = {key: [each.get(key, "–") for each in settings] for key in keys}  # noqa: RUF001
    return {key: row for key, row in rows.items() if len(set(row)) > 1}


def _by_stage(spent: Cost) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for stage in spent.stages:
        seconds[stage.name] = seconds.get(stage.name, 0.0) + stage.seconds
    return seconds


def _stages(seconds: Sequence[Mapping[str, float]]) -> dict[str, list[float | None]]:
    """The seconds of each stage with each run; None if a run has no such stage."""
    names = dict.fromkeys(stage for each in seconds for stage in each)
    return {stage: [each.get(stage) for each in seconds] for stage in names}
