"""Precision and recall of the filters of generated queries, on answers of a language model labelled by hand.

    python -m benchmarks.llm_filters ANSWERS

ANSWERS is a JSON Lines file of the answers of a run, a line each, with the texts ``kind``, ``form``, ``doc_id``,
``document``, ``prompt`` (system and user message without the document), ``answer`` and ``finish``, an ``id``, and
``faults``: null if nobody labelled the answer, else the names of its faults, none for a usable query. Answers without
labels matter because queries are compared with each other. The texts stay with the user: the table of labels that is
written holds ids, kinds, faults and reasons.

Half of the labelled answers, by a hash of their id, choose each threshold: the most lenient whose F1 is within 0.02 of
the best. The other half gives the numbers. Writes ``benchmarks/results/llm_filters_<hardware>_<date>.md`` and
``.json``.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.hardware import hardware, result_path
from gradret.draw import draw
from gradret.engines import Answer, Unusable
from gradret.generators._answers import one_line
from gradret.generators._filters import Filters, Query

Row = dict[str, Any]
Fired = dict[str, str]

OFF = Filters(prompt=0, document=0, form=False, mention=False, language=False, topic=0, similar=0)
SHARES = [round(1 - 0.05 * step, 2) for step in range(15)]
CLOSE = 0.02
# By the filter's name: its settings at a threshold, the faults that it is to find, thresholds, the most lenient first.
FILTERS: dict[str, tuple[Callable[[Any], dict[str, Any]], set[str], list[Any]]] = {
    "prompt": (lambda value: {"prompt": value}, {"prompt"}, SHARES),
    "document": (lambda value: {"document": value}, {"copied"}, SHARES),
    "form": (lambda value: {"form": value}, {"form"}, [True]),
    "mention": (lambda value: {"mention": value}, {"mention"}, [True]),
    "topic": (lambda value: {"topic": value}, {"topic"}, [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5]),
    "language": (lambda value: {"language": value}, {"language"}, [True]),
    "similar": (lambda value: {"similar": value, "documents": 0}, {"duplicate"}, SHARES),
    "documents": (lambda value: {"similar": 0.8, "documents": value}, {"several", "prompt"}, [5, 4, 3, 2]),
}


def main(path: str) -> int:
    """Compute the table and write it."""
    rows = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    labelled = [row for row in rows if row["faults"] is not None]
    halves: tuple[list[Row], list[Row]] = ([], [])
    for row in labelled:
        halves[draw("llm_filters", row["id"]) % 2].append(row)
    table = [measured(name, rows, halves) for name in FILTERS]
    reasons = fired(rows, Filters())
    whole = [score(halves[1], reasons, lambda row: bool(row["faults"])) | {"filter": "all"}]
    kinds = {
        kind: score([row for row in labelled if row["kind"] == kind], reasons, lambda row: bool(row["faults"]))
        for kind in sorted({row["kind"] for row in labelled})
    }
    labels = [
        {"id": row["id"], "kind": row["kind"], "faults": row["faults"], "fired": reasons.get(row["id"], "")}
        for row in labelled
    ]
    result = {"hardware": hardware(), "filters": table + whole, "kinds": kinds, "labels": labels}
    result_path("llm_filters", "json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    text = markdown(rows, labelled, table + whole, kinds, reasons)
    result_path("llm_filters", "md").write_text(text, encoding="utf-8")
    print(text)
    return 0


def measured(name: str, rows: list[Row], halves: tuple[list[Row], list[Row]]) -> Row:
    """Score one filter alone at its default on the second half, and choose its threshold on the first."""
    settings, faults, values = FILTERS[name]

    def at(value: Any, half: list[Row]) -> Row:
        return score(
            half, fired(rows, Filters(**vars(OFF) | settings(value))), lambda row: bool(faults & set(row["faults"]))
        )

    default = getattr(Filters(), name)
    scores = {value: at(value, halves[0])["f1"] for value in values}
    chosen = next(value for value in values if scores[value] >= max(scores.values()) - CLOSE)
    return at(default, halves[1]) | {"filter": name, "default": default, "chosen": chosen}


def fired(rows: Iterable[Row], filters: Filters) -> Fired:
    """Return the reason why an answer is quarantined, by id."""
    reasons: Fired = {}
    queries = []
    for row in rows:
        try:
            line = one_line(Answer(row["id"], row["answer"], row["finish"], 0, 0))
        except Unusable as why:
            # Without filters, what is unusable anyway does not count for any of them.
            reasons |= {row["id"]: str(why)} if filters == Filters() else {}
            continue
        if fault := filters.answer_fault(line, row["prompt"], row["form"]):
            reasons[row["id"]] = fault
        else:
            queries.append(Query(row["id"], line, row["kind"], row["doc_id"], row["document"]))
    return reasons | filters.query_faults(queries)


def score(rows: list[Row], reasons: Fired, wanted: Callable[[Row], bool]) -> Row:
    """Count what fired on ``rows``; ``right`` are those with the wanted fault, ``bad`` those with any."""
    hits = [row for row in rows if row["id"] in reasons]
    right, there = sum(map(wanted, hits)), sum(map(wanted, rows))
    bad = sum(bool(row["faults"]) for row in hits)
    return {
        "rows": len(rows),
        "fired": len(hits),
        "bad": bad,
        "right": right,
        "there": there,
        "f1": 2 * right / max(1, len(hits) + there),
    }


def markdown(rows: list[Row], labelled: list[Row], table: list[Row], kinds: dict[str, Row], reasons: Fired) -> str:
    """Format the table of filters, that of kinds, and the counts of faults and reasons."""
    lines = [
        "# Filters of generated queries",
        "",
        f"{hardware()}. Command: `python -m benchmarks.llm_filters ANSWERS`.",
        "",
        f"{len(rows):,} answers, of which {len(labelled)} were labelled by hand. Numbers are of the half of the labels",
        "that chose no threshold. `precision`: share of the answers on which the filter fires that have any fault;",
        "`own`: that have the fault it is to find; `recall`: share of the answers with that fault on which it fires.",
        "",
        "| filter | default | chosen on the other half | fires | precision | own | with the fault | recall |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one['filter']} | {one.get('default', '')} | {one.get('chosen', '')} | {one['fired']} | "
        f"{_share(one['bad'], one['fired'])} | {_share(one['right'], one['fired'])} | {one['there']} | "
        f"{_share(one['right'], one['there'])} |"
        for one in table
    ]
    lines += ["", "All labels, all filters at their defaults:", ""]
    lines += [
        "| kind | labelled | with a fault | quarantined | precision | recall | usable of the kept |",
        "|---|" + "---|" * 6,
    ]
    for kind, one in kinds.items():
        kept = one["rows"] - one["fired"]
        lines.append(
            f"| {kind} | {one['rows']} | {one['there']} | {one['fired']} | {_share(one['right'], one['fired'])} | "
            f"{_share(one['right'], one['there'])} | {_share(kept - one['there'] + one['right'], kept)} |"
        )
    faults = Counter(fault for row in labelled for fault in row["faults"] or ["none"])
    lines += ["", "| fault | labels |", "|---|---|", *(f"| {name} | {count} |" for name, count in faults.most_common())]
    counts = Counter(reasons.values())
    lines += [
        "",
        "| reason | of all answers |",
        "|---|---|",
        *(f"| {name} | {count} |" for name, count in counts.most_common()),
    ]
    return "\n".join(lines) + "\n"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2f}" if whole else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
