"""Write the result file of ``benchmarks.index_scale``."""

from __future__ import annotations

import statistics
from typing import Any


def markdown(found: dict[str, Any]) -> str:
    """Format the result file."""
    recalls = ["recall@10", f"recall@{found['k']}", f"alone: recall@{found['k']}"]
    holders = ["builder: holds", "actor: holds", "actor: with mapped", "driver: holds", "alone: holds"]
    lines = [
        f"# An index of {found['sizes'][-1]['vectors']:,} vectors of {found['dimension']}, {found['shards']} shards",
        "",
        f"{found['hardware']}. Command: `python -m benchmarks.index_scale`.",
        f"{found['queries']:,} queries, the first {found['k']} documents. Seconds are medians (lowest to highest).",
        "gradret's times go through Ray actors and include exact scores, ids and writing the run. `alone` is FAISS in",
        "one process with the same index, parameters and number of threads, alternating with gradret. `ratio` is FAISS",
        "time / gradret time. `build` includes training, reading, adding, writing and checksums; `add` is only FAISS's",
        "adding. gradret scores its candidates exactly, which raises recall. `alone refined` does the same with an",
        "IndexRefine over all vectors in memory and as many candidates. The last row compares gradret with half of",
        "nprobe to FAISS with all of it.",
        "",
        _row(["vectors", "index", "parameters", "build", "alone: add", "search", "alone: search", "ratio", *recalls]),
        "|---" * 11 + "|",
    ]
    rows = [(size["vectors"], size[kind]) for size in found["sizes"] for kind in ("flat", "ivfpq") if kind in size]
    for vectors, one in rows:
        shares = [one.get("recall@10", 1.0), one.get(f"recall@{found['k']}", 1.0)]
        shares.append(one["alone"].get(f"recall@{found['k']}", 1.0))
        alone = one["alone"]
        lines.append(
            f"| {vectors:,} | {one['factory']} | {one['parameters'] or '-'} | {one['build_seconds']:.0f} "
            f"| {alone['add_seconds']:.0f} | {_spread(one['seconds'])} | {_spread(alone['seconds'])} "
            f"| {one['throughput_ratio']:.2f} | {' | '.join(f'{share:.3f}' for share in shares)} |"
        )
        refined, half = one["refined"], one["half"]
        if refined["seconds"]:
            parameters, recall_of = one["parameters"], [shares[1], refined[recalls[1]]]
            lines.append(_beside(vectors, "the same, alone refined", parameters, one, refined, recall_of))
        if half["seconds"]:
            parameters, recall_of = f"{half['parameters']}, alone {one['parameters']}", [half[recalls[1]], shares[2]]
            lines.append(_beside(vectors, "the same", parameters, half, alone, recall_of))
    lines += [
        "",
        "Peak memory in MiB of any process of a kind, sampled every 0.5 s. `with mapped` includes resident pages of",
        "mapped files, which the kernel can reclaim. `shard` is the size of a shard's index; an actor may serve more.",
        "",
        _row(["vectors", "index", "shard", "shard's vectors", *holders]),
        "|---" * 9 + "|",
    ]
    for vectors, one in rows:
        held = one["bytes"]["vectors"] / found["shards"] / 2**20
        shard = one["plan"]["shard_bytes"] / 2**20
        cells = [
            _peak(one["build_memory"], "worker", "held"),
            _peak(one["memory"], "actor", "held"),
            _peak(one["memory"], "actor", "both"),
            _peak(one["memory"], "driver", "held"),
            _peak(one["memory"], "alone", "held"),
        ]
        lines.append(f"| {vectors:,} | {one['factory']} | {shard:,.0f} | {held:,.0f} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _beside(
    vectors: int, what: str, parameters: str, ours: dict[str, Any], theirs: dict[str, Any], recalls: list[float]
) -> str:
    """Format a row for the index of an earlier row, searched in another way."""
    ratio = statistics.median(theirs["seconds"]) / statistics.median(ours["seconds"])
    seconds = [_spread(side["seconds"]) for side in (ours, theirs)]
    cells = [f"{vectors:,}", what, parameters, "", "", *seconds, f"{ratio:.2f}", ""]
    return _row([*cells, *(f"{share:.3f}" for share in recalls)])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _spread(seconds: list[float]) -> str:
    middle = f"{statistics.median(seconds):.1f}"
    return middle if len(seconds) == 1 else f"{middle} ({min(seconds):.1f}-{max(seconds):.1f})"


def _peak(memory: dict[str, dict[str, float]], kind: str, what: str) -> str:
    return f"{memory[kind][what]:,.0f}" if kind in memory else "-"
