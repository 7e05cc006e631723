"""Draw figures as SVG text for embedding in a page, with values that show on hover.

Each figure is drawn twice, for wide and for narrow pages, so that its text is never below 12 pixels; the style sheet
shows one of them. Colours are variables of the style sheet, for dark pages.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from gradret.progress import printable

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "INK",
    "IN_ORDER",
    "OTHERS",
    "SYSTEMS",
    "colour_of",
    "hover",
    "legend",
    "name_rows",
    "short",
    "space_ticks",
    "svg",
    "tip",
]


# Colours while drawing, and the variables of the style sheet that replace them.
INK, _AXIS, _GRID = "#475569", "#cbd5e1", "#e2e8f0"
SYSTEMS = {"bm25": "#94a3b8", "base": "#93c5fd", "tuned": "#2563eb", "hybrid": "#7c3aed", "teacher": "#f59e0b"}
OTHERS = ("#10b981", "#8b5cf6", "#ec4899", "#0d9488")
IN_ORDER = (SYSTEMS["base"], SYSTEMS["tuned"], *OTHERS)
_VARIABLES = {
    INK: "--soft",
    _AXIS: "--faint",
    _GRID: "--line",
    **{colour: f"--plot-{system}" for system, colour in SYSTEMS.items()},
    **{colour: f"--plot-{number}" for number, colour in enumerate(OTHERS, 1)},
}

_WIDTHS = {"big": 700.0, "small": 310.0}
"""Widths in the SVG's own units, which are pixels where the page is as wide; ``page.css`` sets the limits."""
_FONT = 12.5
_LABEL = 20
_TIP = "tip:"

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
    "font.size": _FONT,
    "axes.titlesize": _FONT,
    "axes.labelsize": _FONT,
    "xtick.labelsize": _FONT,
    "ytick.labelsize": _FONT,
    "legend.fontsize": _FONT,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.edgecolor": _AXIS,
    "xtick.color": _AXIS,
    "ytick.color": _AXIS,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
}


def svg(draw: Callable[..., None], name: str, height: float, about: str, *, narrow_height: float | None = None) -> str:
    """Draw for wide and narrow pages; ``about`` says what is seen, for those who do not see it."""
    heights = {"big": height, "small": narrow_height or height}
    label = escape(printable(about))
    both = [
        _drawn(draw, f"{name}-{size}", (width, heights[size]), narrow=size == "small").replace(
            "<svg ", f'<svg class="{size}" role="img" aria-label="{label}" ', 1
        )
        for size, width in _WIDTHS.items()
    ]
    return f'<div class="plot">{"".join(both)}</div>'


def _drawn(draw: Callable[..., None], name: str, size: tuple[float, float], *, narrow: bool) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # The salt makes ids in the SVG the same in every run and different between plots.
    with rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(size[0] / 72, size[1] / 72), layout="constrained")
        draw(figure, narrow=narrow)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True)
    svg = text.getvalue()
    svg = re.sub(rf'<g id="{_TIP}([^"]*)">', r'<g class="tip"><title>\1</title>', svg[svg.index("<svg") :])
    for pattern in _STRIPPED:
        svg = re.sub(pattern, "", svg, flags=re.DOTALL)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg


def colour_of(system: str, number: int) -> str:
    """The colour of a system; of one without a colour, by its number."""
    return SYSTEMS.get(system) or OTHERS[number % len(OTHERS)]


def short(label: str, length: int = _LABEL) -> str:
    """``label``, cut to ``length`` characters."""
    return label if len(label) <= length else label[: length - 1] + "…"


def tip(artist: Artist, text: str) -> None:
    """Show ``text`` when the pointer is over the artist: its id becomes a title in ``svg``."""
    artist.set_gid(f"{_TIP}{printable(text)}")


def hover(axes: Axes, x: float, y: float, text: str) -> None:
    """An invisible point that shows ``text``."""
    (point,) = axes.plot([x], [y], "o", color=INK, alpha=0.0, markersize=9)
    tip(point, text)


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the lines of a horizontal plot, from the top."""
    axes.set_yticks([-row for row in range(len(names))], [short(name) for name in names])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def space_ticks(axes: Axes, *, narrow: bool) -> None:
    """Keep the labels of a small plot apart."""
    if narrow and axes.get_xscale() == "linear":
        axes.locator_params(axis="x", nbins=4)


def legend(figure: Figure, axes: Axes, *, narrow: bool) -> None:
    """Add a legend above the axes."""
    handles, labels = axes.get_legend_handles_labels()
    shown = [short(label) for label in labels]
    figure.legend(handles, shown, loc="outside upper center", ncols=min(len(labels), 2 if narrow else 4))
