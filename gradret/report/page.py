"""Render the HTML report of a run: one self-contained file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from gradret.components import name_of
from gradret.progress import printable
from gradret.report import data
from gradret.report.copies import Copies, Leaks, copies, leaks
from gradret.report.indexes import indexes
from gradret.report.plots import grades_plot, lengths_plot, read_curve, systems_plot, training_plot
from gradret.report.remarks import remarks
from gradret.report.samples import Change, ShownDoc, changes, documents, quarantined, training_lists
from gradret.report.selection import Selection, selection
from gradret.stages.verdict import check_result, outcome, sentence
from gradret.stats.agreement import Agreement, teacher_agreement
from gradret.stats.significance import ALPHA, Comparison, Results, headline_measure, p_text

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["headline", "kinds", "page", "render"]

_NAMES = {"bm25": "BM25", "base": "the base model", "tuned": "the tuned model", "teacher": "the teacher"}
_SUMS = ("rows_in", "rows_out", "quarantined")
_SNIPPET = 160


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
    gained, lost = changes(results, artifacts, measure) if measure else ([], [])
    lists = training_lists(artifacts)
    dropped = copies(artifacts["dedupe"]) if "dedupe" in artifacts else None
    shown = [doc for group in lists for doc in group.documents] + _changed_docs(gained + lost) + _copied_docs(dropped)
    selected = selection(config.select, artifacts) if {"select", "generate"} <= artifacts.keys() else None
    shown += _suspect_docs(selected)
    return render(
        "page.html.jinja",
        name=config.name,
        headline=" ".join([headline(results), *remarks(len(results.query_ids), artifacts)]),
        results=results,
        alpha=ALPHA,
        best=_best(results),
        reranked="search.teacher" in artifacts and artifacts["search.teacher"].stage == "rerank",
        others=[system for system in results.systems if results.comparison(system, measure or "")],
        systems_plot=systems_plot(results),
        training_plot=training_plot(read_curve(artifacts["train"].file("metrics.jsonl")))
        if "train" in artifacts
        else "",
        summary=_summary(config, artifacts),
        stages=[_stage(name, artifact) for name, artifact in artifacts.items()],
        data=_data(artifacts),
        agreement=_agreement(artifacts),
        check=_check(artifacts.get("check")),
        copies=dropped,
        selection=selected,
        leaks=_leaks(artifacts),
        indexes=indexes(artifacts),
        bad=[(name, rows) for name, artifact in artifacts.items() if (rows := quarantined(artifact))],
        lists=lists,
        measure=measure,
        changed=[("Gained most", gained), ("Lost most", lost)],
        docs=documents(artifacts.get("ingest"), shown),
        lineage=lineage,
        yaml=yaml,
    )


def render(template: str, **values: object) -> str:
    """Render a template of this folder with the common style sheet."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=_visible, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"p_text": p_text, "snippet": _snippet}
    folder = resources.files("gradret.report")
    source, style = (folder.joinpath(name).read_text(encoding="utf-8") for name in (template, "page.css"))
    return environment.from_string(source).render(style=style, **values)


def _visible(value: object) -> object:
    """A text with its control characters written out; not what the template marks as HTML."""
    return printable(value) if type(value) is str else value


def headline(results: Results) -> str:
    """One sentence: tuned against base and BM25 on the headline measure, with significance."""
    measure = headline_measure(results.measures)
    if not measure or not results.systems:
        return "No system was evaluated."
    if "tuned" not in results.values:
        return "The tuned model was not evaluated."
    text = f"On {len(results.query_ids):,} test queries the tuned model reaches {measure} "
    text += f"{results.means['tuned'][measure].value:.3f}"
    comparisons = [results.comparison(other, measure) for other in ("base", "bm25")]
    verdicts = [_verdict(each, results.means[each.b][measure].value) for each in comparisons if each]
    if not verdicts:
        return f"{text}; there is no other system to compare it with."
    return f"{text}: {', and '.join(verdicts)}."


def _verdict(comparison: Comparison, value: float) -> str:
    """A phrase such as ``significantly better than BM25 at 0.665 (+0.012, p = 0.012)``."""
    other, difference, p = _NAMES[comparison.b], comparison.difference, comparison.p_corrected
    if p is None:
        return f"{difference:+.3f} against {other} at {value:.3f} (too few queries to test)"
    if p >= ALPHA:
        return f"not significantly different from {other} at {value:.3f} ({difference:+.3f}, {p_text(p)})"
    word = "better" if difference > 0 else "worse"
    return f"significantly {word} than {other} at {value:.3f} ({difference:+.3f}, {p_text(p)})"


def _best(results: Results) -> dict[str, float]:
    """The highest mean of each measure."""
    return {
        measure: max((means[measure].value for means in results.means.values()), default=0.0)
        for measure in results.measures
    }


def _changed_docs(changed: list[Change]) -> list[ShownDoc]:
    return [doc for change in changed for doc in change.top_before + change.top_after]


