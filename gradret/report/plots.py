"""Draw the plots of the pages: systems, datasets, recipes, trials, training curves, lengths and grades."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gradret.report.svg import (
    IN_ORDER,
    INK,
    OTHERS,
    SYSTEMS,
    colour_of,
    hover,
    legend,
    name_rows,
    short,
    space_ticks,
    svg,
    tip,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gradret.report.comparison import Table
    from gradret.report.recipes import RecipeComparison
    from gradret.stats.significance import Mean, Results

__all__ = [
    "datasets_plot",
    "grades_plot",
    "lengths_plot",
    "recipes_plot",
    "systems_plot",
    "training_plot",
    "trials_plot",
]

_POINTS = 300
_HOVERED = 60
_BARS = 24


def systems_plot(results: Results) -> str:
    """Grouped bars, one group per measure, with 95% intervals; empty if there is nothing to show."""
    measures = results.tested  # the share of judged documents would dwarf the rest
    if not measures or not results.systems:
        return ""
    step = 0.8 / len(results.systems)

    def _draw(figure: Figure, *, narrow: bool) -> None:
        axes = figure.add_subplot()
        for number, system in enumerate(results.systems):
            places = [-group + 0.4 - step * (number + 0.5) for group in range(len(measures))]
            means = [results.means[system][measure] for measure in measures]
            bars = axes.barh(places, [mean.value for mean in means], step * 0.9, color=colour_of(system, number))
            bars.set_label(system)
            for bar, measure, mean in zip(bars, measures, means, strict=True):
                tip(bar, f"{system}, {measure}: {_mean_text(mean)}")
            _whiskers(axes, places, means)
        name_rows(axes, measures)
        space_ticks(axes, narrow=narrow)
        legend(figure, axes, narrow=narrow)

    said = "; ".join(
        f"{measure}: " + ", ".join(f"{system} {results.means[system][measure].value:.3f}" for system in results.systems)
        for measure in measures
    )
    height = 60 + 17 * len(measures) * (len(results.systems) + 0.6)
    return svg(_draw, "systems", height, f"Bars of each system's means with 95% intervals. {said}.")


def datasets_plot(table: Table, measure: str) -> str:
    """One line per dataset with a dot per system and 95% intervals; empty for a single dataset."""
    if len(table.rows) < 2:
        return ""

    def _draw(figure: Figure, *, narrow: bool) -> None:
        axes = figure.add_subplot()
        step = 0.5 / len(table.systems)
        for number, system in enumerate(table.systems):
            places = [-row + 0.25 - step * (number + 0.5) for row in range(len(table.rows))]
            means = [row.means[system][measure] for row in table.rows]
            colour = SYSTEMS.get(system) or IN_ORDER[number % len(IN_ORDER)]
            tips = [f"{row.name}, {system}: {_mean_text(mean)}" for row, mean in zip(table.rows, means, strict=True)]
            _dots(axes, places, means, tips, colour=colour, label=system)
        name_rows(axes, [row.name for row in table.rows])
        axes.set_xlabel(measure)
        space_ticks(axes, narrow=narrow)
        legend(figure, axes, narrow=narrow)

    said = ", ".join(f"{system} {table.averages[system][measure]:.3f}" for system in table.systems)
    about = f"Dots of {measure} with 95% intervals, one line per dataset. Means over the datasets: {said}."
    return svg(_draw, "datasets", 110 + 14 * len(table.rows) * (len(table.systems) + 1), about)


def recipes_plot(comparison: RecipeComparison, measure: str) -> str:
    """One line per recipe, best first: mean, 95% interval over queries (thin), deviation over seeds (thick)."""

    def _draw(figure: Figure, *, narrow: bool) -> None:
        axes = figure.add_subplot()
        places = [-float(number) for number in range(len(comparison.recipes))]
        means = [recipe.means[measure] for recipe in comparison.recipes]
        spread = [recipe.spread[measure] or 0.0 for recipe in comparison.recipes]
        values = [mean.value for mean in means]
        axes.errorbar(values, places, xerr=spread, fmt="none", ecolor=SYSTEMS["tuned"], elinewidth=5.0)
        tips = [f"{recipe.name}: {_mean_text(recipe.means[measure])}" for recipe in comparison.recipes]
        _dots(axes, places, means, tips, colour=SYSTEMS["tuned"])
        line = axes.axvline(
            comparison.bm25[measure], color=SYSTEMS["bm25"], linestyle="--", linewidth=1.4, label="BM25"
        )
        tip(line, f"BM25: {comparison.bm25[measure]:.4f}")
        name_rows(axes, [recipe.name for recipe in comparison.recipes])
        axes.set_xlabel(measure)
        space_ticks(axes, narrow=narrow)
        legend(figure, axes, narrow=narrow)

    said = ", ".join(f"{recipe.name} {recipe.means[measure].value:.3f}" for recipe in comparison.recipes)
    about = f"Dots of {measure}, best first: {said}; BM25 {comparison.bm25[measure]:.3f} as a dashed line."
    return svg(_draw, "recipes", 110 + 30 * len(comparison.recipes), about)


def trials_plot(values: Mapping[str, Sequence[tuple[float, float]]], objective: str) -> str:
    """The objective of each trial over each number that was searched, one panel per key; empty if there is none."""

    def _panel(axes: Axes, key: str) -> None:
        for x, y in values[key]:
            (dot,) = axes.plot([x], [y], "o", color=SYSTEMS["tuned"], markersize=6)
            tip(dot, f"{key} {x:g}: {y:.4f}")
        numbers = [x for x, _ in values[key]]
        if min(numbers) > 0 and max(numbers) / min(numbers) > 20:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")  # by default mathematical text, which is off
            axes.xaxis.set_minor_formatter("")
        axes.set_xlabel(short(key, 30))

    about = f"Dots of {objective} of each trial, one panel for each of: {', '.join(values)}."
    return _panels(list(values), _panel, "trials", about, shared=False) if values else ""


def training_plot(rows: Sequence[Mapping[str, Any]], best: int | None = None) -> str:
    """Training loss by step with dev loss after each epoch, beside dev nDCG@10; empty if nothing was recorded.

    Args:
        rows: the lines of ``metrics.jsonl``.
        best: the epoch whose weights were kept, if known.
    """
    train, dev, ndcg = _smooth(_points(rows, "loss")), _points(rows, "dev_loss"), _points(rows, "dev_ndcg")
    if not train and not dev:
        return ""

    def _loss(axes: Axes) -> None:
        if train:
            axes.plot(*zip(*train, strict=True), color=SYSTEMS["base"], linewidth=1.6, label="training loss")
            for x, y in train[:: -(-len(train) // _HOVERED)]:
                hover(axes, x, y, f"step {x:,.0f}, training loss {y:.4f}")
        if dev:
            _line(axes, dev, "dev loss")
        axes.set_ylabel("loss")
        axes.legend(loc="upper right")

    def _ndcg(axes: Axes) -> None:
        _line(axes, ndcg, "dev nDCG@10")
        kept = [(x, y) for (x, y), row in zip(ndcg, _with(rows, "dev_ndcg"), strict=True) if row.get("epoch") == best]
        if kept:
            axes.plot(*kept[0], "o", color=OTHERS[0], markersize=8, label="kept", zorder=3)
            axes.legend(loc="lower right")
        axes.set_ylabel("dev nDCG@10")

    panels = [_loss, _ndcg] if ndcg else [_loss]

    def _draw(figure: Figure, *, narrow: bool) -> None:
        shape = (len(panels), 1) if narrow else (1, len(panels))
        for draw, axes in zip(panels, figure.subplots(*shape, squeeze=False).flatten(), strict=True):
            draw(axes)
            axes.set_xlabel("step")
            space_ticks(axes, narrow=True)

    return svg(_draw, "training", 250, _training_text(train, dev, ndcg), narrow_height=230 * len(panels))


def _training_text(*curves: list[tuple[float, float]]) -> str:
    names = ("Training loss", "dev loss", "dev nDCG@10")
    said = [
        f"{name} from {points[0][1]:.3f} to {points[-1][1]:.3f}"
        for name, points in zip(names, curves, strict=True)
        if points
    ]
    steps = max(points[-1][0] for points in curves if points)
    return f"Curves over {steps:,.0f} steps: {', '.join(said)}."


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
    return _histograms(panels, float(width), "words", name)


def grades_plot(bins: Mapping[str, Sequence[int]]) -> str:
    """Histograms of grades from 0 to 1, one panel per kind; empty if there are none."""
    return _histograms(bins, 1 / len(next(iter(bins.values()))), "grade", "grades") if bins else ""


def _histograms(panels: Mapping[str, Sequence[int]], width: float, unit: str, name: str) -> str:
    """Small histograms with shared axes: bars of ``width`` starting at 0, as shares of their panel."""
    from matplotlib.ticker import PercentFormatter

    def _panel(axes: Axes, label: str) -> None:
        bars = panels[label]
        total = max(1, sum(bars))
        places = [width * number for number in range(len(bars))]
        drawn = axes.bar(places, [bar / total for bar in bars], width * 0.92, align="edge", color=SYSTEMS["base"])
        for bar, place, number in zip(drawn, places, bars, strict=True):
            tip(bar, f"{label}, {unit} from {place:g} to {place + width:g}: {number:,} ({number / total:.1%})")
        axes.set_title(f"{short(label)} ({sum(bars):,})")
        axes.set_xlabel(unit)
        axes.tick_params(labelbottom=True)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))

    said = ", ".join(f"{label} ({sum(bars):,}, most {_peak(bars, width)})" for label, bars in panels.items())
    return _panels(list(panels), _panel, name, f"Histograms of {unit}: {said}.", shared=True)


def _peak(bars: Sequence[int], width: float) -> str:
    highest = max(range(len(bars)), key=lambda number: bars[number])
    return f"from {width * highest:g} to {width * (highest + 1):g}"


def _panels(labels: Sequence[str], panel: Callable[[Axes, str], None], name: str, about: str, *, shared: bool) -> str:
    """One panel per label: four in a row on a wide page, two on a narrow one; three and one if axes are not shared."""
    in_row = {False: 4 if shared else 3, True: 2 if shared else 1}
    rows = {narrow: math.ceil(len(labels) / number) for narrow, number in in_row.items()}

    def _draw(figure: Figure, *, narrow: bool) -> None:
        grid = figure.subplots(rows[narrow], in_row[narrow], sharex=shared, sharey=True, squeeze=False).flatten()
        for axes, label in zip(grid, labels, strict=False):
            panel(axes, label)
            space_ticks(axes, narrow=True)
        for axes in grid[len(labels) :]:
            axes.set_axis_off()

    return svg(_draw, name, 160 * rows[False], about, narrow_height=160 * rows[True])


def _percentile(counts: Mapping[int, int], share: float) -> int:
    """The smallest value that at least this share of the values does not exceed."""
    left = share * sum(counts.values())
    for value, number in sorted(counts.items()):
        left -= number
        if left <= 0:
            return value
    return max(counts)


def _mean_text(mean: Mean) -> str:
    return f"{mean.value:.4f}" + ("" if mean.low is None else f" ({mean.low:.3f} to {mean.high:.3f})")


def _line(axes: Axes, points: Sequence[tuple[float, float]], label: str) -> None:
    axes.plot(*zip(*points, strict=True), color=SYSTEMS["tuned"], linewidth=1.8, marker="o", markersize=5, label=label)
    for x, y in points:
        hover(axes, x, y, f"step {x:,.0f}, {label} {y:.4f}")


def _dots(
    axes: Axes, places: Sequence[float], means: Sequence[Mean], tips: Sequence[str], *, colour: str, label: str = ""
) -> None:
    """Dots with 95% intervals."""
    below, above = _error_bars(means)
    values = [mean.value for mean in means]
    axes.errorbar(
        values, places, xerr=[below, above], fmt="o", color=colour, markersize=6, elinewidth=1.2, label=label or None
    )
    for value, place, text in zip(values, places, tips, strict=True):
        hover(axes, value, place, text)


def _whiskers(axes: Axes, places: Sequence[float], means: Sequence[Mean]) -> None:
    """Draw intervals; an unknown interval has no length."""
    below, above = _error_bars(means)
    axes.errorbar([mean.value for mean in means], places, xerr=[below, above], fmt="none", ecolor=INK, elinewidth=1.0)


def _error_bars(means: Sequence[Mean]) -> tuple[list[float], list[float]]:
    """Lengths of the intervals below and above their means."""
    below = [0.0 if mean.low is None else max(0.0, mean.value - mean.low) for mean in means]
    above = [0.0 if mean.high is None else max(0.0, mean.high - mean.value) for mean in means]
    return below, above


def _with(rows: Sequence[Mapping[str, Any]], key: str) -> list[Mapping[str, Any]]:
    """The rows that have a number at ``key``, and a step that is one or none."""
    return [
        row for row in rows if isinstance(row.get(key), (int, float)) and isinstance(row.get("step", 0), (int, float))
    ]


def _points(rows: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    """Step (or row number, if missing) and value of the rows that have a value."""
    return [(float(row.get("step", number)), float(row[key])) for number, row in enumerate(_with(rows, key))]


def _smooth(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Average neighbouring points, so that the plot of a long training stays small."""
    size = -(-len(points) // _POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), size or 1)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]
