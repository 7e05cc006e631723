"""Compare all losses on the same lists: nDCG@10 and Recall@100 on human queries, three seeds.

    python -m benchmarks.losses DATA [--storage FOLDER]

DATA contains the BEIR folders scifact and cranfield. Lists come from the quickstart's flow with fewer queries.
Positives are the source document and up to three more documents that the teacher grades high, for the losses that use
several positives. Every loss uses the same lists, batches, steps and static encoder. For each loss, the best of three
temperatures or scales and then the best of three learning rates are chosen on scifact's training queries, which no
reported number uses. The weights are those after the last epoch. Writes
``benchmarks/results/losses_<hardware>_<date>.{md,json}``.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import statistics
import tempfile
from pathlib import Path

import pyarrow as pa

import gradret
from benchmarks.hardware import hardware, result_path
from benchmarks.students import EXTRACTIVE, MEASURES, Place, Trained, place, searched, trained, training
from gradret import components
from gradret.flow import Flow
from gradret.work.session import session

COLLECTIONS = ("scifact", "cranfield")
SEEDS = (0, 1, 2)
QUERIES, EPOCHS, LIST_LENGTH, BATCH = 6000, 2, 16, 128
# Lowest teacher grade of an additional positive, and the maximum number of positives.
POSITIVE_GRADE, MAX_POSITIVES = 0.8, 4
RATE, OTHER_RATES = 2e-3, (1e-3, 5e-3)
# A loss's name in the table, its component and fields; one of GRID's fields is tried at each of its values.
TEMPERATURES = {"temperature": (0.02, 0.05, 0.1)}
LOSSES = {
    "infonce": ("infonce", {}, TEMPERATURES),
    "infonce, first positives": ("infonce", {"hard_negatives": False}, {"temperature": (0.05, 0.1, 0.2)}),
    "positive_aware_infonce": ("positive_aware_infonce", {}, {"temperature": (0.01, 0.02, 0.05)}),
    "kl": ("kl", {}, {"student_temperature": (0.05, 0.1, 0.2)}),
    "kl, whole batch": ("kl", {"columns": "batch"}, {"student_temperature": (0.02, 0.05, 0.1)}),
    "wasserstein": ("wasserstein", {}, {"temperature": (0.1, 0.2, 0.5)}),
    "bixse": ("bixse", {}, {"scale": (10.0, 20.0, 40.0)}),
    "joint_lh": ("joint_lh", {}, TEMPERATURES),
    "sum_marg_lh": ("sum_marg_lh", {}, TEMPERATURES),
    "lse_pair": ("lse_pair", {}, TEMPERATURES),
    "rand1_lh": ("rand1_lh", {}, TEMPERATURES),
    "margin_mse": ("margin_mse", {}, {"scale": (8.0, 16.0, 32.0)}),
    "ranknet": ("ranknet", {}, TEMPERATURES),
    "lambdarank": ("lambdarank", {}, TEMPERATURES),
    "listnet": ("listnet", {}, {"temperature": (0.05, 0.1, 0.2)}),
}


@dataclasses.dataclass
class Collection:
    """A collection and its lists."""

    place: Place
    texts: pa.Table
    groups: list[dict]


def main() -> None:
    """Choose settings on scifact's training queries, then measure every loss with every seed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="contains the BEIR folders")
    parser.add_argument("--storage", type=Path, help="keep lists and measurements here, and resume from them")
    parser.add_argument("--only", nargs="*", default=list(LOSSES), help="measure only these losses; writes no result")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        storage = parsed.storage or Path(temporary)
        storage.mkdir(parents=True, exist_ok=True)
        with session():
            collections = {name: collection(name, parsed.data / name, storage) for name in COLLECTIONS}
        results = {"untrained": untrained(collections), "chosen": {}, "rows": []}
        for name in parsed.only:
            component, fields, grid = LOSSES[name]
            chosen = choose(collections["scifact"], component, fields, grid, storage)
            results["chosen"][name] = chosen
            for place, seed in itertools.product(COLLECTIONS, SEEDS):
                split = "test"
                found = measured(
                    collections[place], component, fields | chosen["fields"], chosen["rate"], seed, split, storage
                )
                results["rows"].append({"loss": name, "collection": place, "seed": seed, **found})
                print(name, place, seed, chosen, found, flush=True)
    if parsed.only != list(LOSSES):
        return
    result_path("losses", "json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    result_path("losses", "md").write_text(markdown(results), encoding="utf-8")


def collection(name: str, folder: Path, storage: Path) -> Collection:
    """Run the flow up to the lists; return them, and human queries of both splits."""
    given = ["dataset.name=beir", f"dataset.path={folder}", f"name={name}", f"storage_path={storage}"]
    config = gradret.load("configs/quickstart.yaml", [*given, *EXTRACTIVE, f"generate.generator.queries={QUERIES}"])
    flow = Flow(config)
    rows = [with_more_positives(row) for row in flow.select.table("groups").to_pylist()]
    splits = [split for split in ("train", "test") if (folder / "qrels" / f"{split}.tsv").exists()]
    return Collection(place(flow, folder, splits), flow.generate.table("queries", ["query_id", "text"]), rows)


def with_more_positives(row: dict) -> dict:
    """Return the list with highly graded documents as additional positives, sorted by grade after the source."""
    order = sorted(range(len(row["doc_ids"])), key=lambda n: (not row["positives"][n], -row["grades"][n]))
    listed = {name: [row[name][n] for n in order] for name in ("doc_ids", "grades", "scores", "positives")}
    known = sum(listed["positives"])
    more = sum(grade >= POSITIVE_GRADE for grade in listed["grades"][known:MAX_POSITIVES])
    listed["positives"] = [n < known + more for n in range(len(order))]
    relevant = {*row["relevant_doc_ids"], *listed["doc_ids"][: known + more]}
    return row | listed | {"relevant_doc_ids": sorted(relevant)}


def choose(place: Collection, component: str, fields: dict, grid: dict, storage: Path) -> dict:
    """Choose the field's value, then the learning rate, by nDCG@10 on the training queries with seed 0."""
    ((field, values),) = grid.items()

    def tried(value: float, rate: float) -> tuple[float, float, float]:
        found = measured(place, component, fields | {field: value}, rate, 0, "train", storage)
        return found["nDCG@10"], value, rate

    first = [tried(value, RATE) for value in values]
    every = first + [tried(max(first)[1], rate) for rate in OTHER_RATES]
    best = max(every)
    return {"fields": {field: best[1]}, "rate": best[2], "tried": every}


def measured(here: Collection, component: str, fields: dict, rate: float, seed: int, split: str, storage: Path) -> dict:
    """Train once and search the split's human queries; earlier results are reused."""
    loss = components.find("losses", component)(**fields)
    key = f"{here.place.name}-{loss}-{rate}-{seed}-{split}".replace("/", " ")
    memory = storage / "measured" / f"{key}.json"
    if memory.exists():
        return json.loads(memory.read_text(encoding="utf-8"))
    settings = training(loss=(loss,), learning_rate=rate, epochs=EPOCHS, batch_size=BATCH, list_length=LIST_LENGTH)
    # Prepared once: every loss can use every list.
    ready = storage / "prepared" / here.place.name
    model = trained(here.place, here.texts, here.groups, settings, seed, ready)
    found = means(here.place, split, model) | {"seconds": round(model.seconds, 1)}
    memory.parent.mkdir(exist_ok=True)
    memory.write_text(json.dumps(found), encoding="utf-8")
    return found


def means(here: Place, split: str, model: Trained | None) -> dict:
    """Return the measures of an exact search over the whole corpus."""
    found = searched(here, split, model)
    return {name: round(statistics.mean(found[name].values()), 4) for name in MEASURES}


def untrained(collections: dict[str, Collection]) -> dict:
    """Return the measures of the student before training."""
    return {name: means(here.place, "test", None) for name, here in collections.items()}


def markdown(results: dict) -> str:
    """Format the result file."""
    lines = [
        "# All losses on the same lists",
        "",
        f"{hardware()}. Command: `python -m benchmarks.losses DATA`.",
        f"Static encoder; {QUERIES:,} extractive queries per collection, {EPOCHS} epochs, batches of {BATCH} queries,",
        f"lists of {LIST_LENGTH} with up to {MAX_POSITIVES} positives. Mean ± standard deviation over {len(SEEDS)}",
        "training seeds on the human test queries, with the weights after the last epoch. For each loss, the best of",
        "three temperatures or scales and then the best of three learning rates were chosen on scifact's training",
        "queries with seed 0, and used for both collections.",
        "",
        "| loss | learning rate | chosen | "
        + " | ".join(f"{place} {name}" for place in COLLECTIONS for name in MEASURES)
        + " |",
        "|---" * (3 + len(COLLECTIONS) * len(MEASURES)) + "|",
        "| (untrained) | | | "
        + " | ".join(f"{results['untrained'][place][name]:.4f}" for place in COLLECTIONS for name in MEASURES)
        + " |",
    ]
    for name in LOSSES:
        chosen = results["chosen"][name]
        cells = []
        for where, measure in itertools.product(COLLECTIONS, MEASURES):
            values = [row[measure] for row in results["rows"] if (row["loss"], row["collection"]) == (name, where)]
            cells.append(f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}")
        fields = ", ".join(f"{key} {value}" for key, value in chosen["fields"].items())
        lines.append(f"| {name} | {chosen['rate']:g} | {fields} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
