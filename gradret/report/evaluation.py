"""Write the results of an evaluation to ``STORAGE/evaluations/NAME/``.

    config.yaml                     resolved config with every default written out
    lineage.json                    every artifact, by dataset
    table.md, report.html           for people
    metrics.json                    means, intervals and significance, for programs
    per_query.tsv                   dataset, query_id, system, measure, value
    runs/DATASET/SYSTEM.trec        each system's results

Every file is written atomically.
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
from gradret.report.comparison import MARK, Table, as_data, compare, few_queries, legend, markdown
from gradret.report.folder import results_folder
from gradret.report.machine import machine
from gradret.report.plots import datasets_plot
from gradret.report.render import render
from gradret.search.trec import write_run
from gradret.stats.significance import headline_measure, values_of
from gradret.store.artifacts import Artifact
from gradret.store.atomic import write_json, write_text
from gradret.store.storage import storage_folder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Values = npt.NDArray[np.float64]

__all__ = ["evaluation_report"]

Artifacts = Mapping[str, Mapping[str, Artifact]]
"""Artifacts of each dataset: ``ingest``, ``queries``, and ``search.`` and ``evaluate.`` with a system's name."""

_COUNTED = {
    "without_results": "judged queries without results",
    "unjudged_queries": "queries without a judgment",
    "unknown_docs": "unknown documents",
    "short_lists": "queries with fewer documents than asked for among the passages found",
    "same_ids": "results with the query's own id left out",
}


def evaluation_report(evaluation: Evaluation, by_dataset: Artifacts) -> tuple[Path, Table]:
    """Write the report of an evaluation.

    Args:
        evaluation: its config.
        by_dataset: artifacts by dataset.

    Returns:
        The evaluation's folder, and the table in it.

    Raises:
        StorageError: the folder cannot be written.
    """
    measures = list(parse_measures(evaluation.evaluate.measures))
    rows: dict[str, list[dict[str, dict[str, Values]]]] = {}
    for dataset in evaluation.datasets:
        rows.setdefault(row_of(dataset), []).append(_values(evaluation, dataset, by_dataset[dataset], measures))
    table = compare(rows, measures, evaluation.seed, evaluation.evaluate.test)
    lineage = {
        dataset: {name: _lineage(evaluation, artifact) for name, artifact in artifacts.items()}
        for dataset, artifacts in by_dataset.items()
    }
    yaml = to_yaml(evaluation)
    folder = results_folder(evaluation, "evaluations")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "config.yaml", [yaml])
        write_json(folder / "lineage.json", lineage)
        for dataset, artifacts in by_dataset.items():
            (folder / "runs" / dataset).mkdir(parents=True, exist_ok=True)
            for system in evaluation.systems:
                write_run(folder / "runs" / dataset / f"{system}.trec", artifacts[f"search.{system}"], system)
        write_text(folder / "per_query.tsv", _per_query(evaluation, by_dataset))
        write_text(folder / "table.md", [f"# {evaluation.name}\n\n", markdown(table)])
        write_text(folder / "report.html", [_page(evaluation, by_dataset, table, lineage, yaml)])
        data = {"name": evaluation.name, "baseline": table.systems[0], "measures": measures, **as_data(table)}
        write_json(folder / "metrics.json", data | {"counts": _counts(evaluation, by_dataset)})
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be written: {error}; free some space or set storage_path to another folder"
        ) from error
    return folder, table


def _values(
    evaluation: Evaluation, dataset: str, artifacts: Mapping[str, Artifact], measures: list[str]
) -> dict[str, dict[str, Values]]:
    """Values of each system on a dataset; checks that all have the same queries, in the same order."""
    values: dict[str, dict[str, Values]] = {}
    ids: set[tuple[str, ...]] = set()
    for system in evaluation.systems:
        metrics = artifacts[f"evaluate.{system}"].table("metrics")
        query_ids, values[system] = values_of(system, metrics, measures)
        ids.add(query_ids)
    if len(ids) > 1:
        raise ContractError(f"{dataset}: the systems were not evaluated on the same queries")
    return values


