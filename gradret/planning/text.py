"""Format a plan for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["as_text"]


def as_text(estimate: Mapping[str, Any]) -> str:
    """The result of ``plan`` as a table, followed by its assumptions."""
    stages = estimate["stages"]
    if not stages:
        return f"{estimate['name']}: no stage of this config uses a language model"
    head = [
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
    rows = [head, *(_cells(stage) for stage in stages)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [f"{estimate['name']}: an estimate", ""]
    for row in rows:
        left = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        lines.append("  ".join([*left, *right]))
    lines += ["", *(f"{stage['stage']}: {_model(stage)}" for stage in stages)]
    lines += [f"  {assumption}" for assumption in estimate["assumptions"]]
    return "\n".join(lines)


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
