"""Leave what an evaluation found under ``STORAGE/evaluations/NAME/``.

    config.yaml                     resolved, every default written out
    lineage.json                    every artifact, by dataset
    table.md, report.html           for people
    metrics.json                    means, intervals and significance, for programs
    per_query.tsv                   dataset, query_id, system, measure, value
    runs/DATASET/SYSTEM.trec        each system's results

Every file is written whole or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.config.evaluation import Evaluation, row_of
from gradret.config.loading import to_yaml
from gradret.errors import ContractError, StorageError
from gradret.measures import parse_measures
from gradret.report.comparison import MARK, Table, as_data, compare, markdown, note
from gradret.report.page import render
from gradret.report.plots import datasets_plot
from gradret.search.trec import write_run
from gradret.stats.significance import headline_measure, values_of
from gradret.store.artifacts import Artifact, write_json, write_text

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Values = npt.NDArray[np.float64]

__all__ = ["evaluation_report"]

Made = Mapping[str, Mapping[str, Artifact]]
"""By dataset, what was made for it: ``ingest``, ``queries``, and ``search.`` and ``evaluate.`` with a system's name."""

_COUNTED = {
    "without_results": "judged queries without results",
    "unjudged_queries": "queries without a judgment",
    "unknown_docs": "unknown documents",
    "same_ids": "results with the query's own id left out",
}


def evaluation_report(evaluation: Evaluation, made: Made) -> tuple[Path, Table]:
    """The evaluation's folder, and the table that it holds.

    Raises:
        StorageError: the folder cannot be written.
    """
    measures = list(parse_measures(evaluation.evaluate.measures))
    rows: dict[str, list[dict[str, dict[str, Values]]]] = {}
    for dataset in evaluation.datasets:
        rows.setdefault(row_of(dataset), []).append(_values(evaluation, dataset, made[dataset], measures))
    table = compare(rows, measures, evaluation.seed, evaluation.evaluate.test)
    lineage = {
        dataset: {name: _lineage(evaluation, artifact) for name, artifact in artifacts.items()}
        for dataset, artifacts in made.items()
    }
    yaml = to_yaml(evaluation)
    folder = Path(evaluation.storage_path) / "evaluations" / evaluation.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "config.yaml", [yaml])
        write_json(folder / "lineage.json", lineage)
        for dataset, artifacts in made.items():
            (folder / "runs" / dataset).mkdir(parents=True, exist_ok=True)
            for system in evaluation.systems:
                write_run(folder / "runs" / dataset / f"{system}.trec", artifacts[f"search.{system}"], system)
        write_text(folder / "per_query.tsv", _per_query(evaluation, made))
        write_text(folder / "table.md", [f"# {evaluation.name}\n\n", markdown(table)])
        write_text(folder / "report.html", [_page(evaluation, made, table, lineage, yaml)])
        data = {"name": evaluation.name, "baseline": table.systems[0], "measures": measures, **as_data(table)}
        write_json(folder / "metrics.json", data | {"counts": _counts(evaluation, made)})
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error}; free some space or set storage_path") from error
    return folder, table


def _values(
    evaluation: Evaluation, dataset: str, artifacts: Mapping[str, Artifact], measures: list[str]
) -> dict[str, dict[str, Values]]:
    """Each system's values of a dataset; all are of the same queries in the same order."""
    found: dict[str, dict[str, Values]] = {}
    ids: set[tuple[str, ...]] = set()
    for system in evaluation.systems:
        metrics = artifacts[f"evaluate.{system}"].table("metrics")
        query_ids, found[system] = values_of(system, metrics, measures)
        ids.add(query_ids)
    if len(ids) > 1:
        raise ContractError(f"{dataset}: the systems were not evaluated on the same queries")
    return found


def _lineage(evaluation: Evaluation, artifact: Artifact) -> dict[str, Any]:
    manifest = artifact.manifest
    return {
        "artifact": f"{artifact.stage}/{artifact.fingerprint}",
        "path": os.path.relpath(artifact.path, evaluation.storage_path),
        **{key: manifest[key] for key in ("counts", "quarantined", "seconds", "inputs")},
    }


def _counts(evaluation: Evaluation, made: Made) -> dict[str, Any]:
    """What was counted of each dataset, and of each system's run of it."""
    return {
        dataset: {
            "documents": artifacts["ingest"].counts["rows_out"],
            **{name: number for name, number in artifacts["queries"].counts.items() if name != "rows_in"},
            "systems": {system: _run_counts(artifacts, system) for system in evaluation.systems},
        }
        for dataset, artifacts in made.items()
    }


def _run_counts(artifacts: Mapping[str, Artifact], system: str) -> dict[str, int]:
    counts = artifacts[f"search.{system}"].counts | artifacts[f"evaluate.{system}"].counts
    return {name: counts[name] for name in _COUNTED if counts.get(name)}


def _per_query(evaluation: Evaluation, made: Made) -> Iterator[str]:
    yield "dataset\tquery_id\tsystem\tmeasure\tvalue\n"
    for dataset, artifacts in made.items():
        for system in evaluation.systems:
            rows = artifacts[f"evaluate.{system}"].table("metrics")
            for row in rows.to_pylist():
                yield f"{dataset}\t{row['query_id']}\t{system}\t{row['measure']}\t{row['value']!r}\n"


def _page(evaluation: Evaluation, made: Made, table: Table, lineage: Mapping[str, Any], yaml: str) -> str:
    measure = headline_measure(table.measures) or ""
    counts = _counts(evaluation, made)
    datasets = [
        {
            "name": dataset,
            "numbers": [one[key] for key in ("documents", "test_queries", "judgments", "judgments_of_unknown_docs")],
            "runs": [
                f"{system}: {', '.join(f'{number:,} {_COUNTED[what]}' for what, number in counted.items())}"
                for system, counted in one["systems"].items()
                if counted
            ],
        }
        for dataset, one in counts.items()
    ]
    return render(
        "evaluation.html.jinja",
        name=evaluation.name,
        headline=_headline(table, measure),
        table=table,
        mark=MARK,
        note=note(table),
        measure=measure,
        plot=datasets_plot(table, measure),
        datasets=datasets,
        counted=any(one["runs"] for one in datasets),
        yaml=yaml,
        lineage=[
            f"{dataset}  {name}  {one['artifact']}"
            for dataset, entries in lineage.items()
            for name, one in entries.items()
        ],
    )


def _headline(table: Table, measure: str) -> str:
    """One sentence: the means on the first measure of interest, and where the differences are sure."""
    first, rows = table.systems[0], len(table.rows)
    where = table.rows[0].name if rows == 1 else f"{rows} datasets"
    value = measure if rows == 1 else f"a mean {measure} of"
    said = [f"On {where} {first} reaches {value} {table.averages[first][measure]:.3f}"]
    for system in table.systems[1:]:
        sure = [one for one in table.differences if one.a == system and one.measure == measure and one.significant]
        better = sum(one.mean.value > 0 for one in sure)
        verdict = f"significantly better on {better}, worse on {len(sure) - better}" if rows > 1 else _verdict(sure)
        said.append(f"{system} {table.averages[system][measure]:.3f} ({verdict})")
    return ", ".join(said) + "."


def _verdict(sure: list[Any]) -> str:
    if not sure:
        return "not significantly different"
    return "significantly better" if sure[0].mean.value > 0 else "significantly worse"
