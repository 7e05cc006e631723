"""Draw plots as SVG text for embedding in a page: without files or fonts, and with ids that do not clash."""

from __future__ import annotations

import io
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gradret.report.comparison import Table
    from gradret.report.recipes import RecipeComparison
    from gradret.stats.significance import Mean, Results

__all__ = [
    "COLOURS",
    "datasets_plot",
    "grades_plot",
    "lengths_plot",
    "read_curve",
    "recipes_plot",
    "systems_plot",
    "training_plot",
]

COLOURS = {"bm25": "#94a3b8", "base": "#93c5fd", "tuned": "#2563eb", "teacher": "#f59e0b"}
_OTHERS = ("#10b981", "#8b5cf6", "#ec4899", "#14b8a6")
_IN_ORDER = (COLOURS["base"], COLOURS["tuned"], *_OTHERS)
_INK = "#475569"
_POINTS = 300
_COLUMNS = 4
_BARS = 24

# Removed, because they would fix the size, affect the page (global styles, repeated ids), or set another font.
_STRIPPED = (
    r"<metadata>.*?</metadata>",
    r"<style.*?</style>",
    r'(?<=<g) id="[^"]*"',
    r' (?:width|height)="[\d.]+pt"',
    r" font-family: [^;]*;",
)

_STYLE: dict[Any, Any] = {
    # Keep text as text, in the page's font.
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": "#cbd5e1",
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e2e8f0",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
}


def systems_plot(results: Results) -> str:
    """Grouped bars, one group per measure, with 95% intervals; empty if there is nothing to show."""
    measures = results.tested  # the share of judged documents would dwarf the rest
    if not measures or not results.systems:
        return ""

    def _draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        width = 0.8 / len(results.systems)
        for number, system in enumerate(results.systems):
            places = [group - 0.4 + width * (number + 0.5) for group in range(len(measures))]
            means = [results.means[system][measure] for measure in measures]
            colour = COLOURS.get(system) or _OTHERS[number % len(_OTHERS)]
            axes.bar(places, [mean.value for mean in means], width * 0.9, color=colour, label=system)
            _whiskers(axes, places, means)
        axes.set_xticks(range(len(measures)), measures)
        axes.tick_params(axis="x", length=0)
        axes.grid(visible=False, axis="x")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.14), ncols=len(results.systems))

    return _svg(_draw, "systems", (8.6, 3.6))


def datasets_plot(table: Table, measure: str) -> str:
    """One line per dataset with a dot per system and 95% intervals; empty for a single dataset."""
    if len(table.rows) < 2:
        return ""

    def _draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        step = 0.5 / len(table.systems)
        for number, system in enumerate(table.systems):
            places = [-row + 0.25 - step * (number + 0.5) for row in range(len(table.rows))]
            means = [row.means[system][measure] for row in table.rows]
            colour = COLOURS.get(system) or _IN_ORDER[number % len(_IN_ORDER)]
            below, above = _error_bars(means)
            values = [mean.value for mean in means]
            axes.errorbar(values, places, xerr=[below, above], fmt="o", color=colour, markersize=5, label=system)
        axes.set_yticks([-row for row in range(len(table.rows))], [row.name for row in table.rows])
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(measure)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(table.systems))

    return _svg(_draw, "datasets", (8.6, 1.2 + 0.42 * len(table.rows)))


def recipes_plot(comparison: RecipeComparison, measure: str) -> str:
    """One line per recipe, best first: mean, 95% interval over queries (thin), deviation over seeds (thick)."""

    def _draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        places = [-number for number in range(len(comparison.recipes))]
        means = [recipe.means[measure] for recipe in comparison.recipes]
        values = [mean.value for mean in means]
        below, above = _error_bars(means)
        axes.errorbar(values, places, xerr=[below, above], fmt="o", color="#2563eb", markersize=5, elinewidth=1.0)
        spread = [recipe.spread[measure] or 0.0 for recipe in comparison.recipes]
        axes.errorbar(values, places, xerr=spread, fmt="none", ecolor="#2563eb", elinewidth=4.0)
        axes.axvline(comparison.bm25[measure], color=COLOURS["bm25"], linestyle="--", linewidth=1.2, label="BM25")
        axes.set_yticks(places, [recipe.name for recipe in comparison.recipes])
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(measure)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))

    return _svg(_draw, "recipes", (8.6, 1.2 + 0.42 * len(comparison.recipes)))


def read_curve(path: Path) -> list[dict[str, Any]]:
    """Read a training's ``metrics.jsonl``, skipping a line that a killed run left incomplete."""
    rows = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                rows.append(row)
    return rows


