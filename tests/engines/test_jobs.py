"""The three jobs on real engines: vLLM in process through ray.data.llm, and its server as an endpoint."""

import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

import gradret.config.loading
from gradret.errors import StageError
from gradret.flow import Flow

from ..processes import kill_tree, wait_until

ROOT = Path(__file__).parents[2]
WORDS = ("wing", "plate", "flow", "heat", "shock", "wave", "lift", "drag", "layer", "body", "shell", "load")
DOCS = 150
# A random model writes about nothing in no form; what is tested here are engines.
SHARES = {"prompt": 0, "document": 0, "topic": 0, "similar": 0, "documents": 0}
UNFILTERED = {**SHARES, "form": False, "mention": False, "language": False}
JUDGE = """{% set system %}Grade.{% endset %}
{% macro user(query, document, query_first) %}
{% if query_first %}Q {{ query }} D {{ document }}{% else %}D {{ document }} Q {{ query }}{% endif %}
{% endmacro %}"""


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """A BEIR folder: documents of a few dozen words, six training queries and two test queries."""
    folder = tmp_path_factory.mktemp("collection")
    (folder / "qrels").mkdir()
    draw = random.Random(0)

    def words(number):
        return " ".join(draw.choices(WORDS, k=number))

    docs = [{"_id": f"d{n}", "title": words(3), "text": f"{words(draw.randint(20, 60))} {n}."} for n in range(DOCS)]
    queries = [{"_id": f"q{n}", "text": words(4)} for n in range(8)]
    for name, rows in (("corpus", docs), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for split, ids in (("train", range(6)), ("test", range(6, 8))):
        lines = "".join(f"q{n}\td{n}\t1\n" for n in ids)
        (folder / "qrels" / f"{split}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{lines}")
    return folder


@pytest.fixture
def tree(collection, tmp_path):
    """A config as a mapping."""
    return {
        "name": "toy",
        "storage_path": str(tmp_path / "storage"),
        "dataset": {"name": "beir", "path": str(collection)},
    }


def in_process(llm, engines=1, batch_size=16, **kwargs):
    return {
        "name": "vllm",
        "model": str(llm),
        "engine_kwargs": {"dtype": "float32", "max_model_len": 4096} | kwargs,
        "resources": {
            "cpus": 1,
            "engines": engines,
            "batch_size": batch_size,
            "engine_kwargs": {"enforce_eager": True, "max_num_seqs": 32},
            "environment": {"VLLM_CPU_KVCACHE_SPACE": "1"},
        },
    }


def reconciles(artifact):
    counts = artifact.counts
    rows = sum(table.num_rows for table in artifact.batches("quarantine"))
    assert counts["quarantined"] == rows == sum(artifact.manifest["quarantined"].values())
    return counts


def prompt_ids(folder):
    """Ids that were answered so far, of a stage that is not done; one entry an answer."""
    paths = list(folder.glob("artifacts/generate/*/work/answers/*/*.parquet"))
    return [prompt_id for path in paths for prompt_id in pq.read_table(path)["prompt_id"].to_pylist()]


def test_queries_survive_an_engine_and_a_driver_that_are_killed(llm, vllm, tree, tmp_path, ray_session):
    endless = tmp_path / "endless.jinja"
    endless.write_text("{% set task %}Write. " + "Be short. " * 2000 + "{% endset %}{% set examples = [] %}")
    kinds = ["question", "search", str(endless)]
    engine = in_process(llm, engines=2)
    generator = {"name": "llm_queries", "kinds": kinds, "max_tokens": 40, "filters": UNFILTERED, "engine": engine}
    tree["generate"] = {"generator": generator, "max_bad_share": 1.0}
    storage = Path(tree["storage_path"])
    # One prompt at a time: the engine that is ready first leaves work for the other one.
    resources = generator["engine"]["resources"]
    at_once, resources["engine_kwargs"]["max_num_seqs"] = resources["engine_kwargs"]["max_num_seqs"], 1
    kept = killed_in_the_middle(tree, tmp_path)
    assert 0 < len(kept) < 2 * DOCS

    # Speed only: the same artifact.
    resources["engines"], resources["engine_kwargs"]["max_num_seqs"] = 1, at_once
    made = Flow(gradret.config.loading.parse(tree)).generate
    counts = reconciles(made)
    wanted = {f"d{n}~{kind}" for n in range(DOCS) for kind in ("question", "search", "endless")}
    answers = {row["prompt_id"]: row for row in made.table("answers").to_pylist()}
    assert sorted(answers) == sorted(wanted)
    assert counts["rows_in"] == counts["prompts"] == len(wanted) == made.table("answers").num_rows
    queries = made.table("queries")["query_id"].to_pylist()
    assert counts["rows_out"] == len(queries) == len(set(queries)) > 0
    # What was answered before the kill was kept, not asked again.
    assert {prompt_id: answers[prompt_id]["text"] for prompt_id in kept} == kept
    # The prompts that do not fit never reached an engine; the others were cut nowhere.
    too_long = {prompt_id for prompt_id, row in answers.items() if row["finish"] == "too_long"}
    assert too_long == {prompt_id for prompt_id in wanted if prompt_id.endswith("~endless")}
    assert made.manifest["quarantined"]["prompt too long"] == DOCS
    texts = set(queries)
    for row in (row for row in answers.values() if row["prompt_id"] in texts):
        assert row["tokens_in"] > 50
        assert 0 < row["tokens_out"] <= 40
        assert row["error"] == ""
    assert not list(storage.glob("artifacts/generate/*/work"))
    assert Flow(gradret.config.loading.parse(tree)).generate.fingerprint == made.fingerprint


def killed_in_the_middle(tree, tmp_path):
    """Generate with two engines, kill one, and the driver as soon as work went on; the answers by then."""
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(tree))  # YAML, too
    storage = Path(tree["storage_path"])
    logs = Path(tempfile.mkdtemp(prefix="gradret-"))
    said = (tmp_path / "said.txt").open("w")
    run = subprocess.Popen(
        [sys.executable, "-m", "gradret.cli", "generate", str(path)],
        stdout=said,
        stderr=said,
        cwd=ROOT,
        env=os.environ | {"RAY_TMPDIR": str(logs)},
    )
    try:
        wait_until(lambda: len(engines_at_work(logs)) == 2, run, said.name)
        victim = next(
            process for process in psutil.Process(run.pid).children(recursive=True) if "ray::MapWorker" in name(process)
        )
        victim.kill()
        before = len(prompt_ids(storage))
        wait_until(lambda: len(prompt_ids(storage)) > before, run, said.name)
    finally:
        kill_tree(run)
        said.close()
        shutil.rmtree(logs, ignore_errors=True)
    rows = {}
    for path in storage.glob("artifacts/generate/*/work/answers/*/*.parquet"):
        rows |= {
            row["prompt_id"]: row["text"] for row in pq.read_table(path).to_pylist() if row["finish"] != "too_long"
        }
    return rows


