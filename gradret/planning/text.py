"""Format a plan for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["as_text"]


_UNKNOWN = "?"


def as_text(estimate: Mapping[str, Any]) -> str:
    """The result of ``plan`` as tables, followed by its assumptions."""
    priced = bool(estimate["totals"]["price"])
    used = any(stage["used_hours"] is not None for stage in estimate["stages"])
    lines = [f"{estimate['name']}: an estimate", "", *_table(_stage_rows(estimate, priced=priced, used=used), 1)]
    lines += ["", _sentence(estimate["totals"])]
    if estimate["prompts"]:
        lines += ["", *_table([_HEAD, *map(_cells, estimate["prompts"])], 2), ""]
        lines += [f"{prompts['stage']}: {_model(prompts)}" for prompts in estimate["prompts"]]
    return "\n".join([*lines, *(f"  {assumption}" for assumption in estimate["assumptions"])])


_HEAD = [
    "stage",
    "component",
    "prompts",
    "tokens in",
    "per prompt",
    "tokens out",
    "per prompt",
    "hours",
    "GPU-hours",
]


def _table(rows: list[list[str]], names: int) -> list[str]:
    """Rows with aligned columns; the first ``names`` columns are words."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column < names else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _stage_rows(estimate: Mapping[str, Any], *, priced: bool, used: bool) -> list[list[str]]:
    """The table of all stages, with a head and the sums."""
    head = ["stage", "rows", "CPU-hours", "GPU-hours", "GiB memory", "GB disk"]
    rows = [head + ["price"] * priced + ["hours used"] * used]
    for stage in estimate["stages"]:
        count = _UNKNOWN if stage["rows"] is None else f"{stage['rows']:,}"
        row = [stage["stage"], f"{count} {stage['unit']}", *_costs(stage)]
        row += [f"{stage['price']:,.2f}"] * priced
        row += ["-" if stage["used_hours"] is None else _hours(stage["used_hours"])] * used
        rows.append(row)
    totals = estimate["totals"]
    total = ["all", "", *_costs(totals)] + [f"{totals['price']:,.2f}"] * priced
    hours = sum(stage["used_hours"] or 0.0 for stage in estimate["stages"])
    return [*rows, total + [_hours(hours)] * used]


def _costs(of: Mapping[str, Any]) -> list[str]:
    hours = [_UNKNOWN if of[name] is None else _hours(of[name]) for name in ("cpu_hours", "gpu_hours")]
    return [*hours, f"{of['memory_gib']:,.1f}", f"{of['disk_gb']:,.2f}"]


def _sentence(totals: Mapping[str, Any]) -> str:
    return (
        f"at least {_hours(totals['hours_if_all_cores_are_busy'])} hours on the cluster's {totals['cores']:g} cores; "
        f"the storage has {totals['free_gb']:,.0f} GB free"
    )


def _cells(stage: Mapping[str, Any]) -> list[str]:
    most_prompts = "<= " if stage["prompts_at_most"] else ""
    most_out = "<= " if stage["prompts_at_most"] or stage["tokens_out"]["at_most"] else ""
    hours = [_hours(stage[name]) for name in ("hours", "gpu_hours")]
    return [
        stage["stage"],
        stage["asks"],
        f"{most_prompts}{stage['prompts']:,}",
        f"{most_prompts}{stage['tokens_in']['total']:,}",
        f"{stage['tokens_in']['mean']:,.0f}",
        f"{most_out}{stage['tokens_out']['total']:,}",
        f"{most_out if stage['tokens_out']['at_most'] else ''}{stage['tokens_out']['mean']:,.0f}",
        *hours,
    ]


def _hours(hours: float | None) -> str:
    if hours is None:
        return "-"
    if hours == 0:
        return "0"
    return f"{hours:,.2f}" if hours >= 0.005 else f"{hours:.1g}"


def _model(stage: Mapping[str, Any]) -> str:
    engines = "engine" if stage["engines"] == 1 else "engines"
    gpus = f", {stage['gpus_per_engine']} GPU per engine" if stage["gpus_per_engine"] else ""
    text = f"{stage['model']} on {stage['engines']} {stage['engine']} {engines}{gpus}"
    probed = stage["probe"]
    if not probed:
        return text
    unusable = ", ".join(f"{number} {reason}" for reason, number in probed["unusable"].items()) or "none unusable"
    return (
        f"{text}; probe of {probed['prompts']} prompts: {probed['tokens_in_per_second']:,.0f} tokens/s in, "
        f"{probed['tokens_out_per_second']:,.0f} out; {unusable}"
    )
