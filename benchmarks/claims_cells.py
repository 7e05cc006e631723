"""The trainings that each claim of ``benchmarks.claims`` needs."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.claims_lists import A_KIND, COLLECTIONS, KINDS, LISTS

LLMS = ("flant5large", "llama8b", "llama70b")


SEEDS = (0, 1, 2)


EPOCHS, LENGTHS = 3, (1, 3, 9)


FOLDS, FOLD_EPOCHS = 5, {"cranfield, people": 10} | {f"trecdl19, {llm}": 20 for llm in LLMS}


NOISE = (0.0, 0.2, 0.4)


# component, fields and learning rate of each recipe; more than one loss is a sum.
RECIPES: dict[str, tuple[list[tuple[str, dict[str, Any]]], float]] = {
    "contrastive": ([("positive_aware_infonce", {"temperature": 0.02})], 1e-3),
    "listwise": ([("kl", {"student_temperature": 0.1})], 1e-3),
    "combined": (
        [("kl", {"student_temperature": 0.1}), ("positive_aware_infonce", {"temperature": 0.02, "weight": 0.1})],
        1e-3,
    ),
    "wasserstein": ([("wasserstein", {"temperature": 0.2})], 1e-3),
    "kl": ([("kl", {"student_temperature": 0.1})], 1e-3),
    "infonce": ([("infonce", {"temperature": 0.05, "hard_negatives": True})], 2e-3),
    "bixse": ([("bixse", {"scale": 20.0})], 2e-3),
    "lse_pair": ([("lse_pair", {"temperature": 0.05})], 1e-3),
    "joint_lh": ([("joint_lh", {"temperature": 0.05})], 1e-3),
    "sum_marg_lh": ([("sum_marg_lh", {"temperature": 0.05})], 2e-3),
    "rand1_lh": ([("rand1_lh", {"temperature": 0.05})], 1e-3),
}


MULTIPLE = ("lse_pair", "joint_lh", "sum_marg_lh", "rand1_lh")


@dataclass(frozen=True)
class Cell:
    """One training."""

    place: str
    lists: str
    recipe: str
    epochs: int = EPOCHS
    seed: int = 0
    noise: float = 0.0
    noisy: str = ""
    """``grades`` or ``positives``."""
    fold: int = -1

    @property
    def key(self) -> str:
        text = json.dumps([asdict(self), RECIPES[self.recipe], LISTS, A_KIND])
        return f"{self.place} {self.lists} {self.recipe} {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def over_folds(name: str, recipe: str, seed: int, noisy: str = "", noise: float = 0.0) -> list[Cell]:
    """Yield one training per fold."""
    return [Cell(name, "judged", recipe, FOLD_EPOCHS[name], seed, noise, noisy, fold) for fold in range(FOLDS)]


def cells_1() -> Iterator[Cell]:
    for name, recipe, epochs, seed in itertools.product(COLLECTIONS, list(RECIPES)[:3], LENGTHS, SEEDS):
        yield Cell(name, "scaled", recipe, epochs, seed)


def cells_2() -> Iterator[Cell]:
    for name, seed in itertools.product(COLLECTIONS, SEEDS):
        yield from (Cell(name, lists, "combined", EPOCHS, seed) for lists in (*KINDS[name], "all kinds"))
    for lists, seed in itertools.product(("people's", "extractive", "both"), SEEDS):
        yield Cell("human", lists, "combined", EPOCHS, seed)


def cells_3() -> Iterator[Cell]:
    for recipe, seed in itertools.product(("wasserstein", "kl", "infonce"), SEEDS):
        yield from (Cell(name, "levels", recipe, EPOCHS, seed) for name in COLLECTIONS)
        for name in FOLD_EPOCHS:
            yield from over_folds(name, recipe, seed)


def cells_4() -> Iterator[Cell]:
    for recipe, seed, noise in itertools.product(("bixse", "infonce"), SEEDS, NOISE):
        yield from (Cell(name, "levels", recipe, EPOCHS, seed, noise, "grades") for name in COLLECTIONS)
        yield from over_folds("cranfield, people", recipe, seed, "grades", noise)
    for recipe, seed, llm in itertools.product(("bixse", "infonce"), SEEDS, LLMS):
        yield from over_folds(f"trecdl19, {llm}", recipe, seed)


def cells_5() -> Iterator[Cell]:
    for recipe, seed, noise in itertools.product(MULTIPLE, SEEDS, NOISE):
        yield from (Cell(name, "levels", recipe, EPOCHS, seed, noise, "positives") for name in COLLECTIONS)
        yield from over_folds("cranfield, people", recipe, seed, "positives", noise)
    for recipe, seed, llm in itertools.product(MULTIPLE, SEEDS, LLMS):
        yield from over_folds(f"trecdl19, {llm}", recipe, seed)


CELLS: dict[str, Callable[[], Iterator[Cell]]] = {
    "1": cells_1, "2": cells_2, "3": cells_3, "4": cells_4, "5": cells_5
}  # fmt: skip
