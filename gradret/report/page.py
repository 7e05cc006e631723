"""Gather what the HTML report of a run shows, and render it: one self-contained file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gradret.components import name_of
from gradret.progress import duration
from gradret.report import data
from gradret.report.copies import Copies, Leaks, copies, leaks
from gradret.report.cost import cost
from gradret.report.curve import epochs, read_curve
from gradret.report.headline import headline, verdicts
from gradret.report.indexes import indexes
from gradret.report.machine import machine
from gradret.report.plots import grades_plot, lengths_plot, systems_plot, training_plot
from gradret.report.queries import Queries, queries
from gradret.report.remarks import remarks
from gradret.report.render import render
from gradret.report.samples import documents, quarantined, training_lists
from gradret.report.selection import Selection, selection
from gradret.report.smaller import smaller_sizes
from gradret.report.summary import summary
from gradret.stages.verdict import check_result, orders_sentence, outcome, sentence, signal_sentence
from gradret.stats.agreement import Agreement, teacher_agreement
from gradret.stats.significance import ALPHA, Results, headline_measure

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.report.cost import Cost
    from gradret.report.machine import Machine
    from gradret.report.samples import TrainingList
    from gradret.store.artifacts import Artifact

__all__ = ["page"]

_SUMS = ("rows_in", "rows_out", "quarantined")


def page(
    config: Config, artifacts: Mapping[str, Artifact], results: Results, lineage: Mapping[str, Any], yaml: str
) -> str:
    """Render the report as HTML; sections of missing artifacts are left out.

    Args:
        config: the run's config.
        artifacts: the run's artifacts by name.
        results: results of the evaluated systems; may be empty.
        lineage: the content of ``lineage.json``.
        yaml: the resolved config.
    """
    measure = headline_measure(results.measures)
    changed = queries(results, artifacts, measure) if measure else Queries([], 0, 0)
    lists = training_lists(artifacts)
    dropped = copies(artifacts["dedupe"]) if "dedupe" in artifacts else None
    selected = selection(config.select, artifacts) if {"select", "generate"} <= artifacts.keys() else None
    doc_ids = {*changed.docs, *_listed_docs(lists), *_copied_docs(dropped), *_suspect_docs(selected)}
    agreement, spent, host = _agreement(artifacts), cost(config, artifacts), machine()
    return render(
        "run.html.jinja",
        name=config.name,
        what="report",
        headline=headline(results),
        verdicts=verdicts(results, config.seed),
        remarks=remarks(len(results.query_ids), artifacts),
        facts=_facts(artifacts, spent, host),
        results=results,
        alpha=ALPHA,
        best=_best(results),
        reranked=_is_reranked(artifacts.get("search.teacher")),
        others=[system for system in results.systems if results.comparison(system, measure or "")],
        systems_plot=systems_plot(results),
        queries=changed,
        measure=measure,
        cost=spent,
        machine=host,
        summary=summary(config, artifacts),
        curve=_curve(artifacts.get("train")),
        lists=lists,
        funnel=[_rows(name, artifact) for name, artifact in artifacts.items()],
        bad=[(name, rows) for name, artifact in artifacts.items() if (rows := quarantined(artifact))],
        copies=dropped,
        leaks=_leaks(artifacts),
        data=_data(artifacts),
        check=_check(artifacts.get("check")),
        signal=_signal(artifacts.get("label"), name_of(config.label.teacher)),
        agreement=agreement,
        agreement_at=[f"kappa at ≥ {least}" for least in agreement.binary_kappa] if agreement else [],
        selection=selected,
        indexes=indexes(artifacts),
        smaller=smaller_sizes(artifacts),
        cut_trained=bool(config.train.dimensions),
        docs=documents(artifacts.get("ingest"), doc_ids) | documents(artifacts.get("cut"), doc_ids),
        lineage=lineage,
        yaml=yaml,
    )


def _is_reranked(run: Artifact | None) -> bool:
    """Whether the teacher reranked what other systems found, documents or passages."""
    return run is not None and "rerank" in (run.stage, run.manifest["inputs"].get("run", "").partition("/")[0])


def _facts(artifacts: Mapping[str, Artifact], spent: Cost, host: Machine) -> str:
    """What the run worked on, what it took, and when it was written."""
    rows = {"documents": "ingest", "passages": "cut", "training lists": "train"}
    known = {
        what: artifacts[name].counts["rows_out"]
        for what, name in rows.items()
        if name in artifacts and "rows_out" in artifacts[name].counts
    }
    facts = [f"{number:,} {what}" for what, number in known.items()]
    return ", ".join([*facts, f"{duration(spent.seconds)} of work", f"written on {host.date}"])


def _best(results: Results) -> dict[str, float]:
    """The highest mean of each measure."""
    return {
        measure: max((means[measure].value for means in results.means.values()), default=0.0)
        for measure in results.measures
    }


def _curve(trained: Artifact | None) -> dict[str, Any]:
    """The training curve, as a plot and by epoch."""
    if trained is None:
        return {"plot": "", "epochs": []}
    best, rows = trained.manifest["notes"].get("best_epoch"), read_curve(trained.file("metrics.jsonl"))
    return {"plot": training_plot(rows, best), "epochs": epochs(rows, best)}


def _rows(name: str, artifact: Artifact) -> dict[str, Any]:
    """What a stage took in, left out and passed on."""
    counts = artifact.counts
    rows_in, rows_out, left_out = (counts.get(key) for key in _SUMS)
    return {
        "name": name,
        "rows_in": rows_in,
        "rows_out": rows_out,
        "quarantined": left_out,
        "kept": 1 - left_out / rows_in if rows_in and left_out is not None else None,
        "reasons": artifact.manifest["quarantined"],
        "others": {key.replace("_", " "): number for key, number in counts.items() if number and key not in _SUMS},
    }


def _data(artifacts: Mapping[str, Artifact]) -> dict[str, Any]:
    """Statistics of the generated data; empty if there is none."""
    if "generate" not in artifacts:
        return {}
    queries, documents = data.queries(artifacts), data.documents(artifacts["generate"])
    drops = data.dropped(artifacts)
    kinds = [texts.name for texts in queries] + [kind for drop in drops for kind in drop.counts]
    return {
        "gram": data.GRAM,
        "sampled": data.SAMPLED,
        "queries": queries,
        "documents": documents,
        "query_lengths": lengths_plot({texts.name: texts.words for texts in queries}, "query lengths"),
        "document_lengths": lengths_plot({texts.name: texts.words for texts in documents}, "document lengths"),
        "grades": grades_plot(data.grades(artifacts["select"]) if "select" in artifacts else {}),
        "drops": drops,
        "kinds": list(dict.fromkeys(kinds)),
        "asked": data.asked(artifacts),
        "outside": artifacts["label"].manifest["notes"].get("outside_mean") if "label" in artifacts else None,
    }


def _agreement(artifacts: Mapping[str, Artifact]) -> Agreement | None:
    """Agreement of the teacher with human training judgments, if it graded judged pairs."""
    if not {"label", "queries"} <= artifacts.keys():
        return None
    return teacher_agreement(artifacts["label"], artifacts["queries"])


def _check(artifact: Artifact | None) -> dict[str, Any]:
    """Teacher against retriever; empty if there was no check."""
    if artifact is None:
        return {}
    result = check_result(artifact)
    return {"sentence": sentence(artifact), "result": result, "outcome": outcome(result) if result else ""}


def _signal(labels: Artifact | None, teacher: str) -> str:
    """Whether a language model's labels tell documents apart, and whether their order decides; empty for others."""
    said = [] if labels is None else [signal_sentence(labels, teacher), orders_sentence(labels, teacher)]
    return " ".join(filter(None, said))


def _listed_docs(lists: Mapping[str, list[TrainingList]]) -> list[str]:
    return [doc.doc_id for groups in lists.values() for group in groups for doc in group.documents]


def _copied_docs(dropped: Copies | None) -> list[str]:
    """The documents of the examples of copies."""
    pairs = [copy for examples in dropped.examples.values() for copy in examples] if dropped else []
    return [doc_id for copy in pairs for doc_id in (copy.doc_id, copy.kept_doc_id)]


def _suspect_docs(selected: Selection | None) -> list[str]:
    """The documents of the audit's suspects."""
    suspects = selected.suspects if selected else ()
    return [doc_id for suspect in suspects for doc_id in (suspect.doc_id, suspect.positive_doc_id)]


def _leaks(artifacts: Mapping[str, Artifact]) -> Leaks | None:
    if not {"leaks", "generate"} <= artifacts.keys():
        return None
    return leaks(artifacts["leaks"], artifacts["generate"], artifacts.get("queries"))
