"""Render the HTML report of ``gradret tune``."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gradret.config.loading import to_yaml
from gradret.report.machine import machine
from gradret.report.plots import trials_plot
from gradret.report.render import render

if TYPE_CHECKING:
    from gradret.config.run import Config

__all__ = ["page"]

Trial = Mapping[str, Any]


def page(config: Config, search: Mapping[str, Any]) -> str:
    """Render a search as one self-contained HTML page.

    Args:
        config: the config with the search space.
        search: the content of ``search.json``.
    """
    trials = sorted(search["trials"], key=lambda trial: -trial["objective"])
    return render(
        "trials.html.jinja",
        name=config.name,
        what="search",
        headline=_headline(search["objective"], search["best"], trials),
        objective=search["objective"],
        best=search["best"],
        keys=[dimension.key for dimension in config.tune.space],
        trials=[{**trial, "values": _values(trial), "mean": _mean(trial)} for trial in trials],
        seeds=config.tune.seeds,
        plot=trials_plot(_numbers(trials), search["objective"]),
        machine=machine(),
        yaml=to_yaml(config),
    )


def _headline(objective: str, best: Trial, trials: Sequence[Trial]) -> str:
    """What the best trial reaches, and how far other trials are from it."""
    text = f"The best of {len(trials)} trials reaches {objective} of {best['objective']:.4f}"
    confirmed = best["confirmed"]
    if len(confirmed) > 1:
        text += f", and {_mean(best):.4f} on average with {len(confirmed)} seeds"
        text += f" ({min(confirmed):.4f} to {max(confirmed):.4f})"
    median = statistics.median(trial["objective"] for trial in trials)
    return f"{text}; the median of all trials is {median:.4f}."


def _values(trial: Trial) -> dict[str, str]:
    """The value of each searched key."""
    return dict(setting.split("=", 1) for setting in trial["overrides"])


def _mean(trial: Trial) -> float | None:
    return statistics.mean(trial["confirmed"]) if trial.get("confirmed") else None


def _numbers(trials: Sequence[Trial]) -> dict[str, list[tuple[float, float]]]:
    """Value and objective of the trials, for each key whose values are numbers."""
    points: dict[str, list[tuple[float, float]]] = {}
    for trial in trials:
        for key, value in _values(trial).items():
            try:
                points.setdefault(key, []).append((float(value), trial["objective"]))
            except ValueError:
                continue
    return {key: numbers for key, numbers in points.items() if len(numbers) == len(trials)}
