"""The page of ``gradret compare``."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from gradret.report.plots import recipes_plot
from gradret.report.recipes import Compared, sentence, uneven
from gradret.stats.significance import ALPHA, headline_measure, p_text

if TYPE_CHECKING:
    from gradret.config.run import Config

__all__ = ["page"]


def page(config: Config, found: Compared) -> str:
    """The comparison as one HTML page, with nothing fetched from anywhere."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"p_text": p_text}
    source = resources.files("gradret.report").joinpath("recipes.html.jinja").read_text(encoding="utf-8")
    measure = headline_measure(found.measures)
    return environment.from_string(source).render(
        name=config.name,
        vary=config.compare.vary,
        found=found,
        sentence=sentence(found),
        warning=uneven(found),
        measure=measure,
        alpha=ALPHA,
        overrides=config.compare.recipes,
        plot=recipes_plot(found, measure) if measure else "",
        style=resources.files("gradret.report").joinpath("page.css").read_text(encoding="utf-8"),
    )