def engines_at_work(logs):
    """Engine processes that answered a batch."""
    said = "[vLLM] Elapsed time for batch"
    return {path for path in logs.glob("ray/session_2*/logs/worker-*.err") if said in path.read_text(errors="replace")}


def name(process):
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_graded_documents_train_a_model(llm, vllm, tree, ray_session):
    generator = {
        "name": "graded_documents", "max_chars": 40, "max_tokens": 500, "lengths": [0, 2], "engine": in_process(llm)
    }  # fmt: skip
    tree |= {
        "generate": {"generator": generator, "max_bad_share": 0.9},
        "mine": {"retrievers": [{"name": "generated"}]},
        "label": {"teacher": {"name": "generated"}},
        "select": {"low": 0, "high": 100, "dev_share": 0.4},
        "train": {"loss": [{"name": "wasserstein"}], "list_length": 4, "epochs": 1, "batch_size": 4},
    }
    flow = Flow(gradret.config.loading.parse(tree))
    made = flow.generate
    counts = reconciles(made)
    assert counts["rows_in"] == counts["prompts"] == 6
    queries = made.table("queries")["query_id"].to_pylist()
    docs = {row["doc_id"]: row for row in made.table("docs").to_pylist()}
    labels = made.table("labels").to_pylist()
    assert len(queries) >= 2  # a random model's JSON always parses; two of its documents may still be the same
    assert len(docs) == len(labels) == 4 * len(queries)
    assert sorted(label["score"] for label in labels) == sorted([0, 1, 2, 3] * len(queries))
    assert all(1 <= len(row["text"]) <= 40 for row in docs.values())
    assert {row["query_id"] for row in flow.queries.table("queries").to_pylist() if row["split"] == "train"} >= set(
        queries
    )
    folder = flow.report
    metrics = json.loads((folder / "metrics.json").read_text())
    assert set(metrics["systems"]) == {"base", "tuned", "bm25", "hybrid"}  # this teacher cannot search
    groups = flow.select.table("groups").to_pylist()
    assert all([round(3 * grade) for grade in row["grades"]] == [3, 2, 1, 0] for row in groups)
    # Generated documents are trained with and never searched.
    found = set(flow.search["tuned"].table("run")["doc_id"].to_pylist())
    assert found <= {f"d{n}" for n in range(DOCS)}


