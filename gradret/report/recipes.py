"""Compare recipes: means, spread over seeds, significance over queries, cost, and a one-sentence summary.

A recipe's value for a query is the mean over its seeds. All pairs of recipes are compared by a two-sided paired t-test
over the queries, with Holm's correction over all pairs and measures.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradret.components import name_of
from gradret.errors import ContractError
from gradret.report.remarks import few
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

__all__ = [
    "Recipe",
    "RecipeComparison",
    "Trial",
    "as_data",
    "compare_recipes",
    "sentence",
    "terminal_text",
    "warnings",
]

_MAX_BUDGET_RATIO = 1.05
"""Largest ratio of training examples between recipes without a warning."""


@dataclass(frozen=True)
class Trial:
    """One training of a recipe, with one seed."""

    recipe: str
    seed: int
    metrics: pa.Table
    """METRICS of the trained model."""
    before: pa.Table
    """METRICS of the model before training."""
    lists: int
    """Number of training lists."""
    examples: int
    """Number of lists seen in training, over all epochs."""
    seconds: float
    """Duration of the training alone."""


@dataclass(frozen=True)
class Recipe:
    """Results of a recipe: the mean of each measure over queries and seeds, and the cost."""

    name: str
    means: dict[str, Mean]
    """Means, with 95% bootstrap intervals over the queries."""
    spread: dict[str, float | None]
    """Standard deviation of the seeds' means; None with one seed."""
    before: dict[str, float]
    """Means of the model before training."""
    lists: int
    examples: float
    """Mean over seeds."""
    seconds: float
    """Mean over seeds."""


@dataclass(frozen=True)
class RecipeComparison:
    """All recipes on the same queries, sorted by the headline measure, best first."""

    measures: tuple[str, ...]
    queries: int
    seeds: tuple[int, ...]
    recipes: tuple[Recipe, ...]
    bm25: dict[str, float]
    comparisons: tuple[Comparison, ...]
    """All pairs of recipes for every tested measure; ``a`` ranks above ``b``."""

    @property
    def tested(self) -> list[str]:
        """The measures whose differences are tested."""
        return tested(self.measures)

    def comparison(self, a: str, b: str, measure: str) -> Comparison:
        """The comparison of two recipes, the one that ranks higher first."""
        return next(c for c in self.comparisons if (c.a, c.b, c.measure) == (a, b, measure))


def compare_recipes(trials: Sequence[Trial], bm25: pa.Table, measures: Sequence[str], seed: int) -> RecipeComparison:
    """Compare recipes.

    Args:
        trials: trials of all recipes, each with the same seeds.
        bm25: METRICS of BM25, for reference.
        measures: measures in display order.
        seed: seed of the bootstrap.

    Raises:
        ContractError: the trials were not evaluated on the same queries.
    """
    import numpy as np

    measures = tuple(dict.fromkeys(measures))
    first = headline_measure(measures)
    assert first is not None
    by_recipe = {name: list(group) for name, group in itertools.groupby(trials, key=lambda trial: trial.recipe)}
    query_ids, of_bm25 = values_of("bm25", bm25, measures)
    by_seed: dict[str, dict[str, list[Values]]] = {}
    for trial in trials:
        ids, values = values_of(trial.recipe, trial.metrics, measures)
        if ids != query_ids:
            raise ContractError(f"{trial.recipe} and bm25 were not evaluated on the same queries")
        for measure in measures:
            by_seed.setdefault(trial.recipe, {}).setdefault(measure, []).append(values[measure])
    means = {name: {m: np.mean(values[m], axis=0) for m in measures} for name, values in by_seed.items()}
    recipes = [_recipe(group, means[name], by_seed[name], seed) for name, group in by_recipe.items()]
    recipes.sort(key=lambda recipe: (-recipe.means[first].value, recipe.name))
    pairs = [(a.name, b.name, m) for a, b in itertools.combinations(recipes, 2) for m in tested(measures)]
    return RecipeComparison(
        measures=measures,
        queries=len(query_ids),
        seeds=tuple(dict.fromkeys(trial.seed for trial in trials)),
        recipes=tuple(recipes),
        bm25={measure: float(of_bm25[measure].mean()) for measure in measures},
        comparisons=compare_pairs(means, pairs),
    )


