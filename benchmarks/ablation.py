"""Effect of filters, candidates and list settings on nDCG@10 with human queries, three seeds.

    python -m benchmarks.ablation DATA [--storage FOLDER]

DATA contains the BEIR folders scifact and cranfield. Every row changes one setting of the quickstart's config,
with fewer queries and epochs, and runs its stages. A seed sets the queries, the draws and the training. Every row
has two results: ``dev`` (scifact's training queries, cranfield's even-numbered queries) chooses the defaults,
``test`` is on the other queries. Writes ``benchmarks/results/ablation_<hardware>_<date>.{md,json}``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import statistics
import tempfile
from pathlib import Path

from scipy.stats import ttest_1samp

import gradret
from benchmarks.hardware import hardware, result_path
from gradret.flow import Flow
from gradret.stages.evaluate import evaluate
from gradret.stages.index import index
from gradret.stages.queries import queries
from gradret.stages.search import search
from gradret.work.session import session

COLLECTIONS = ("scifact", "cranfield")
DEV = {"scifact": "train", "cranfield": "dev"}
SEEDS = (0, 1, 2)
QUERIES, EPOCHS = 3000, 2
SMALL = (
    "generate.training_queries=false",  # the training queries are used for evaluation
    f"generate.generator.queries={QUERIES}",
    "generate.generator.per_doc=12",
    f"train.epochs={EPOCHS}",
    "check.queries=0",
)

_SOURCE, _RANDOM = "{name: source}", "{name: random}"
_BOTH = "[{name: bm25, k: 60}, {name: dense, k: 60}]"
_TAMBER = ("select.unique=true", "select.round_trip=20", "select.source_within=1", "select.score_floor=25")
VARIANTS: dict[str, dict[str, tuple[str, ...]]] = {
    "filters": {
        "none": (),
        "unique": ("select.unique=true",),
        "at least 4 words": ("select.min_words=4",),
        "round trip 20": ("select.round_trip=20",),
        "teacher first": ("select.source_within=1",),
        "score floor 25": ("select.score_floor=25",),
        "1,000 a kind": ("select.max_per_kind=1000",),
        "relative margin 0.05": ("select.relative_margin=0.05",),
        "absolute margin 0.1": ("select.absolute_margin=0.1",),
        "unique, round trip 20, teacher first, floor 25": _TAMBER,
    },
    "candidates": {
        "source + bm25 19 + random 4": (f"mine.retrievers=[{_SOURCE}, {{name: bm25, k: 19}}, {_RANDOM}]",),
        "source + dense 19 + random 4": (f"mine.retrievers=[{_SOURCE}, {{name: dense, k: 19}}, {_RANDOM}]",),
        "source + rrf of bm25, dense 19 + random 4": (
            f"mine.retrievers=[{_SOURCE}, {{name: rrf, k: 19, retrievers: {_BOTH}}}, {_RANDOM}]",
        ),
        "no random": (f"mine.retrievers=[{_SOURCE}, {{name: teacher}}]",),
    },
    "lists": {
        "percentiles a query": ("select.normalise=query", "select.low=0", "select.high=100"),
        "upper percentile 99": ("select.high=99",),
        "4 levels, equally filled": ("select.grades=quantiles",),
    },
}


def main() -> None:
    """Run the missing variants, collection by collection, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="contains the BEIR folders")
    parser.add_argument("--storage", type=Path, help="keep artifacts here, and resume from them")
    parser.add_argument("--collections", nargs="*", default=COLLECTIONS, help="measure only these; writes no result")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        storage = parsed.storage or Path(temporary)
        rows = []
        for place in parsed.collections:
            folder = (
                _split(parsed.data / place, storage / "data" / place) if place == "cranfield" else parsed.data / place
            )
            with session():
                rows += [
                    {"collection": place, "group": group, "variant": name, "seed": seed}
                    | measured(place, folder.resolve(), storage, overrides, seed)
                    for seed in SEEDS
                    for group, variants in VARIANTS.items()
                    for name, overrides in variants.items()
                ]
    if tuple(parsed.collections) != COLLECTIONS:
        return
    result_path("ablation", "json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    result_path("ablation", "md").write_text(markdown(rows), encoding="utf-8")


def _split(folder: Path, target: Path) -> Path:
    """Return the collection, with judgments of even query numbers as ``dev`` and of odd ones as ``test``."""
    if not (target / "qrels").exists():
        shutil.copytree(folder, target, dirs_exist_ok=True)
        header, *lines = (folder / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()
        for name, rest in (("dev", 0), ("test", 1)):
            own = [line for line in lines if int(line.split("\t")[0]) % 2 == rest]
            (target / "qrels" / f"{name}.tsv").write_text("\n".join([header, *own]) + "\n", encoding="utf-8")
    return target


def measured(place: str, folder: Path, storage: Path, overrides: tuple[str, ...], seed: int) -> dict:
    """Return the number of lists kept, and the measures on dev and test queries."""
    given = ["dataset.name=beir", f"dataset.path={folder}", f"name={place}", f"storage_path={storage}", f"seed={seed}"]
    config = gradret.load("configs/quickstart.yaml", [*given, *SMALL, *overrides])
    flow = Flow(config)
    built = index(config, flow.train, flow.ingest)
    counts = flow.select.counts
    found: dict = {"lists": counts["rows_out"], "queries": counts["rows_in"]}
    for name, split in (("dev", DEV[place]), ("test", "test")):
        own = dataclasses.replace(config, dataset=dataclasses.replace(config.dataset, split=split))
        human = queries(own, flow.ingest)
        table = evaluate(own, human, search(own, flow.train, built, human)).table("metrics").to_pandas()
        means = table.groupby("measure")["value"].mean()
        found[name] = {measure: round(float(means[measure]), 4) for measure in ("nDCG@10", "Recall@100")}
    print(place, seed, overrides, found, flush=True)
    return found


def markdown(rows: list[dict]) -> str:
    """Format the result file."""
    lines = [
        "# Effect of filters, candidates and list settings",
        "",
        f"{hardware()}. Command: `python -m benchmarks.ablation DATA`.",
        f"The quickstart's config with {QUERIES:,} queries and {EPOCHS} epochs; each row changes one setting.",
        f"Values are the mean nDCG@10 ± standard deviation over {len(SEEDS)} seeds of queries, draws and training.",
        "`d` is the mean difference from the first row with the same seed; * marks p < 0.05 in a paired t-test over",
        "the seeds of both collections (6 differences, uncorrected, so only a hint). dev is on scifact's training",
        "queries and cranfield's even-numbered queries, test on the other queries. dev chooses the defaults.",
    ]
    baseline = {(r["collection"], r["seed"]): r for r in rows if r["variant"] == "none"}
    for group, variants in VARIANTS.items():
        heads = [f"{place} {split}" for place in COLLECTIONS for split in ("dev", "test")]
        lines += ["", f"| {group} | lists | {' | '.join(heads)} | d dev | d test |", "|---" * (len(heads) + 4) + "|"]
        for name in variants:
            own = [row for row in rows if row["variant"] == name and row["group"] == group]
            kept = sum(row["lists"] for row in own) / sum(row["queries"] for row in own)
            cells = []
            for place in COLLECTIONS:
                for split in ("dev", "test"):
                    values = [row[split]["nDCG@10"] for row in own if row["collection"] == place]
                    cells.append(f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}")
            for split in ("dev", "test"):
                differences = [
                    row[split]["nDCG@10"] - baseline[row["collection"], row["seed"]][split]["nDCG@10"] for row in own
                ]
                mark = "*" if any(differences) and ttest_1samp(differences, 0).pvalue < 0.05 else ""
                cells.append(f"{statistics.mean(differences):+.4f}{mark}")
            lines.append(f"| {name} | {kept:.0%} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
