"""All losses on the same lists: nDCG@10 and Recall@100 on human queries, three seeds.

    python benchmarks/losses.py DATA [--storage FOLDER]

DATA holds the BEIR folders scifact and cranfield. Lists come from the quickstart's flow with fewer
queries; positives are the source document and up to three more that the teacher grades highly, so
that losses for several positives have some. Every loss has the same lists, batches, steps and
static encoder. Its temperature or scale (of three), then its learning rate (of three), are those that
do best on scifact's training queries, which no reported number uses. Weights are those after the last epoch. Writes
``benchmarks/results/losses_<hardware>_<date>.{md,json}``.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import ir_measures
import numpy as np
import pyarrow as pa
from hardware import hardware, result_path

import gradret
from gradret import components
from gradret.config import TrainResources
from gradret.contracts import schema
from gradret.encoders.static import Static
from gradret.flow import Flow
from gradret.session import session
from gradret.stages.encode import encode_texts, load_model
from gradret.text import passage
from gradret.training.checkpoint import load_checkpoint, restore
from gradret.training.loop import Job, load_student, train_loop
from gradret.training.prepare import prepare

COLLECTIONS = ("scifact", "cranfield")
SEEDS = (0, 1, 2)
QUERIES, EPOCHS, LIST_LENGTH, BATCH = 6000, 2, 16, 128
# One thread each: several of these may run side by side (--only), and then more only get in each other's way.
RESOURCES = TrainResources(threads=1)
# What the teacher must grade a document to make it a positive beside the source, and how many there may be.
POSITIVE_GRADE, MAX_POSITIVES = 0.8, 4
RATE, OTHER_RATES = 2e-3, (1e-3, 5e-3)
# A loss's name in the table, its component and fields; one of GRID's fields is tried at each of its values.
TEMPERATURES = {"temperature": (0.02, 0.05, 0.1)}
LOSSES = {
    "infonce": ("infonce", {}, {"temperature": (0.05, 0.1, 0.2)}),
    "infonce, hard negatives": ("infonce", {"hard_negatives": True}, TEMPERATURES),
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
MEASURES = {"nDCG@10": ir_measures.nDCG @ 10, "Recall@100": ir_measures.R @ 100}


@dataclasses.dataclass
class Collection:
    """One collection's lists, and what they are evaluated on."""

    config: gradret.Config
    model: Path
    docs: pa.Table
    generated: pa.Table
    groups: pa.Table
    queries: dict[str, pa.Table]
    qrels: dict[str, list[ir_measures.Qrel]]


