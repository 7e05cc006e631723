"""Test the teacher check on real collections: it must reject a weak teacher and accept a good one.

    python -m benchmarks.teacher_check DATA

DATA contains the BEIR folders ``trecdl19_judged`` and ``scifact``. The 43 judged queries of TREC DL 2019 are all test
queries; here every second of them becomes a dev query. The benchmark runs the commands of a user and checks the verdict
and the exit status, that a run stops before it labels, and that it continues with ``check.stop=false``. Writes
``benchmarks/results/teacher_check_<hardware>_<date>.md``; exits 1 if a verdict is not the expected one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.hardware import hardware, result_path

CONFIG = "configs/quickstart.yaml"
MINILM = "check.retriever={name: dense, k: 100, encoder: {name: pretrained}}"
STUDENT = "check.retriever={name: dense, k: 100}"
BM25 = "check.retriever={name: bm25, k: 100}"
FUSION = "label.teacher={name: fusion}"
BM25_ALONE = "label.teacher={name: fusion, dense_weight: 0}"
# Label only a few pairs: the benchmark checks only whether labelling starts.
FEW = ("generate.generator.queries=200", "dedupe.max_docs=200")


@dataclass(frozen=True)
class Case:
    """A teacher and the retriever whose documents it reranks."""

    collection: str
    retriever: str
    teacher: str
    settings: tuple[str, str]
    passes: bool


CASES = (
    Case("trecdl19_judged", "MiniLM", "BM25", (MINILM, BM25_ALONE), passes=False),
    Case("trecdl19_judged", "MiniLM", "fusion of MiniLM and BM25", (MINILM, FUSION), passes=False),
    Case("trecdl19_judged", "the student before training", "fusion of MiniLM and BM25", (STUDENT, FUSION), passes=True),
    Case("scifact", "the student before training", "fusion of MiniLM and BM25", (STUDENT, FUSION), passes=True),
    Case("scifact", "BM25", "fusion of MiniLM and BM25", (BM25, FUSION), passes=True),
    Case("scifact", "MiniLM", "fusion of MiniLM and BM25", (MINILM, FUSION), passes=True),
)


def main(data: str) -> int:
    """Check every case, then try to label with the first, which must be rejected."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folders = {"trecdl19_judged": halved(Path(data) / "trecdl19_judged", folder / "data")}
        folders["scifact"] = (Path(data) / "scifact").resolve()
        rows = [(case, *checked(case, folders[case.collection], folder)) for case in CASES]
        weak = CASES[0]
        stopped = gradret("label", weak, folders[weak.collection], folder, FEW)
        begun = (folder / weak.collection / "artifacts" / "mine").exists()
        went_on = gradret("label", weak, folders[weak.collection], folder, (*FEW, "check.stop=false"))
    problems = [f"{case.teacher} on {case.collection}" for case, found, _ in rows if found["passes"] != case.passes]
    if stopped.returncode != 2 or "Traceback" in stopped.stderr or begun:
        problems.append("a run with the weak teacher did not stop as it should")
    if went_on.returncode != 0 or "WARNING: " not in went_on.stderr:
        problems.append("check.stop=false did not go on with a warning")
    text = markdown(rows, stopped, went_on, problems)
    print(text)
    result_path("teacher_check", "md").write_text(text, encoding="utf-8")
    return int(bool(problems))


def halved(source: Path, folder: Path) -> Path:
    """Return the collection with every second judged test query, by query_id, turned into a dev query."""
    (folder / "qrels").mkdir(parents=True)
    for name in ("corpus.jsonl", "queries.jsonl"):
        shutil.copy(source / name, folder / name)
    head, *lines = (source / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()
    query_ids = sorted({line.split("\t")[0] for line in lines})
    for split, chosen in {"dev": set(query_ids[::2]), "test": set(query_ids[1::2])}.items():
        own = [line for line in lines if line.split("\t")[0] in chosen]
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join([head, *own]) + "\n", encoding="utf-8")
    return folder


def checked(case: Case, dataset: Path, folder: Path) -> tuple[dict[str, Any], float]:
    """Return the result of ``gradret check`` for a case, whether it passes, and the seconds."""
    started = time.monotonic()
    done = gradret("check", case, dataset, folder, ("--json",))
    seconds = time.monotonic() - started
    if done.returncode not in {0, 2} or not done.stdout:
        raise SystemExit(f"gradret check failed: {done.stderr}")
    return json.loads(done.stdout) | {"passes": done.returncode == 0}, seconds


def gradret(command: str, case: Case, dataset: Path, folder: Path, more: Sequence[str]) -> Any:
    """Run the command with the case's settings; the cases of a collection share a storage."""
    overrides = ["dataset.name=beir", f"dataset.path={dataset}", f"name={case.collection}"]
    overrides += [f"storage_path={folder / case.collection}", *case.settings]
    return subprocess.run(
        [sys.executable, "-m", "gradret.cli", command, CONFIG, *overrides, *more],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def markdown(rows: list[tuple[Case, dict[str, Any], float]], stopped: Any, went_on: Any, problems: list[str]) -> str:
    """Format the result file."""
    head = ["collection", "queries", "retriever", "nDCG@10", "teacher", "nDCG@10", "difference", "95% interval", "p"]
    head += ["kappa", "tau-b", "Spearman", "verdict", "seconds"]
    lines = [
        "# The teacher check on real collections",
        "",
        f"{hardware()}. Command: `python -m benchmarks.teacher_check DATA`.",
        "",
        "The teacher reranks the retriever's first 100 documents. On scifact the queries are up to 200 training",
        "queries. trecdl19_judged has only test queries, 43 of them; every second one was turned into a dev query.",
        "Seconds are for the whole command; the first command on a collection also encodes its documents with MiniLM.",
        "",
        f"| {' | '.join(head)} |",
        "|---" * len(head) + "|",
    ]
    for case, found, seconds in rows:
        cells = [case.collection, f"{found['queries']} {found['sample']}", case.retriever]
        cells += [f"{found['retriever_ndcg']:.4f}", case.teacher, f"{found['teacher_ndcg']:.4f}"]
        cells += [f"{found['difference']:+.4f}", f"{found['low']:+.4f} to {found['high']:+.4f}", f"{found['p']:.2g}"]
        cells += ["" if found[key] is None else f"{found[key]:.3f}" for key in ("kappa", "kendall_tau", "spearman")]
        cells += [found["outcome"] if found["passes"] else "**stopped**", f"{seconds:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "scifact judges only relevant documents, so agreement cannot be computed.",
        "",
        f"`gradret label` with the first case's teacher, exit status {stopped.returncode}, before it mines or labels:",
        "",
        "```",
        *(line for line in stopped.stderr.splitlines() if line.startswith(("gradret: ", "A student"))),
        "```",
        "",
        f"The same with `check.stop=false`, exit status {went_on.returncode}:",
        "",
        "```",
        *(line.strip() for line in went_on.stderr.splitlines() if "WARNING: " in line),
        "```",
    ]
    lines += ["", f"Unexpected results: {'; '.join(problems)}."] if problems else []
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
