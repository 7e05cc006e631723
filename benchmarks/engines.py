"""Overhead of a stage that asks a language model over vLLM alone, with the same prompts and engine settings.

    python -m benchmarks.engines

A random Llama with a tokenizer trained on the embedded collection writes a query for each of ROWS documents, once with
vLLM's ``LLM`` in a separate process and once with the stage ``generate`` through Ray Data. Both sides template,
truncate and tokenise the prompts within the measured time. Start-up is the time for FEW rows; the comparison uses the
time for the remaining rows. Sides alternate; results are medians of RUNS runs.
"""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.hardware import hardware, result_path
from gradret.config.loading import parse
from gradret.config.run import Config
from gradret.datasets._stdlib import documents

ROWS, FEW, RUNS = 2000, 32, 3


def main() -> None:
    from gradret.flow import Flow
    from gradret.work.session import connect
    from tests.engines import tiny_llm

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        docs = list(itertools.islice(documents(), ROWS))
        texts = [f"{doc['title']} {doc['text']}" for doc in docs]
        model = tiny_llm.write(folder / "model", texts=texts, vocabulary=8000, hidden=256, layers=4)
        connect()
        seconds: dict[str, dict[int, list[float]]] = {"vllm": {}, "gradret": {}}
        tokens = {}
        for run in range(RUNS):
            for rows in (FEW, ROWS):
                collection = write_collection(folder / f"data{rows}", docs[:rows])
                tree = tree_of(model, collection, folder / f"storage{run}.{rows}")
                Flow(parse(tree)).make("dedupe")  # not included in the measured time
                tokens["vllm"] = add(seconds["vllm"], rows, bare(tree))
                tokens["gradret"] = add(seconds["gradret"], rows, stage(parse(tree)))
                print(run, rows, {side: values[rows][-1] for side, values in seconds.items()}, file=sys.stderr)
    write(seconds, tokens)


def add(values: dict[int, list[float]], rows: int, measured: dict[str, Any]) -> dict[str, int]:
    values.setdefault(rows, []).append(measured["seconds"])
    return {"in": measured["tokens_in"], "out": measured["tokens_out"]}


def tree_of(model: Path, collection: Path, storage: Path) -> dict[str, Any]:
    engine = {
        "name": "vllm",
        "model": str(model),
        "engine_kwargs": {"dtype": "float32", "max_model_len": 4096},
        "resources": {
            "cpus": 2,
            "engine_kwargs": {"enforce_eager": True, "max_num_seqs": 64, "max_num_batched_tokens": 4096},
            "environment": {"VLLM_CPU_KVCACHE_SPACE": "1"},
        },
    }
    # A random model writes no good query.
    shares = {"prompt": 0, "document": 0, "topic": 0, "similar": 0, "documents": 0}
    generator = {
        "name": "llm_queries",
        "filters": {**shares, "form": False, "mention": False, "language": False},
        "kinds": ["search_examples"],
        "max_doc_tokens": 128,
        "examples": 1,
        "engine": engine,
    }
    return {
        "name": "overhead",
        "storage_path": str(storage),
        "dataset": {"name": "beir", "path": str(collection)},
        "dedupe": {"min_chars": 1, "window": 0},
        "generate": {"generator": generator, "max_bad_share": 1.0},
    }


def write_collection(folder: Path, docs: list[dict[str, str]]) -> Path:
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    rows = [{"_id": doc["doc_id"], "title": doc["title"], "text": doc["text"]} for doc in docs]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "a query"}\n')
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\nq\t{docs[0]['doc_id']}\t1\n")
    return folder


def stage(config: Config) -> dict[str, Any]:
    """Run the stage, from its inputs to its artifact."""
    from gradret.flow import Flow

    flow = Flow(config)
    flow.make("dedupe")
    started = time.perf_counter()
    counts = flow.generate.counts
    return {name: counts[name] for name in ("tokens_in", "tokens_out")} | {"seconds": time.perf_counter() - started}


def bare(tree: dict[str, Any]) -> dict[str, Any]:
    """Answer the same prompts with vLLM's LLM in a new process, from import to the last answer."""
    command = [sys.executable, "-m", "benchmarks.engines", "--bare", json.dumps(tree)]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured | {"seconds": time.perf_counter() - started}


def ask_bare(tree: dict[str, Any]) -> None:
    import os

    config = parse(tree)
    engine = config.generate.generator.engine
    os.environ.update(engine.resources.environment)
    from vllm import LLM, SamplingParams

    from gradret.flow import Flow

    flow = Flow(config)
    docs = sorted(Path(flow.ingest.path).glob("docs/*.parquet"))
    kwargs = {name: value for name, value in engine.arguments.items() if name != "distributed_executor_backend"}
    model = LLM(model=engine.model, **kwargs)
    write = engine.load()
    task = config.generate.generator.load({}, 1, config.seed)
    sample = set(flow.dedupe.table("sample")["doc_id"].to_pylist())  # copies get no queries
    asked = [prompt for path in docs for prompt in task.prompts(path)]
    asked = [prompt for prompt in asked if prompt.prompt_id.rpartition("~")[0] in sample]
    rows = [write(prompt, prompt.seed(config.seed)) for prompt in asked]
    prompts = [{"prompt_token_ids": row["tokenized_prompt"]} for row in rows]
    answers = model.generate(prompts, [SamplingParams(**json.loads(row["asked"])) for row in rows], use_tqdm=False)
    counts = {
        "tokens_in": sum(len(answer.prompt_token_ids) for answer in answers),
        "tokens_out": sum(len(answer.outputs[0].token_ids) for answer in answers),
    }
    print(json.dumps(counts))


def write(seconds: dict[str, dict[int, list[float]]], tokens: dict[str, dict[str, int]]) -> None:
    middle = {side: {rows: statistics.median(runs) for rows, runs in each.items()} for side, each in seconds.items()}
    beyond = {side: each[ROWS] - each[FEW] for side, each in middle.items()}
    lines = [
        f"# A stage on vLLM against vLLM alone, {ROWS:,} rows",
        "",
        f"{hardware()}. Command: `python -m benchmarks.engines`. Medians of {RUNS} alternating runs.",
        "A random Llama of 4 layers, float32, one engine; both sides template, truncate and tokenise the prompts.",
        "",
        f"| | start-up: {FEW} rows, s | {ROWS:,} rows, s | beyond start-up, s | tokens in | tokens out |",
        "|---|---|---|---|---|---|",
    ]
    for side in ("vllm", "gradret"):
        few, all_rows = middle[side][FEW], middle[side][ROWS]
        counted = f"{tokens[side]['in']:,} | {tokens[side]['out']:,}"
        lines.append(f"| {side} | {few:.1f} | {all_rows:.1f} | {beyond[side]:.1f} | {counted} |")
    share = beyond["gradret"] / beyond["vllm"] - 1
    lines += ["", f"Overhead beyond start-up: {share:+.1%}. All runs, s: `{json.dumps(seconds)}`", ""]
    result_path("engines", "md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--bare"]:
        ask_bare(json.loads(sys.argv[2]))
    else:
        main()
