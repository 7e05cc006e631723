"""Means, standard deviations, comparisons and plots of ``benchmarks.claims``."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.students import MEASURES, Values
from gradret.stats.significance import ALPHA, compare_pairs


class Tables:
    """Means, standard deviations and comparisons of a claim."""

    def __init__(self, found: Mapping[Any, Any]) -> None:
        self.found = found
        self.values: dict[str, dict[str, np.ndarray]] = {}
        self.rows: list[dict[str, Any]] = []
        self.pairs: list[tuple[str, str, str]] = []

    def add(self, where: str, label: str, cells: Sequence[Any], searched_in: str = "", **more: Any) -> None:
        """Add an arm's values to the group ``where``: for each query, the mean over seeds."""
        name = f"{where}: {label}"
        row = {"where": where, "label": label, **more}
        for measure in MEASURES:
            by_seed: dict[int, dict[str, float]] = {}
            for cell in cells:
                by_seed.setdefault(cell.seed, {}).update(self.found[cell]["values"][searched_in or cell.place][measure])
            ids = sorted(by_seed[cells[0].seed])
            matrix = np.array([[own[query_id] for query_id in ids] for own in by_seed.values()])
            means = matrix.mean(axis=1)
            self.values.setdefault(name, {})[measure] = matrix.mean(axis=0)
            row[measure], row[f"{measure} sd"] = float(means.mean()), float(means.std(ddof=1))
        self.rows.append(row)

    def fixed(self, where: str, label: str, values: Values, **more: Any) -> None:
        """Add an arm that was measured without training."""
        row = {"where": where, "label": label, **more}
        for measure, own in values.items():
            array = np.array([own[query_id] for query_id in sorted(own)])
            self.values.setdefault(f"{where}: {label}", {})[measure] = array
            row[measure], row[f"{measure} sd"] = float(array.mean()), 0.0
        self.rows.append(row)

    def compare(self, where: str, better: str, worse: str) -> None:
        """Test ``better`` against ``worse``, which the claim expects to be lower."""
        self.pairs += [(f"{where}: {better}", f"{where}: {worse}", measure) for measure in MEASURES]

    def compare_losses_of(self, where: str, one: tuple[str, str], other: tuple[str, str]) -> None:
        """Test whether ``one`` drops less than ``other`` does, from its second to its first arm."""
        names = []
        for bad, good in (one, other):
            name = f"{where}: {bad} less {good}"
            self.values[name] = {
                measure: self.values[f"{where}: {bad}"][measure] - self.values[f"{where}: {good}"][measure]
                for measure in MEASURES
            }
            names.append(name)
        self.pairs += [(*names, measure) for measure in MEASURES]

    def data(self) -> dict[str, Any]:
        """Return the rows, and comparisons corrected by Holm's method as one family."""
        made = compare_pairs(self.values, self.pairs)
        comparisons = [
            {
                "where": one.a.partition(": ")[0],
                "better": one.a.partition(": ")[2],
                "worse": one.b.partition(": ")[2],
                "measure": one.measure,
                "difference": one.difference,
                "p": one.p,
                "p_corrected": one.p_corrected,
                "verdict": verdict(one.difference, one.p_corrected),
            }
            for one in made
        ]
        return {"rows": self.rows, "comparisons": comparisons}


def verdict(difference: float, p: float | None) -> str:
    """Whether the expected direction holds."""
    if p is None or p >= ALPHA:
        return "noise"
    return "holds" if difference > 0 else "reversed"


def plot(title: str, rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Plot one panel per collection: lines over epochs or noise, or bars; the dotted line is before training."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    places = list(dict.fromkeys(row["where"] for row in rows))
    columns = min(4, len(places))
    lines = -(-len(places) // columns)
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "claims", "font.size": 8}):
        figure, axes = plt.subplots(lines, columns, figsize=(3 * columns, 2.5 * lines), squeeze=False)
        for axis, where in itertools.zip_longest(axes.flat, places):
            own = [row for row in rows if row["where"] == where]
            if not own:
                axis.set_axis_off()
            else:
                panel(axis, where, own)
        axes[0][0].set_ylabel("nDCG@10")
        figure.suptitle(title)
        figure.tight_layout()
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def panel(axis: Any, where: str, rows: Sequence[dict[str, Any]]) -> None:
    """Plot the panel of one collection."""
    untrained = [row["nDCG@10"] for row in rows if row["label"] == "untrained"]
    arms = [row for row in rows if row["label"] != "untrained"]
    for value in untrained:
        axis.axhline(value, color="#94a3b8", linestyle=":", linewidth=1)
    if "line" in arms[0]:
        for line in dict.fromkeys(row["line"] for row in arms):
            own = [row for row in arms if row["line"] == line]
            errors = [row["nDCG@10 sd"] for row in own]
            axis.errorbar([row["x"] for row in own], [row["nDCG@10"] for row in own], errors, label=line, capsize=2)
        axis.set_xticks(sorted({row["x"] for row in arms}))
        axis.legend(frameon=False, fontsize=7)
    else:
        values, errors = [row["nDCG@10"] for row in arms], [row["nDCG@10 sd"] for row in arms]
        axis.bar(range(len(arms)), values, yerr=errors, color="#93c5fd", capsize=2)
        axis.set_xticks(range(len(arms)), [row["label"] for row in arms], rotation=30, ha="right")
        every = [*values, *untrained]
        axis.set_ylim(max(0, min(every) - 0.05), max(every) + 0.02)
    axis.set_title(where)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
