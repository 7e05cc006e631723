"""Recipes side by side: means, spread over seeds, significance over queries, cost, and one sentence.

A recipe's value of a query is the mean over its seeds. Every two recipes are compared by a two-sided paired
t-test over the queries, and the p-values of all pairs and measures together are corrected after Holm.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradret.components import name_of
from gradret.errors import ContractError
from gradret.report.tables import grid
from gradret.stats.significance import (
    ALPHA,
    Comparison,
    Mean,
    compare_pairs,
    headline_measure,
    mean,
    p_text,
    significance,
    tested,
    values_of,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.config.run import Config
    from gradret.stats.significance import Values

__all__ = ["Compared", "Side", "Trial", "as_data", "compared", "sentence", "terminal_text", "uneven"]

_EVEN = 1.05


@dataclass(frozen=True)
class Trial:
    """One training of a recipe, with one seed."""

    recipe: str
    seed: int
    metrics: pa.Table
    """METRICS of the trained model."""
    before: pa.Table
    """METRICS of the model that it started from."""
    lists: int
    """Training lists."""
    examples: int
    """Lists that it was trained on, once for every time."""
    seconds: float
    """Of the training alone."""


@dataclass(frozen=True)
class Side:
    """A recipe: each measure's mean over queries and seeds, and what it cost."""

    recipe: str
    means: dict[str, Mean]
    """With the 95% bootstrap interval over the queries."""
    spread: dict[str, float | None]
    """Standard deviation of the seeds' means; None with one seed."""
    before: dict[str, float]
    lists: int
    examples: float
    """Mean over seeds, as ``seconds`` is."""
    seconds: float


@dataclass(frozen=True)
class Compared:
    """All sides on the same queries, the best by the first measure of interest first."""

    measures: tuple[str, ...]
    queries: int
    seeds: tuple[int, ...]
    sides: tuple[Side, ...]
    bm25: dict[str, float]
    comparisons: tuple[Comparison, ...]
    """Every two recipes in every tested measure; ``a`` stands above ``b``."""

    @property
    def tested(self) -> list[str]:
        """The measures whose differences are tested."""
        return tested(self.measures)

    def comparison(self, one: str, other: str, measure: str) -> Comparison:
        """Of two recipes, the better placed one first."""
        return next(c for c in self.comparisons if (c.a, c.b, c.measure) == (one, other, measure))


def compared(trials: Sequence[Trial], bm25: pa.Table, measures: Sequence[str], seed: int) -> Compared:
    """The numbers of a comparison.

    Args:
        trials: every recipe with the same seeds.
        bm25: METRICS of BM25, for orientation.
        measures: which to show, in order.
        seed: of the bootstrap.

    Raises:
        ContractError: the trials were not evaluated on the same queries.
    """
    import numpy as np

    measures = tuple(dict.fromkeys(measures))
    first = headline_measure(measures)
    assert first is not None
    by_recipe = {name: list(own) for name, own in itertools.groupby(trials, key=lambda trial: trial.recipe)}
    query_ids, lexical = values_of("bm25", bm25, measures)
    of: dict[str, dict[str, list[Values]]] = {}
    for trial in trials:
        ids, own = values_of(trial.recipe, trial.metrics, measures)
        if ids != query_ids:
            raise ContractError(f"{trial.recipe} and bm25 were not evaluated on the same queries")
        for measure in measures:
            of.setdefault(trial.recipe, {}).setdefault(measure, []).append(own[measure])
    means = {recipe: {m: np.mean(own[m], axis=0) for m in measures} for recipe, own in of.items()}
    sides = [_side(own, means[recipe], of[recipe], seed) for recipe, own in by_recipe.items()]
    sides.sort(key=lambda side: (-side.means[first].value, side.recipe))
    pairs = [(a.recipe, b.recipe, m) for a, b in itertools.combinations(sides, 2) for m in tested(measures)]
    return Compared(
        measures=measures,
        queries=len(query_ids),
        seeds=tuple(dict.fromkeys(trial.seed for trial in trials)),
        sides=tuple(sides),
        bm25={measure: float(lexical[measure].mean()) for measure in measures},
        comparisons=compare_pairs(means, pairs),
    )


