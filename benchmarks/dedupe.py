"""Deduplication of large corpora: time, memory, and recall of planted copies.

    python -m benchmarks.dedupe [--sizes 100000 300000 1000000] [--near 0.7]

Documents are generated from words with Zipfian frequencies and have about 330 characters, like MS MARCO's passages.
One in 50 copies another document except for case and punctuation; one in 50 is the beginning of another, one in 50 its
end, and one in 50 another with a word changed in the middle. Every size is a separate corpus. After ``gradret ingest``,
``gradret dedupe`` runs as a separate command, with and without near-duplicates. Writes
``benchmarks/results/dedupe_<hardware>_<date>.{md,json}``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.hardware import hardware, result_path
from benchmarks.tree_memory import run

KINDS = {"equal": "equal", "beginning": "contained", "end": "contained", "near": "near"}
EVERY, WORDS, VOCABULARY, SEED = 50, 51, 50_000, 0


def main() -> None:
    """Measure every size and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--near", type=float, default=0.7)
    parsed = parser.parse_args()
    rows = []
    for size in parsed.sizes:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            write_collection(folder / "data", size)
            run(command("ingest", folder, 0))
            for near in (0, parsed.near):
                peak = run(command("dedupe", folder, near))
                rows.append({"documents": size, "near": near, **asdict(peak), **found(folder, size, near)})
                print(rows[-1], flush=True)
    result_path("dedupe", "json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    result_path("dedupe", "md").write_text(markdown(rows), encoding="utf-8")


def command(stage: str, folder: Path, near: float) -> list[str]:
    """Run the command that a user would type."""
    overrides = ["dataset.name=beir", f"dataset.path={folder / 'data'}", "name=dedupe", f"dedupe.near={near}"]
    overrides.append(f"storage_path={folder / 'storage'}")
    return [sys.executable, "-m", "gradret.cli", stage, "configs/quickstart.yaml", *overrides]


def write_collection(folder: Path, size: int) -> None:
    """Write a BEIR folder, with a test query because a collection must have one."""
    draw = np.random.default_rng(SEED)
    letters = np.array(list("etaoinshrdlucmfwypvbgkqjxz"))
    words = np.array(["".join(draw.choice(letters, length)) for length in draw.integers(2, 10, VOCABULARY)])
    (folder / "qrels").mkdir(parents=True)
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as file:
        for group in range(size // EVERY):
            originals = words[np.minimum(draw.zipf(1.2, (EVERY - len(KINDS), WORDS)), VOCABULARY) - 1]
            texts = {f"d{group:06}{place:02}": text for place, text in enumerate(originals)}
            copies = zip(KINDS, list(texts.items()), strict=False)
            texts |= {f"{kind}~{doc_id}": copy_of(text, kind, draw) for kind, (doc_id, text) in copies}
            for doc_id, text in texts.items():
                file.write(json.dumps({"_id": doc_id, "title": "", "text": f"{' '.join(text)}."}) + "\n")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq0\td00000000\t1\n", encoding="utf-8")
    query = {"_id": "q0", "text": "what stands in the first document"}
    (folder / "queries.jsonl").write_text(json.dumps(query) + "\n", encoding="utf-8")


def copy_of(text: np.ndarray, kind: str, draw: np.random.Generator) -> np.ndarray:
    """Return the words of a copy."""
    if kind == "equal":
        return np.char.add(np.char.upper(text), ",")
    if kind == "near":
        text = text.astype(object)
        text[draw.integers(len(text) // 3, 2 * len(text) // 3)] = "another"
        return text
    return text[: 2 * WORDS // 3] if kind == "beginning" else text[WORDS // 3 :]


def found(folder: Path, size: int, near: float) -> dict:
    """Return the recall of the planted copies by kind, and the number of documents wrongly dropped as copies."""
    paths = (folder / "storage" / "artifacts" / "dedupe").glob("*/manifest.json")
    manifests = {path.parent: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    (path,) = [path for path, manifest in manifests.items() if manifest["settings"]["dedupe"]["near"] == near]
    counts = manifests[path]["counts"]
    assert counts["rows_in"] == sum(counts[name] for name in ("sampled", "not_drawn", "copies", "too_short")) == size
    right = dict.fromkeys(KINDS, 0)
    rows = pq.read_table(path / "duplicates").to_pylist()
    for row in rows:
        kind, _, original = row["doc_id"].partition("~")
        if kind in KINDS and (row["reason"], row["kept_doc_id"]) == (KINDS[kind], original):
            right[kind] += 1
    shares = {kind: number / (size // EVERY) for kind, number in right.items()}
    return {"found": shares, "wrong": len(rows) - sum(right.values()), "counts": counts}


def markdown(rows: list[dict]) -> str:
    """Format the result file."""
    lines = [
        "# Deduplication",
        "",
        f"{hardware()}. Command: `python -m benchmarks.dedupe`.",
        "Generated documents of about 330 characters; one in 50 is a copy of each kind. `s` is the time of the whole",
        "command, including the start of Python and Ray. Memory is the peak in GiB, sampled every 0.5 s: driver,",
        "largest worker, all workers with Ray's object store, Ray's processes, and all processes at one moment.",
        "`mapped` is file-backed memory, which the kernel can reclaim. The next columns are the recall of the planted",
        "copies; `wrong` counts documents that were dropped but are not copies.",
        "",
        f"| documents | near | s | driver | worker | workers | Ray | all | mapped | {' | '.join(KINDS)} | wrong |",
        "|---" * (10 + len(KINDS)) + "|",
    ]
    for row in rows:
        sizes = [f"{row[name]:.2f}" for name in ("driver", "worker", "workers", "ray", "total", "mapped")]
        shares = [f"{row['found'][kind]:.4f}" for kind in KINDS]
        cells = [
            f"{row['documents']:,}",
            f"{row['near']:g}",
            f"{row['seconds']:.0f}",
            *sizes,
            *shares,
            f"{row['wrong']:,}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    for near in sorted({row["near"] for row in rows}):
        points = [(row["documents"], row["seconds"]) for row in rows if row["near"] == near]
        if len(points) > 1:
            exponent, _ = np.polyfit(*np.log(points).T, 1)
            lines += ["", f"near = {near:g}: seconds grow as the {exponent:.2f}th power of the number of documents."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
