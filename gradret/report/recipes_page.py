"""Render the HTML report of ``gradret compare``."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from gradret.report.plots import recipes_plot
from gradret.report.recipes import RecipeComparison, budget_warning, sentence
from gradret.stats.significance import ALPHA, headline_measure, p_text

if TYPE_CHECKING:
    from gradret.config.run import Config

__all__ = ["page"]


def page(config: Config, comparison: RecipeComparison) -> str:
    """Render the comparison as one self-contained HTML page."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"p_text": p_text}
    source = resources.files("gradret.report").joinpath("recipes.html.jinja").read_text(encoding="utf-8")
    measure = headline_measure(comparison.measures)
    return environment.from_string(source).render(
        name=config.name,
        vary=config.compare.vary,
        comparison=comparison,
        sentence=sentence(comparison),
        warning=budget_warning(comparison),
        measure=measure,
        alpha=ALPHA,
        overrides=config.compare.recipes,
        plot=recipes_plot(comparison, measure) if measure else "",
        style=resources.files("gradret.report").joinpath("page.css").read_text(encoding="utf-8"),
    )
