"""nDCG@10 of vectors that are computed in bfloat16, as on GPUs by default, against float32.

    python -m benchmarks.half_precision DATA [--collections scifact cranfield vaswani] [--gpus 1]

DATA contains the BEIR folders. MiniLM encodes documents and test queries with ``encode.compute`` float32 and bfloat16,
and stores vectors in float32 and float16; the search is exact. ``apart`` is the largest and the mean distance of a
document's vector from that of float32, ``changed`` the number of queries with another nDCG@10. bfloat16 is the same
autocast on a CPU and on a GPU; sums may be ordered differently.

Writes ``benchmarks/results/half_precision_<hardware>_<date>.{md,json}``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.hardware import hardware, result_path
from gradret.config.loading import load
from gradret.flow import Flow
from gradret.search.vectors import read_vectors
from gradret.stages.encode import encode

KINDS = {
    "float32": ("float32", "float32"),
    "bfloat16": ("bfloat16", "float32"),
    "bfloat16, stored as float16": ("bfloat16", "float16"),
}
"""``encode.compute`` and ``encode.precision``."""


def main() -> None:
    """Measure every collection and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--collections", nargs="+", default=["scifact", "cranfield", "vaswani"])
    parser.add_argument("--gpus", type=int, default=0)
    asked = parser.parse_args()
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.collections:
            found[name] = measured((asked.data / name).resolve(), Path(folder) / name, asked.gpus)
            print(name, found[name], file=sys.stderr, flush=True)
    result_path("half_precision", "json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    result_path("half_precision", "md").write_text(markdown(found, asked.gpus), encoding="utf-8")


def measured(data: Path, storage: Path, gpus: int) -> dict[str, Any]:
    """Return nDCG@10 of each kind, and how far it is from float32."""
    values, vectors = {}, {}
    for kind, (compute, precision) in KINDS.items():
        places = [f"dataset.path={data}", f"storage_path={storage}", f"encode.resources.gpus={gpus}"]
        settings = [
            f"encode.compute={compute}",
            f"encode.precision={precision}",
            "train.encoder={name: pretrained, precision: float32}",
        ]
        flow = Flow(load("configs/quickstart.yaml", ["dataset.name=beir", "name=half", *places, *settings]))
        rows = flow.evaluated("base").table("metrics").to_pylist()
        values[kind] = {row["query_id"]: row["value"] for row in rows if row["measure"] == "nDCG@10"}
        vectors[kind] = read_vectors(encode(flow.config, flow.base, flow.ingest, "docs"))[1].astype(np.float32)
    whole = values["float32"]
    return {
        kind: {
            "nDCG@10": float(np.mean(list(own.values()))),
            "changed": sum(abs(own[query_id] - whole[query_id]) > 1e-6 for query_id in whole),
            "queries": len(whole),
            "apart": distances(vectors[kind], vectors["float32"]),
        }
        for kind, own in values.items()
    }


def distances(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """Return the largest and the mean distance of two vectors of a document."""
    apart = np.linalg.norm(ours - theirs, axis=1)
    return float(apart.max()), float(apart.mean())


def markdown(found: dict[str, dict[str, Any]], gpus: int) -> str:
    """Return the results file."""
    command = " ".join(["python -m benchmarks.half_precision DATA", *sys.argv[2:]])
    lines = [
        "# nDCG@10 of vectors computed in bfloat16",
        "",
        f"{hardware()}; on {'a GPU' if gpus else 'the CPU'}. Command: `{command}`.",
        "MiniLM before training, exact search. `apart`: largest and mean distance of a document's vector of length 1",
        "from that of float32. `changed`: queries with another nDCG@10.",
        "",
        "| collection | computed in | nDCG@10 | difference | changed | apart |",
        "|---|---|---|---|---|---|",
    ]
    for name, kinds in found.items():
        for kind, of in kinds.items():
            apart = f"{of['apart'][0]:.4f}, {of['apart'][1]:.4f}"
            difference = of["nDCG@10"] - kinds["float32"]["nDCG@10"]
            changed = f"{of['changed']} of {of['queries']}"
            lines.append(f"| {name} | {kind} | {of['nDCG@10']:.4f} | {difference:+.4f} | {changed} | {apart} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