def main() -> None:
    """Choose settings on scifact's training queries, then measure every loss with every seed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="holds the BEIR folders")
    parser.add_argument("--storage", type=Path, help="keeps the lists, and goes on with what was measured")
    parser.add_argument("--only", nargs="*", default=list(LOSSES), help="measure these losses and write no result")
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
    """The flow up to the lists, and human queries of both splits."""
    given = ["dataset.name=beir", f"dataset.path={folder}", f"name={name}", f"storage_path={storage}"]
    config = gradret.load("configs/quickstart.yaml", [*given, f"generate.generator.queries={QUERIES}"])
    flow = Flow(config)
    groups = flow.select.table("groups")
    rows = [with_more_positives(row) for row in groups.to_pylist()]
    docs = flow.ingest.table("docs", ["doc_id", "title", "text"])
    queries, qrels = {}, {}
    for split in ("train", "test"):
        lines = (
            [line.split("\t") for line in (folder / "qrels" / f"{split}.tsv").read_text().splitlines()[1:]]
            if (folder / "qrels" / f"{split}.tsv").exists()
            else []
        )
        qrels[split] = [ir_measures.Qrel(query_id, doc_id, int(grade)) for query_id, doc_id, grade in lines]
        judged = {qrel.query_id for qrel in qrels[split]}
        every = [json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines()]
        queries[split] = {row["_id"]: row["text"] for row in every if row["_id"] in judged}
    generated = flow.generate.table("queries", ["query_id", "text"])
    groups = pa.Table.from_pylist(rows, schema("groups"))
    return Collection(config, flow.base.path / "model", docs, generated, groups, queries, qrels)


def with_more_positives(row: dict) -> dict:
    """The list with highly graded documents among its positives, best first behind the source."""
    order = sorted(range(len(row["doc_ids"])), key=lambda n: (not row["positives"][n], -row["grades"][n]))
    listed = {name: [row[name][n] for n in order] for name in ("doc_ids", "grades", "scores", "positives")}
    known = sum(listed["positives"])
    more = sum(grade >= POSITIVE_GRADE for grade in listed["grades"][known:MAX_POSITIVES])
    listed["positives"] = [n < known + more for n in range(len(order))]
    relevant = {*row["relevant_doc_ids"], *listed["doc_ids"][: known + more]}
    return row | listed | {"relevant_doc_ids": sorted(relevant)}


def choose(place: Collection, component: str, fields: dict, grid: dict, storage: Path) -> dict:
    """By nDCG@10 on the collection's training queries, seed 0: first the field's value, then the learning rate."""
    ((field, values),) = grid.items()

    def tried(value: float, rate: float) -> tuple[float, float, float]:
        found = measured(place, component, fields | {field: value}, rate, 0, "train", storage)
        return found["nDCG@10"], value, rate

    first = [tried(value, RATE) for value in values]
    every = first + [tried(max(first)[1], rate) for rate in OTHER_RATES]
    best = max(every)
    return {"fields": {field: best[1]}, "rate": best[2], "tried": every}


def measured(
    place: Collection, component: str, fields: dict, rate: float, seed: int, split: str, storage: Path
) -> dict:
    """Train once and search the split's human queries; found again where it was done before."""
    loss = components.find("losses", component)(**fields)
    key = f"{place.config.name}-{loss}-{rate}-{seed}-{split}".replace("/", " ")
    memory = storage / "measured" / f"{key}.json"
    if memory.exists():
        return json.loads(memory.read_text(encoding="utf-8"))
    settings = {"epochs": EPOCHS, "batch_size": BATCH, "list_length": LIST_LENGTH, "resources": RESOURCES}
    train = dataclasses.replace(place.config.train, encoder=Static(), loss=(loss,), learning_rate=rate, **settings)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "work"
        job = Job(train, seed, place.model, work, Path(folder) / "metrics.jsonl")
        prepared = storage / "prepared" / place.config.name
        if not prepared.exists():
            # The same for all: every loss can use every list.
            prepare(job, place.docs, place.generated, place.groups)
            shutil.copytree(work, prepared)
        shutil.copytree(prepared, work, dirs_exist_ok=True)
        started = time.monotonic()
        train_loop(job)
        seconds = time.monotonic() - started
        # The last weights, not the best: what the loss does, not what the choice of a checkpoint saves.
        tensors, progress = load_checkpoint(work / "last.safetensors")
        student = load_student(job)
        restore({f"student.{n}": p for n, p in enumerate(student.parameters())}, tensors, work)
        student.save(Path(folder) / "model")
        found = evaluated(place, Path(folder) / "model", split)
    found |= {"seconds": round(seconds, 1), "best_epoch": progress["best_epoch"]}
    memory.parent.mkdir(exist_ok=True)
    memory.write_text(json.dumps(found), encoding="utf-8")
    return found


def evaluated(place: Collection, model: Path, split: str) -> dict:
    """Measures of an exact search over the whole corpus."""
    encoder = load_model(model, threads=1)
    columns = place.docs["title"].to_pylist(), place.docs["text"].to_pylist()
    docs = encode_texts(encoder, [passage(*row) for row in zip(*columns, strict=True)], "docs")
    queries = encode_texts(encoder, list(place.queries[split].values()), "queries")
    doc_ids = place.docs["doc_id"].to_pylist()
    scores = queries @ docs.T
    best = np.argsort(-scores, axis=1, kind="stable")[:, :100]
    run = [
        ir_measures.ScoredDoc(query_id, doc_ids[column], -rank)
        for query_id, columns in zip(place.queries[split], best, strict=True)
        for rank, column in enumerate(columns)
    ]
    found = ir_measures.calc_aggregate(list(MEASURES.values()), place.qrels[split], run)
    return {name: round(found[measure], 4) for name, measure in MEASURES.items()}


def untrained(collections: dict[str, Collection]) -> dict:
    """The student before training."""
    return {name: evaluated(place, place.model, "test") for name, place in collections.items()}


def markdown(results: dict) -> str:
    """The result file."""
    lines = [
        "# All losses on the same lists",
        "",
        f"{hardware()}. Command: `python benchmarks/losses.py DATA`.",
        f"Static encoder; {QUERIES:,} extractive queries a collection, {EPOCHS} epochs, batches of {BATCH} queries,",
        f"lists of {LIST_LENGTH}, up to {MAX_POSITIVES} positives; {len(SEEDS)} seeds of the training: mean and",
        "standard deviation on the human test queries. Weights after the last epoch. Each loss's temperature",
        "or scale (of three), then its learning rate (of three), were chosen on scifact's training queries with seed 0",
        "and used for both collections.",
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
        for place, measure in itertools.product(COLLECTIONS, MEASURES):
            values = [row[measure] for row in results["rows"] if (row["loss"], row["collection"]) == (name, place)]
            cells.append(f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}")
        fields = ", ".join(f"{key} {value}" for key, value in chosen["fields"].items())
        lines.append(f"| {name} | {chosen['rate']:g} | {fields} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
