"""The four papers' claims, tested on small collections with the static student, three seeds and paired tests.

    python -m benchmarks.claims DATA [--storage FOLDER] [--workers N]

DATA contains the BEIR folders scifact, cranfield, vaswani and trecdl19_judged. Lists come from the quickstart's flow:
extractive queries of four kinds, graded by the fusion teacher. Cross-validation uses human grades (cranfield) and the
grades of three LLMs (trecdl19_judged, tested on human grades). Losses use the temperatures and learning rates that
``benchmarks/losses.py`` chose on scifact's training queries, and the weights after the last epoch. Results are kept in
FOLDER; the same command resumes a stopped run. Writes ``benchmarks/results/claims_<hardware>_<date>.{md,json}`` and
``docs/claims_*.svg``.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.claims_cells import (
    CELLS,
    EPOCHS,
    FOLD_EPOCHS,
    FOLDS,
    LENGTHS,
    LLMS,
    MULTIPLE,
    NOISE,
    RECIPES,
    SEEDS,
    Cell,
    cells_1,
    cells_2,
    cells_3,
    cells_4,
    cells_5,
)
from benchmarks.claims_lists import (
    A_KIND,
    COLLECTIONS,
    KINDS,
    LISTS,
    drawing,
    human,
    judged,
    kept,
    loaded,
    noisy_grades,
    noisy_positives,
    synthetic,
    taken,
)
from benchmarks.claims_tables import Tables, plot
from benchmarks.hardware import hardware, result_path
from benchmarks.students import MEASURES, Place, Values, searched, trained, training
from gradret import components
from gradret.stats.significance import ALPHA
from gradret.work.session import cores, session


def main() -> None:
    """Build the lists, run the missing trainings, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="contains the BEIR folders")
    parser.add_argument("--storage", type=Path, help="keep artifacts here, and resume from them")
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--only", nargs="*", default=[], help="train only for these claims (1 to 5); writes no result")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        run(parsed, (parsed.storage or Path(temporary)).resolve())