def _snippet(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SNIPPET else text[:_SNIPPET].rstrip(" .,;") + "…"


def _stage(name: str, artifact: Artifact) -> dict[str, Any]:
    counts = artifact.counts
    return {
        "name": name,
        "sums": [counts.get(key) for key in _SUMS],
        "why": artifact.manifest["quarantined"],
        "others": {key.replace("_", " "): number for key, number in counts.items() if number and key not in _SUMS},
        "seconds": artifact.manifest["seconds"],
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


def _copied_docs(dropped: Copies | None) -> list[ShownDoc]:
    """The documents of the examples of copies, to look up their texts."""
    pairs = [copy for examples in dropped.examples.values() for copy in examples] if dropped else []
    doc_ids = [doc_id for copy in pairs for doc_id in (copy.doc_id, copy.kept_doc_id)]
    return [ShownDoc(doc_id, None, relevant=False) for doc_id in doc_ids]


def _suspect_docs(selected: Selection | None) -> list[ShownDoc]:
    """The documents of the audit's suspects, to look up their texts."""
    suspects = selected.suspects if selected else ()
    doc_ids = [doc_id for suspect in suspects for doc_id in (suspect.doc_id, suspect.positive_doc_id)]
    return [ShownDoc(doc_id, None, relevant=False) for doc_id in doc_ids]


def _leaks(artifacts: Mapping[str, Artifact]) -> Leaks | None:
    if not {"leaks", "generate"} <= artifacts.keys():
        return None
    return leaks(artifacts["leaks"], artifacts["generate"], artifacts.get("queries"))


def _summary(config: Config, artifacts: Mapping[str, Artifact]) -> list[tuple[str, str]]:
    """The main settings and counts of the run, as terms and texts."""
    train = config.train
    training = (
        f"at most {train.epochs} epochs, {train.batch_size} queries per batch, "
        f"learning rate {train.learning_rate:g}, {train.list_length} documents per list"
    )
    rows = [
        ("Dataset", _describe(config.dataset)),
        ("Documents", _count(artifacts.get("ingest"), "rows_out")),
        ("Test queries", _count(artifacts.get("queries"), "test_queries")),
        ("Generator", _describe(config.generate.generator)),
        ("Training queries", ", ".join(f"{n:,} {kind}" for kind, n in kinds(artifacts.get("generate")).items())),
        ("Candidates", _describe(config.mine.retrievers)),
        ("Teacher", _describe(config.label.teacher)),
        ("Encoder", _describe(train.encoder)),
        ("Loss", _describe(train.loss)),
        ("Training", training),
        *_training(artifacts.get("train")),
        ("Index", f"{config.index.factory}, {config.index.num_shards} shard{'s' * (config.index.num_shards != 1)}"),
        ("Seed", str(config.seed)),
    ]
    return [(term, text) for term, text in rows if text]


def _training(trained: Artifact | None) -> list[tuple[str, str]]:
    """The choices and counts of the training."""
    if trained is None:
        return []
    notes = trained.manifest["notes"]
    epoch, limits = notes.get("best_epoch"), notes.get("texts_at_length_limit", {})
    calibrated = [
        f"{loss} {key} {value:.3g}" for loss, keys in notes.get("calibrated", {}).items() for key, value in keys.items()
    ]
    learned = [f"{name} {value:.3g}" for name, value in notes.get("learned", {}).items()]
    cut = ", ".join(f"{number:,} {kind}" for kind, number in limits.items() if number)
    kept = (
        "those before training: no epoch was better on the held-out queries"
        if epoch == 0
        else f"those after epoch {epoch}"
    )
    return [
        ("Weights kept", kept if epoch is not None else ""),
        ("Calibrated", ", ".join(calibrated)),
        ("Learned by losses", ", ".join(learned)),
        (
            "Relevant documents masked among the negatives",
            f"{notes['masked_pairs']:,}" if notes.get("masked_pairs") else "",
        ),
        ("Texts at the model's length limit", cut),
    ]


def _describe(value: object) -> str:
    """A component's name and the fields that differ from their defaults; empty if there is no component."""
    if isinstance(value, (list, tuple)):
        return " + ".join(_describe(item) for item in value)
    if value is None or not is_dataclass(value):
        return "" if value is None else str(value)
    settings = [
        f"{f.name} {_describe(getattr(value, f.name))}"
        for f in fields(value)
        if f.name != "resources" and (f.default is MISSING or getattr(value, f.name) != f.default)
    ]
    settings = [text for text in settings if not text.endswith(" ")]
    return name_of(value) + (f" ({', '.join(settings)})" if settings else "")


def _count(artifact: Artifact | None, key: str) -> str:
    return f"{artifact.counts[key]:,}" if artifact and key in artifact.counts else ""


def kinds(generated: Artifact | None) -> dict[str, int]:
    """Number of generated queries by kind, most frequent first."""
    kinds: Counter[str] = Counter()
    for table in generated.batches("queries") if generated else ():
        kinds.update(kind or "no kind" for kind in table["kind"].to_pylist())
    return dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0])))