def training_plot(rows: Sequence[Mapping[str, Any]]) -> str:
    """Training loss by step and dev loss after each epoch; empty if neither was recorded."""
    train = _smooth(_points(rows, "loss"))
    dev = _points(rows, "dev_loss")
    if not train and not dev:
        return ""

    def _draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        if train:
            axes.plot(*zip(*train, strict=True), color="#93c5fd", linewidth=1.4, label="training loss")
        if dev:
            axes.plot(
                *zip(*dev, strict=True), color="#2563eb", linewidth=1.6, marker="o", markersize=4.5, label="dev loss"
            )
        axes.set_xlabel("step")
        axes.set_ylabel("loss")
        axes.legend(loc="upper right")

    return _svg(_draw, "training", (8.6, 3.2))


def lengths_plot(lengths: Mapping[str, Mapping[int, int]], name: str) -> str:
    """Histograms of text lengths, one panel per kind or grade; empty if there are none.

    Args:
        lengths: for each kind or grade, the number of texts by their number of words.
        name: name of the plot, unique on the page.
    """
    total: Counter[int] = sum((Counter(counts) for counts in lengths.values()), Counter())
    if not total:
        return ""
    # Clip at the 99th percentile: longer texts go into the last bar.
    width = max(1, math.ceil((_percentile(total, 0.99) + 1) / _BARS))
    panels = {}
    for label, counts in lengths.items():
        bars = [0] * _BARS
        for words, number in counts.items():
            bars[min(words // width, _BARS - 1)] += number
        panels[label] = bars
    return _panels(panels, float(width), "words", name)


def grades_plot(bins: Mapping[str, Sequence[int]]) -> str:
    """Histograms of grades from 0 to 1, one panel per kind; empty if there are none."""
    return _panels(bins, 1 / len(next(iter(bins.values()))), "grade", "grades") if bins else ""


def _panels(panels: Mapping[str, Sequence[int]], width: float, unit: str, name: str) -> str:
    """Small histograms with shared axes: bars of ``width`` starting at 0, as shares of their panel."""
    from matplotlib.ticker import PercentFormatter

    rows = math.ceil(len(panels) / _COLUMNS)

    def _draw(figure: Figure) -> None:
        grid = figure.subplots(rows, _COLUMNS, sharex=True, sharey=True, squeeze=False).flatten()
        for axes, (label, bars) in zip(grid, panels.items(), strict=False):
            places = [width * number for number in range(len(bars))]
            shares = [bar / max(1, sum(bars)) for bar in bars]
            axes.bar(places, shares, width * 0.92, align="edge", color="#93c5fd")
            axes.set_title(f"{label} ({sum(bars):,})", fontsize=9.5)
            axes.set_xlabel(unit)
            axes.tick_params(labelbottom=True)
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        for axes in grid[len(panels) :]:
            axes.set_axis_off()

    return _svg(_draw, name, (8.6, 1.9 * rows))


def _percentile(counts: Mapping[int, int], share: float) -> int:
    """The smallest value that at least this share of the values does not exceed."""
    left = share * sum(counts.values())
    for value, number in sorted(counts.items()):
        left -= number
        if left <= 0:
            return value
    return max(counts)


def _whiskers(axes: Axes, places: Sequence[float], means: Sequence[Mean]) -> None:
    """Draw intervals; an unknown interval has no length."""
    below, above = _error_bars(means)
    values = [mean.value for mean in means]
    axes.errorbar(places, values, yerr=[below, above], fmt="none", ecolor="#334155", elinewidth=1.0, capsize=2.0)


def _error_bars(means: Sequence[Mean]) -> tuple[list[float], list[float]]:
    """Lengths of the intervals below and above their means."""
    below = [0.0 if mean.low is None else max(0.0, mean.value - mean.low) for mean in means]
    above = [0.0 if mean.high is None else max(0.0, mean.high - mean.value) for mean in means]
    return below, above


def _points(rows: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    """Step (or row number, if missing) and value of the rows that have a value."""
    return [
        (float(row.get("step", number)), float(row[key]))
        for number, row in enumerate(rows)
        if isinstance(row.get(key), (int, float)) and isinstance(row.get("step", number), (int, float))
    ]


def _smooth(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Average neighbouring points, so that the plot of a long training stays small."""
    size = -(-len(points) // _POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), size or 1)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


def _svg(draw: Callable[[Figure], None], name: str, size: tuple[float, float]) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # The salt makes ids in the SVG the same in every run and different between plots.
    with rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    for pattern in _STRIPPED:
        svg = re.sub(pattern, "", svg, flags=re.DOTALL)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1)
