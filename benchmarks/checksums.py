"""Checksums of artifacts: bit flips that go unnoticed, speed of hashes, and the share of a run that they take."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import tempfile
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

import gradret
from benchmarks.hardware import hardware, result_path
from gradret.errors import DamagedError
from gradret.store.artifacts import read_shard
from gradret.store.checksums import check, file_sum

CONFIG = Path(__file__).parents[1] / "configs" / "quickstart.yaml"
SMALL = ["generate.generator.queries=1000", "train.epochs=1"]
FLIPS = 200
"""Flips per file."""
TABLES = {"ingest": "docs", "mine": "pairs", "label": "labels", "select": "groups", "search.tuned": "run"}
HASHES: dict[str, Callable[[bytes], object]] = {
    "crc32": zlib.crc32,
    "sha256": hashlib.sha256,
    "blake2b": hashlib.blake2b,
    "md5": hashlib.md5,
}
BLOCK, REPEATS = 1 << 26, 5


def main() -> None:
    """Run the quickstart, measure, and write the table."""
    with tempfile.TemporaryDirectory() as storage:
        started = time.monotonic()
        run = gradret.run(gradret.load(CONFIG, [f"storage_path={storage}", *SMALL])).folder
        seconds = time.monotonic() - started
        fresh = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=fresh) as pool:
            result = pool.submit(measure, run).result() | {"run_seconds": seconds}
    result_path("checksums", "json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    table = markdown(result)
    result_path("checksums", "md").write_text(table, encoding="utf-8")
    print(table)


def measure(run: Path) -> dict:
    """Measure a finished run, in a process that has checked nothing yet."""
    lineage = json.loads((run / "lineage.json").read_text(encoding="utf-8"))
    storage = run.parents[1]
    files = [path for path in sorted((storage / "artifacts").rglob("*")) if path.is_file()]
    shards = {
        f"{stage}/{table}": (min((storage / lineage[stage]["path"] / table).glob("*.parquet")), table)
        for stage, table in TABLES.items()
    }
    (weights,) = (storage / lineage["train"]["path"] / "model").rglob("*.safetensors")
    return {
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
        "write_seconds": timed(lambda: [file_sum(path) for path in files]),
        "read_seconds": timed(lambda: [check(path) for path in files]),
        "speed": {name: speed(call) for name, call in HASHES.items()},
        "unnoticed": {
            name: unnoticed(path, lambda p, t=table: read_shard(p, t)) for name, (path, table) in shards.items()
        }
        | {"train/model": unnoticed(weights, check)},
    }


def unnoticed(path: Path, read: Callable[[Path], object]) -> int:
    """Number of ``FLIPS`` random bit flips after which the file is read without an error."""
    whole, draw, count = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(FLIPS):
        data = bytearray(whole)
        bit = int(draw.integers(8 * len(data)))
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        try:
            read(path)
            count += 1
        except DamagedError:
            continue
    path.write_bytes(whole)
    return count


def timed(call: Callable[[], object]) -> float:
    """Seconds of a call."""
    started = time.monotonic()
    call()
    return time.monotonic() - started


def speed(call: Callable[[bytes], object]) -> float:
    """MB/s of a hash of a block in memory; the best of several."""
    block = np.random.default_rng(0).bytes(BLOCK)
    return BLOCK / 1e6 / min(timed(lambda: call(block)) for _ in range(REPEATS))


def markdown(result: dict) -> str:
    """The result file."""
    both = result["write_seconds"] + result["read_seconds"]
    lines = [
        "# Checksums of artifacts",
        "",
        f"{hardware()}. Command: `python -m benchmarks.checksums`.",
        "",
        f"configs/quickstart.yaml with {' '.join(SMALL)}",
        f"takes {result['run_seconds']:.0f} s and leaves {result['files']} files in artifacts,",
        f"{result['bytes'] / 1e6:.0f} MB. SHA-256 of all of them takes {result['write_seconds']:.2f} s, a check of all",
        f"{result['read_seconds']:.2f} s: together {both / result['run_seconds']:.2%} of the run.",
        "",
        "| hash | MB/s in memory |",
        "|---|---|",
        *(f"| {name} | {value:,.0f} |" for name, value in result["speed"].items()),
        "",
        "| file | single bit flips | read without an error |",
        "|---|---|---|",
        *(f"| {name} | {FLIPS} | {count} |" for name, count in result["unnoticed"].items()),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