def _recipe(
    trials: Sequence[Trial], means: Mapping[str, Values], by_seed: Mapping[str, Sequence[Values]], seed: int
) -> Recipe:
    _, before = values_of(trials[0].recipe, trials[0].before, list(means))
    seed_means = {measure: [float(values.mean()) for values in by_seed[measure]] for measure in means}
    return Recipe(
        name=trials[0].recipe,
        means={measure: mean(values, seed) for measure, values in means.items()},
        spread={measure: statistics.stdev(each) if len(each) > 1 else None for measure, each in seed_means.items()},
        before={measure: float(values.mean()) for measure, values in before.items()},
        lists=round(statistics.mean(trial.lists for trial in trials)),
        examples=statistics.mean(trial.examples for trial in trials),
        seconds=statistics.mean(trial.seconds for trial in trials),
    )


def sentence(comparison: RecipeComparison) -> str:
    """Which recipe to choose, and whether its lead is significant."""
    measure = headline_measure(comparison.measures)
    assert measure is not None
    best, *rest = comparison.recipes
    value = f"{best.name} has the highest {measure}, {best.means[measure].value:.4f}"
    if not rest:
        return f"{value}."
    tied: list[Recipe] = []
    worse: list[Recipe] = []
    for recipe in rest:
        p = comparison.comparison(best.name, recipe.name, measure).p_corrected
        (worse if p is not None and p < ALPHA else tied).append(recipe)
    if not tied:
        return f"{value}, and its lead over every other recipe is significant: choose {best.name}."
    cheapest = min([best, *tied], key=lambda recipe: recipe.seconds)
    names = ", ".join(recipe.name for recipe in tied)
    text = f"{value}, but its lead over {names} is not significant ({_p_values(comparison, best, tied, measure)})"
    if worse:
        verb = "is" if len(worse) == 1 else "are"
        text += f"; {', '.join(recipe.name for recipe in worse)} {verb} significantly worse"
    return f"{text}. The cheapest of the leaders to train is {cheapest.name} ({cheapest.seconds:,.0f} s)."


def _p_values(comparison: RecipeComparison, best: Recipe, others: Sequence[Recipe], measure: str) -> str:
    ps = [comparison.comparison(best.name, recipe.name, measure).p_corrected for recipe in others]
    known = [p for p in ps if p is not None]
    return f"corrected {p_text(min(known))}{' or more' if len(known) > 1 else ''}" if known else p_text(None)


def warnings(comparison: RecipeComparison) -> list[str]:
    """Warnings if recipes were trained on different numbers of examples, or if there are few test queries."""
    examples = [recipe.examples for recipe in comparison.recipes]
    unequal = (
        "The recipes were not trained on the same number of examples: from "
        f"{min(examples):,.0f} to {max(examples):,.0f} lists. Early stopping or different lists may be the reason."
    )
    differ = max(examples) > _MAX_BUDGET_RATIO * min(examples)
    return [unequal] * differ + few({"": comparison.queries})


def as_data(config: Config, comparison: RecipeComparison) -> dict[str, Any]:
    """The content of ``comparison.json``."""
    return {
        "name": config.name,
        "dataset": name_of(config.dataset),
        "queries": comparison.queries,
        "seeds": list(comparison.seeds),
        "vary": config.compare.vary,
        "sentence": sentence(comparison),
        "warnings": warnings(comparison),
        "bm25": comparison.bm25,
        "recipes": {
            recipe.name: {
                "overrides": list(config.compare.recipes[recipe.name]),
                "measures": {measure: mean.value for measure, mean in recipe.means.items()},
                "spread": recipe.spread,
                "before": recipe.before,
                "lists": recipe.lists,
                "examples": recipe.examples,
                "seconds": recipe.seconds,
            }
            for recipe in comparison.recipes
        },
        "significance": significance(comparison.comparisons),
    }


def terminal_text(data: Mapping[str, Any]) -> str:
    """The final output of ``gradret compare``: the table and the summary.

    Args:
        data: the content of ``comparison.json``.
    """
    measures = list(data["bm25"])
    head = [f"{data['queries']:,} queries", *measures, "lists", "examples", "seconds"]
    rows = [["bm25", *(f"{data['bm25'][measure]:.4f}" for measure in measures), "", "", ""]]
    for name, recipe in data["recipes"].items():
        cells = [_cell(recipe["measures"][measure], recipe["spread"][measure]) for measure in measures]
        rows.append([name, *cells, f"{recipe['lists']:,}", f"{recipe['examples']:,.0f}", f"{recipe['seconds']:.0f}"])
    return "\n\n".join([grid([head, *rows]), data["sentence"], *data["warnings"]])


def _cell(mean: float, spread: float | None) -> str:
    return f"{mean:.4f}" if spread is None else f"{mean:.4f} ± {spread:.4f}"