def run(parsed: argparse.Namespace, storage: Path) -> None:
    """Run the benchmark, with artifacts in ``storage``."""
    with session():
        for name in COLLECTIONS:
            kept(storage / "lists" / f"{name}.pickle", functools.partial(synthetic, name, parsed.data / name, storage))
        kept(storage / "lists" / "human.pickle", functools.partial(human, parsed.data / "scifact", storage))
        for name in FOLD_EPOCHS:
            kept(storage / "lists" / f"{name}.pickle", functools.partial(judged, name, parsed.data, storage))
    chosen = {claim: list(cells()) for claim, cells in CELLS.items() if not parsed.only or claim in parsed.only}
    every = list(dict.fromkeys(itertools.chain.from_iterable(chosen.values())))
    found = measured_all(every, storage, parsed.workers)
    if not parsed.only:
        results = {"hardware": hardware(), "claims": {claim: CLAIMS[claim](found, storage) for claim in CLAIMS}}
        result_path("claims", "json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        result_path("claims", "md").write_text(markdown(results), encoding="utf-8")
        for number, claim in results["claims"].items():
            plot(f"{number}. {TITLES[number]}", claim["rows"], Path(f"docs/claims_{number}.svg"))


def measured_all(cells: Sequence[Cell], storage: Path, workers: int) -> dict[Cell, Any]:
    """Return the values of every cell, reusing those of earlier runs."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        asked = {pool.submit(measured, cell, storage): cell for cell in cells}
        found = {}
        for number, done in enumerate(as_completed(asked), 1):
            found[asked[done]] = done.result()
            if number % 20 == 0:
                print(f"{number}/{len(cells)} trainings", flush=True)
    return found


def measured(cell: Cell, storage: Path) -> dict[str, Any]:
    """Return ``values`` by searched collection, and the seconds of the training."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
    path = storage / "measured" / f"{cell.key}.json"
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    here, texts, lists = loaded(storage / "lists" / f"{cell.place}.pickle")
    rows = lists[cell.lists]
    if cell.noisy:
        rows = (noisy_grades if cell.noisy == "grades" else noisy_positives)(rows, cell.noise, cell.seed)
    split, own = "test", here
    if cell.fold >= 0:
        held = fold_of(here, cell.seed, cell.fold)
        rows = taken([row for row in rows if row["query_id"] not in held], len(rows))
        asked = {query_id: text for query_id, text in here.queries["test"].items() if query_id in held}
        qrels = [qrel for qrel in here.qrels["test"] if qrel.query_id in held]
        own = Place(here.name, here.model, here.docs, {"test": asked}, {"test": qrels})
        own.__dict__["tokens"] = here.tokens  # cached: the same documents
    losses, rate = RECIPES[cell.recipe]
    settings = training(
        loss=tuple(components.find("losses", name)(**fields) for name, fields in losses),
        learning_rate=rate,
        epochs=cell.epochs,
        batch_size=16 if cell.fold >= 0 else 128,
        list_length=24,
        dev_docs=0,
    )
    # If noise or folds are drawn, lists depend on the seed, and so must the name under which they are cached.
    drawn = (cell.seed, cell.noisy, cell.noise, cell.fold) if cell.noisy or cell.fold >= 0 else ()
    ready = storage / "prepared" / f"{cell.place} {cell.lists} {drawn}".replace("/", " ")
    model = trained(here, texts, rows, settings, cell.seed, ready)
    found = {"values": {cell.place: searched(own, split, model)}, "seconds": model.seconds}
    if cell.lists == "levels" and not cell.noise:
        for other in COLLECTIONS:
            if other != cell.place:
                there = loaded(storage / "lists" / f"{other}.pickle")[0]
                found["values"][other] = searched(there, split, model, source=here)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(f".{os.getpid()}").write_text(json.dumps(found), encoding="utf-8")
    path.with_suffix(f".{os.getpid()}").replace(path)
    return found


def fold_of(here: Place, seed: int, fold: int) -> set[str]:
    """Return the query ids of a fold."""
    order = sorted(here.queries["test"])
    drawing(f"folds {seed}").shuffle(order)
    return set(order[fold::FOLDS])


def of_seeds(cells: Iterator[Cell] | Sequence[Cell], **wanted: Any) -> list[Cell]:
    """Return the cells with these fields."""
    return [cell for cell in cells if all(getattr(cell, name) == value for name, value in wanted.items())]


def before(storage: Path, name: str, there: str = "") -> Values:
    """Return the values of the student before training."""
    source = loaded(storage / "lists" / f"{name}.pickle")[0]
    here = loaded(storage / "lists" / f"{there or name}.pickle")[0]
    return searched(here, "test", None, source)


def claim_1(found: Mapping[Cell, Any], storage: Path) -> dict[str, Any]:
    tables, cells = Tables(found), list(cells_1())
    for name in COLLECTIONS:
        tables.fixed(name, "untrained", before(storage, name), x=0)
        for recipe, epochs in itertools.product(list(RECIPES)[:3], LENGTHS):
            own = of_seeds(cells, place=name, recipe=recipe, epochs=epochs)
            tables.add(name, f"{recipe}, {epochs} epochs", own, line=recipe, x=epochs)
        last = f"{LENGTHS[-1]} epochs"
        tables.compare(name, f"contrastive, {LENGTHS[0]} epochs", f"contrastive, {last}")
        tables.compare(name, f"listwise, {last}", f"contrastive, {last}")
        tables.compare(name, f"combined, {last}", f"contrastive, {last}")
        tables.compare(name, f"combined, {last}", f"listwise, {last}")
    return tables.data()


def claim_2(found: Mapping[Cell, Any], storage: Path) -> dict[str, Any]:
    tables, cells = Tables(found), list(cells_2())
    for name in COLLECTIONS:
        tables.fixed(name, "untrained", before(storage, name))
        for lists in (*KINDS[name], "all kinds"):
            tables.add(name, lists, of_seeds(cells, place=name, lists=lists))
        for kind in KINDS[name]:
            tables.compare(name, "all kinds", kind)
    where = "scifact, 809 training queries"
    for lists in ("people's", "extractive", "both"):
        tables.add(where, lists, of_seeds(cells, place="human", lists=lists))
    tables.compare(where, "people's", "extractive")
    tables.compare(where, "both", "people's")
    return tables.data()


def claim_3(found: Mapping[Cell, Any], storage: Path) -> dict[str, Any]:
    tables, cells = Tables(found), list(cells_3())
    recipes = ("wasserstein", "kl", "infonce")
    places = [(name, name, "") for name in (*COLLECTIONS, *FOLD_EPOCHS)]
    places += [(f"{one} -> {other}", one, other) for one, other in itertools.permutations(COLLECTIONS, 2)]
    for where, name, there in places:
        tables.fixed(where, "untrained", before(storage, name, there))
        for recipe in recipes:
            tables.add(where, recipe, of_seeds(cells, place=name, recipe=recipe), searched_in=there)
        tables.compare(where, "wasserstein", "infonce")
        tables.compare(where, "wasserstein", "kl")
    return tables.data()


def degraded(
    found: Mapping[Cell, Any], storage: Path, cells: list[Cell], noisy: str, first: str, others: Sequence[str]
) -> dict[str, Any]:
    """Compare ``first`` with the others at every level of noise, and in how much each falls."""
    tables = Tables(found)
    for name in (*COLLECTIONS, "cranfield, people"):
        tables.fixed(name, "untrained", before(storage, name))
        for recipe, noise in itertools.product((first, *others), NOISE):
            own = of_seeds(cells, place=name, recipe=recipe, noise=noise, noisy=noisy)
            tables.add(name, f"{recipe}, {noise:.0%}", own, line=recipe, x=noise)
        for other, noise in itertools.product(others, NOISE):
            tables.compare(name, f"{first}, {noise:.0%}", f"{other}, {noise:.0%}")
        for other in others:
            pair = [(f"{recipe}, {NOISE[-1]:.0%}", f"{recipe}, {NOISE[0]:.0%}") for recipe in (first, other)]
            tables.compare_losses_of(name, pair[0], pair[1])
    for llm in LLMS:
        name = f"trecdl19, {llm}"
        tables.fixed(name, "untrained", before(storage, name))
        for recipe in (first, *others):
            tables.add(name, recipe, of_seeds(cells, place=name, recipe=recipe))
        for other in others:
            tables.compare(name, first, other)
    return tables.data()


def claim_4(found: Mapping[Cell, Any], storage: Path) -> dict[str, Any]:
    return degraded(found, storage, list(cells_4()), "grades", "bixse", ("infonce",))


def claim_5(found: Mapping[Cell, Any], storage: Path) -> dict[str, Any]:
    return degraded(found, storage, list(cells_5()), "positives", "lse_pair", MULTIPLE[1:])


CLAIMS: dict[str, Callable[[Mapping[Cell, Any], Path], dict[str, Any]]] = {
    "1": claim_1, "2": claim_2, "3": claim_3, "4": claim_4, "5": claim_5
}  # fmt: skip
TITLES = {
    "1": "Contrastive, listwise and combined training (Tamber et al., Table 3)",
    "2": "Kinds of queries, and human queries (Tamber et al., Tables 4 and 5)",
    "3": "Graded lists with the Wasserstein loss, and other collections (SyCL)",
    "4": "BiXSE and InfoNCE as grades get worse",
    "5": "Losses for several positives as positives get worse",
}


def markdown(results: dict[str, Any]) -> str:
    """Format the result file."""
    lines = [
        "# The papers' claims, tested on small collections",
        "",
        f"{results['hardware']}. Command: `python -m benchmarks.claims DATA`.",
        f"Static student; mean ± standard deviation over {len(SEEDS)} seeds. {LISTS:,} lists of up to 24 documents",
        f"({A_KIND:,} per arm in claim 2, 809 on scifact's training queries) and {EPOCHS} epochs, unless stated",
        "otherwise. Claims 3 to 5 use four levels of the fusion teacher's scores per query as grades. `cranfield,",
        f"people` and `trecdl19, LLM` use {FOLDS} folds over their queries, drawn anew for every seed. Comparisons",
        "are two-sided paired t-tests over the queries, on means over seeds, Holm-corrected over all comparisons of",
        f"the claim. `holds` means that the first is significantly above the second (p < {ALPHA}), `reversed` that it",
        "is significantly below; the rest is `noise`.",
    ]
    for number, claim in results["claims"].items():
        lines += ["", f"## {number}. {TITLES[number]}", "", f"![](../../docs/claims_{number}.svg)", ""]
        lines += ["| where | arm | nDCG@10 | Recall@100 |", "|---|---|---|---|"]
        for row in claim["rows"]:
            cells = [f"{row[m]:.4f}" + (f" ± {row[f'{m} sd']:.4f}" if row[f"{m} sd"] else "") for m in MEASURES]
            lines.append(f"| {row['where']} | {row['label']} | {' | '.join(cells)} |")
        lines += [
            "",
            "| where | expected above | expected below | measure | difference | p | verdict |",
            "|---" * 7 + "|",
        ]
        for one in claim["comparisons"]:
            p = "-" if one["p_corrected"] is None else f"{one['p_corrected']:.3f}"
            lines.append(
                f"| {one['where']} | {one['better']} | {one['worse']} | {one['measure']} "
                f"| {one['difference']:+.4f} | {p} | {one['verdict']} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
