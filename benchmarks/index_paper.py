"""Estimate nodes, memory and time of indexes with millions to a billion vectors, for docs/scale.md.

python -m benchmarks.index_paper benchmarks/results/index_scale_....json
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.clustered import BLOCK, DIMENSION
from gradret.search.factory import choose
from gradret.search.plan import plan


def paper(found: dict[str, Any]) -> str:
    """Format estimates for larger collections from measured rates, as a Markdown table."""
    largest = found["sizes"][-1]
    flat, ivfpq = largest["flat"], largest["ivfpq"]
    work = largest["vectors"] * found["dimension"] * found["queries"]
    compared = work / statistics.median(flat["seconds"]) / found["cores"]
    scanned = statistics.median(ivfpq["seconds"]) * found["cores"] / found["queries"]
    added = largest["vectors"] * found["dimension"] / ivfpq["build_seconds"] / found["cores"]
    rates = (
        f"Measured rates per core: {compared / 1e9:.1f} billion numbers compared per second (Flat); "
        f"{1000 * scanned:.2f} ms per query (IVF-PQ, {ivfpq['parameters']}, {largest['vectors']:,} vectors); "
        f"{added / 1e6:.1f} million numbers per second built into IVF-PQ, training included."
    )
    head = ["collection", "index", "nodes", "index, GiB", "vectors on disk, GiB", "build, core-hours", "build, hours"]
    head += ["ms per query and core", "queries per second, all nodes"]
    collections = [("MS MARCO", 8_841_823, 768), ("a billion", 1_000_000_000, 768)]
    rows = [
        _on_paper(name, factory, vectors, dimension, (compared, scanned, added, largest["vectors"]))
        for name, vectors, dimension in collections
        for factory in dict.fromkeys(("Flat", choose(vectors, dimension, 64 << 30)[0]))
    ]
    lines = [rates, "", f"| {' | '.join(head)} |", "|---" * len(head) + "|", *rows]
    return "\n".join(lines)


def _on_paper(name: str, factory: str, vectors: int, dimension: int, rates: tuple[float, float, float, int]) -> str:
    """Format a table row, for nodes of 16 cores and 64 GiB, of which the index may use 48."""
    compared, scanned, added, measured = rates
    planned = plan(factory, vectors, dimension, max(1, -(-vectors // 2_000_000)), BLOCK)
    memory = planned.shard * planned.shards
    nodes = max(1, -(-memory // (48 << 30)))
    flat = factory == "Flat"
    # The number of lists, nprobe and the length of a list grow with the square root of the corpus.
    alone = vectors * dimension / compared if flat else scanned * (vectors / measured) ** 0.5 * dimension / DIMENSION
    build_hours = 0.0 if flat else vectors * dimension / added * (vectors / measured) ** 0.5 / 3600
    cells = [
        f"{nodes}",
        f"{memory / 2**30:,.0f}",
        f"{vectors * dimension * 4 / 2**30:,.0f}",
        "copying" if flat else f"{build_hours:,.0f}",
        "copying" if flat else f"{build_hours / 16 / nodes:,.1f}",
        f"{1000 * alone:,.1f}",
        f"{16 * nodes / alone:,.0f}",
    ]
    return f"| {name}, {vectors:,} x {dimension} | {factory} | {' | '.join(cells)} |"


if __name__ == "__main__":
    print(paper(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