def _side(
    trials: Sequence[Trial], means: Mapping[str, Values], seeds: Mapping[str, Sequence[Values]], seed: int
) -> Side:
    _, before = values_of(trials[0].recipe, trials[0].before, list(means))
    spread = {measure: [float(one.mean()) for one in seeds[measure]] for measure in means}
    return Side(
        recipe=trials[0].recipe,
        means={measure: mean(values, seed) for measure, values in means.items()},
        spread={measure: statistics.stdev(own) if len(own) > 1 else None for measure, own in spread.items()},
        before={measure: float(values.mean()) for measure, values in before.items()},
        lists=round(statistics.mean(trial.lists for trial in trials)),
        examples=statistics.mean(trial.examples for trial in trials),
        seconds=statistics.mean(trial.seconds for trial in trials),
    )


def sentence(found: Compared) -> str:
    """Which recipe to take, and whether its lead is more than noise."""
    measure = headline_measure(found.measures)
    assert measure is not None
    best, *rest = found.sides
    value = f"{best.recipe} has the highest {measure}, {best.means[measure].value:.4f}"
    if not rest:
        return f"{value}."
    tied: list[Side] = []
    behind: list[Side] = []
    for side in rest:
        p = found.comparison(best.recipe, side.recipe, measure).p_corrected
        (behind if p is not None and p < ALPHA else tied).append(side)
    if not tied:
        return f"{value}, and its lead over every other is significant: take {best.recipe}."
    cheapest = min([best, *tied], key=lambda side: side.seconds)
    names = ", ".join(side.recipe for side in tied)
    text = f"{value}, but its lead over {names} is noise ({_ps(found, best, tied, measure)})"
    if behind:
        text += f"; {', '.join(side.recipe for side in behind)} {_are(behind)} significantly worse"
    return f"{text}. The cheapest of the leaders to train is {cheapest.recipe} ({cheapest.seconds:,.0f} s)."


def _are(sides: Sequence[Side]) -> str:
    return "is" if len(sides) == 1 else "are"


def _ps(found: Compared, best: Side, others: Sequence[Side], measure: str) -> str:
    ps = [found.comparison(best.recipe, side.recipe, measure).p_corrected for side in others]
    known = [p for p in ps if p is not None]
    return f"corrected {p_text(min(known))}{' or more' if len(known) > 1 else ''}" if known else p_text(None)


def uneven(found: Compared) -> str:
    """A warning where the recipes were not trained on as many examples; empty where they were."""
    examples = [side.examples for side in found.sides]
    if max(examples) <= _EVEN * min(examples):
        return ""
    return (
        f"The recipes were not trained equally long: from {min(examples):,.0f} to {max(examples):,.0f} lists. "
        "Early stopping, or other lists, may be why."
    )


def as_data(config: Config, found: Compared) -> dict[str, Any]:
    """What ``comparison.json`` holds."""
    return {
        "name": config.name,
        "dataset": name_of(config.dataset),
        "queries": found.queries,
        "seeds": list(found.seeds),
        "vary": config.compare.vary,
        "sentence": sentence(found),
        "warning": uneven(found),
        "bm25": found.bm25,
        "recipes": {
            side.recipe: {
                "overrides": list(config.compare.recipes[side.recipe]),
                "measures": {measure: mean.value for measure, mean in side.means.items()},
                "spread": side.spread,
                "before": side.before,
                "lists": side.lists,
                "examples": side.examples,
                "seconds": side.seconds,
            }
            for side in found.sides
        },
        "significance": significance(found.comparisons),
    }


def terminal_text(data: Mapping[str, Any]) -> str:
    """The table and the sentence that ``gradret compare`` ends with.

    Args:
        data: what ``comparison.json`` holds.
    """
    measures = list(data["bm25"])
    head = [f"{data['queries']:,} queries", *measures, "lists", "examples", "seconds"]
    rows = [["bm25", *(f"{data['bm25'][measure]:.4f}" for measure in measures), "", "", ""]]
    for name, side in data["recipes"].items():
        cells = [_cell(side["measures"][measure], side["spread"][measure]) for measure in measures]
        rows.append([name, *cells, f"{side['lists']:,}", f"{side['examples']:,.0f}", f"{side['seconds']:.0f}"])
    notes = [data["sentence"], data["warning"]]
    return "\n\n".join([grid([head, *rows]), *(note for note in notes if note)])


def _cell(mean: float, spread: float | None) -> str:
    return f"{mean:.4f}" if spread is None else f"{mean:.4f} ± {spread:.4f}"
