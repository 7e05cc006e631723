"""Format plain-text tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradret.stats.significance import order, p_text, tested

__all__ = ["grid", "terminal_table"]


def terminal_table(metrics: Mapping[str, Any]) -> str:
    """The final table of ``gradret run``.

    Args:
        metrics: the content of ``metrics.json``.
    """
    return "\n\n".join([_systems_table(metrics), *metrics["remarks"]])


def _systems_table(metrics: Mapping[str, Any]) -> str:
    systems = metrics["systems"]
    if not systems:
        return "no system was evaluated"
    measures = list(next(iter(systems.values())))
    rows = [[name, *(f"{systems[name][measure]:.4f}" for measure in measures)] for name in order(systems)]
    text = grid([[f"{metrics['queries']:,} queries", *measures], *rows])
    changes = {(item["b"], item["measure"]): item for item in metrics["significance"]}
    others = [name for name in ("base", "bm25") if any(name == other for other, _ in changes)]
    if not others:
        return text
    rows = [[measure, *(_change(changes[other, measure]) for other in others)] for measure in tested(measures)]
    return f"{text}\n\n{grid([['', *(f'tuned - {other}' for other in others)], *rows])}"


def _change(item: Mapping[str, Any]) -> str:
    return f"{item['difference']:+.4f} ({p_text(item['p_corrected'])})"


def grid(rows: list[list[str]]) -> str:
    """Align columns: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells]))
    return "\n".join(lines)