def _lineage(evaluation: Evaluation, artifact: Artifact) -> dict[str, Any]:
    manifest = artifact.manifest
    return {
        "artifact": f"{artifact.stage}/{artifact.fingerprint}",
        "path": os.path.relpath(artifact.path, storage_folder(evaluation.storage_path)),
        **{key: manifest[key] for key in ("counts", "quarantined", "seconds", "inputs")},
    }


def _counts(evaluation: Evaluation, by_dataset: Artifacts) -> dict[str, Any]:
    """Counts of each dataset, and of each system's run on it."""
    return {
        dataset: {
            "documents": artifacts["ingest"].counts["rows_out"],
            **({"passages": artifacts["cut"].counts["rows_out"]} if "cut" in artifacts else {}),
            **{name: number for name, number in artifacts["queries"].counts.items() if name != "rows_in"},
            "systems": {system: _run_counts(artifacts, system) for system in evaluation.systems},
        }
        for dataset, artifacts in by_dataset.items()
    }


def _run_counts(artifacts: Mapping[str, Artifact], system: str) -> dict[str, int]:
    counts = artifacts[f"search.{system}"].counts | artifacts[f"evaluate.{system}"].counts
    return {name: counts[name] for name in _COUNTED if counts.get(name)}


def _per_query(evaluation: Evaluation, by_dataset: Artifacts) -> Iterator[str]:
    yield "dataset\tquery_id\tsystem\tmeasure\tvalue\n"
    for dataset, artifacts in by_dataset.items():
        for system in evaluation.systems:
            rows = artifacts[f"evaluate.{system}"].table("metrics")
            for row in rows.to_pylist():
                yield f"{dataset}\t{row['query_id']}\t{system}\t{row['measure']}\t{row['value']!r}\n"


def _page(evaluation: Evaluation, by_dataset: Artifacts, table: Table, lineage: Mapping[str, Any], yaml: str) -> str:
    measure = headline_measure(table.measures) or ""
    counts = _counts(evaluation, by_dataset)
    datasets = [
        {
            "name": dataset,
            "numbers": [
                of_data[key] for key in ("documents", "test_queries", "judgments", "judgments_of_unknown_docs")
            ],
            "runs": [
                f"{system}: {', '.join(f'{number:,} {_COUNTED[name]}' for name, number in of_run.items())}"
                for system, of_run in of_data["systems"].items()
                if of_run
            ],
        }
        for dataset, of_data in counts.items()
    ]
    return render(
        "evaluation.html.jinja",
        name=evaluation.name,
        what="evaluation",
        headline=_headline(table, measure),
        warnings=few_queries(table),
        table=table,
        mark=MARK,
        note=legend(table),
        plot=datasets_plot(table, measure),
        datasets=datasets,
        machine=machine(),
        yaml=yaml,
        lineage=[
            f"{dataset}  {name}  {entry['artifact']}"
            for dataset, entries in lineage.items()
            for name, entry in entries.items()
        ],
    )


def _headline(table: Table, measure: str) -> str:
    """One sentence: the means of the headline measure, and the number of significant differences."""
    first, rows = table.systems[0], len(table.rows)
    where = table.rows[0].name if rows == 1 else f"{rows} datasets"
    value = measure if rows == 1 else f"a mean {measure} of"
    parts = [f"On {where} {first} reaches {value} {table.averages[first][measure]:.3f}"]
    for system in table.systems[1:]:
        tests = [each for each in table.differences if each.a == system and each.measure == measure]
        significant = [each for each in tests if each.significant]
        better = sum(each.mean.value > 0 for each in significant)
        worse = len(significant) - better
        verdict = f"significantly better on {better}, worse on {worse}" if rows > 1 else _verdict(significant)
        parts.append(f"{system} {table.averages[system][measure]:.3f} ({verdict})")
    return ", ".join(parts) + "."


def _verdict(significant: list[Any]) -> str:
    if not significant:
        return "not significantly different"
    return "significantly better" if significant[0].mean.value > 0 else "significantly worse"