def test_a_judges_log_probabilities_are_those_of_transformers(llm, vllm, tree, tmp_path, ray_session):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    template = tmp_path / "grade.jinja"
    template.write_text(JUDGE)
    tree |= {
        "dedupe": {"max_docs": 12},
        "generate": {"generator": {"name": "extractive", "queries": 12}},
        "mine": {"retrievers": [{"name": "source"}, {"name": "bm25", "k": 3}]},
        "check": {"queries": 0},
        "label": {
            "teacher": {
                "name": "judge",
                "max_outside": 0.999999,
                "max_doc_tokens": 30,
                "template": str(template),
                "engine": in_process(llm),
            }
        },
    }
    flow = Flow(gradret.config.loading.parse(tree))
    labels = flow.label
    counts = reconciles(labels)
    answers = {row["prompt_id"]: row for row in labels.table("answers").to_pylist()}
    assert len(answers) == 2 * counts["rows_in"]
    assert counts["texts_cut"] > 0

    tokenizer = AutoTokenizer.from_pretrained(llm)
    model = AutoModelForCausalLM.from_pretrained(llm).eval()
    grades = [tokenizer.convert_tokens_to_ids(grade) for grade in "0123"]
    expected = {}
    for prompt_id, text in rendered(flow, tokenizer).items():
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            expected[prompt_id] = torch.log_softmax(model(ids).logits[0, -1].double(), -1)[grades].tolist()
        assert answers[prompt_id]["tokens_in"] == ids.shape[1]
    assert set(expected) == set(answers)
    for prompt_id, row in answers.items():
        assert row["logprobs"] == pytest.approx(expected[prompt_id], abs=1e-3)
    for row in labels.table("labels").to_pylist():
        orders = [values for prompt_id, values in expected.items() if prompt_id.startswith(row["pair_id"])]
        assert len(orders) == 2
        assert row["score"] == pytest.approx(sum(map(expectation, orders)) / 2, abs=1e-3)


def rendered(flow, tokenizer):
    """Every judge's prompt, put together by hand."""
    docs = {row["doc_id"]: f"{row['title']} {row['text']}" for row in flow.ingest.table("docs").to_pylist()}
    queries = {row["query_id"]: row["text"] for row in flow.generate.table("queries").to_pylist()}
    texts = {}
    for pair in flow.mine.table("pairs").to_pylist():
        query = queries[pair["query_id"]]
        document = tokenizer.decode(tokenizer(docs[pair["doc_id"]])["input_ids"][:30])
        for order, said in (
            ("query_first", f"Q {query} D {document}"),
            ("document_first", f"D {document} Q {query}"),
        ):
            texts[f"{pair['pair_id']}~{order}"] = f"<|system|>Grade.</s><|user|>{said.strip()}</s><|assistant|>"
    return texts


def expectation(logprobs):
    shares = [math.exp(value) for value in logprobs]
    return sum(grade * share for grade, share in enumerate(shares)) / sum(shares) / 3


def test_an_endpoint_does_the_same_jobs(vllm_server, tree, ray_session):
    base_url, model = vllm_server
    engine = {
        "name": "openai", "model": model, "base_url": base_url, "key_env": "", "tokenizer": model,
        "max_model_len": 4096, "resources": {"batch_size": 8, "concurrency": 16},
    }  # fmt: skip
    kind = {"kinds": ["search"], "filters": UNFILTERED, "max_doc_tokens": 60}
    tree |= {
        "dedupe": {"max_docs": 15},
        "generate": {
            "generator": {"name": "llm_queries", "engine": engine, **kind},
            "max_bad_share": 0.9,
        },
        "mine": {"retrievers": [{"name": "source"}, {"name": "bm25", "k": 3}, {"name": "random", "k": 2}]},
        "label": {
            "teacher": {"name": "annotator", "max_candidates": 4, "max_doc_tokens": 20, "engine": engine},
            "max_bad_share": 0.9,
        },
        "select": {"low": 0, "high": 100, "dev_share": 0.3},
    }
    flow = Flow(gradret.config.loading.parse(tree))
    made = flow.generate
    assert reconciles(made)["rows_in"] == 15
    assert 0 < made.counts["rows_out"] <= 15
    labels = flow.label
    counts = reconciles(labels)
    assert counts["rows_in"] == flow.mine.counts["rows_out"]
    assert counts["prompts"] == made.counts["rows_out"]
    scores = labels.table("labels")["score"].to_pylist()
    assert set(scores) <= {0.0, 1.0}
    assert counts["rows_out"] == len(scores) > 0


def test_answers_that_cannot_be_used_stop_the_stage_and_are_kept(vllm_server, tree, ray_session):
    base_url, model = vllm_server
    engine = {"name": "openai", "model": model, "base_url": base_url, "key_env": "", "max_model_len": 4096}
    kind = {"kinds": ["search"], "filters": UNFILTERED, "max_tokens": 1, "max_doc_tokens": 60}
    generator = {"name": "llm_queries", "engine": engine, **kind}
    tree |= {"dedupe": {"max_docs": 100}, "generate": {"generator": generator}}
    with pytest.raises(StageError) as stopped:
        assert Flow(gradret.config.loading.parse(tree)).generate
    said = str(stopped.value)
    found = re.match(r"([\d,]+) of ([\d,]+) answers cannot be used, more than max_bad_share=0.2:\n", said)
    assert found
    assert int(found[2]) >= 64
    assert said.count("cut off at max_tokens") + said.count("empty answer") == 3
    kept = prompt_ids(Path(tree["storage_path"]))
    assert len(kept) == len(set(kept)) >= int(found[2])
    # With a limit that allows it the same artifact is finished, from what is there.
    tree["generate"]["max_bad_share"] = 1.0
    with pytest.raises(gradret.DataError, match="wrote nothing for any of 100 docs"):
        assert Flow(gradret.config.loading.parse(tree)).generate
