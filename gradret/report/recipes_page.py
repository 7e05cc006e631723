"""Render the HTML report of ``gradret compare``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradret.config.loading import to_yaml
from gradret.report.machine import machine
from gradret.report.plots import recipes_plot
from gradret.report.recipes import RecipeComparison, sentence, warnings
from gradret.report.render import render
from gradret.stats.significance import ALPHA, headline_measure

if TYPE_CHECKING:
    from gradret.config.run import Config

__all__ = ["page"]


def page(config: Config, comparison: RecipeComparison) -> str:
    """Render the comparison as one self-contained HTML page."""
    measure = headline_measure(comparison.measures)
    return render(
        "recipes.html.jinja",
        name=config.name,
        what="comparison",
        vary=config.compare.vary,
        comparison=comparison,
        sentence=sentence(comparison),
        warnings=warnings(comparison),
        alpha=ALPHA,
        overrides=config.compare.recipes,
        plot=recipes_plot(comparison, measure) if measure else "",
        seconds=sum(recipe.seconds * len(comparison.seeds) for recipe in comparison.recipes),
        machine=machine(),
        yaml=to_yaml(config),
    )
