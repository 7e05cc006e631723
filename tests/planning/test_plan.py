"""Prompts and tokens against the tokenizer's own chat template over every prompt; hours against arithmetic by hand."""

import json
import random

import pytest
from transformers import AutoTokenizer

from gradret.cli import main
from gradret.commands.plan import PlanOptions, plan
from gradret.config.loading import parse
from gradret.errors import ConfigError
from gradret.planning.text import as_text

from .test_stages import RATES

LETTERS = [a + b + c for a in "bdfgk" for b in "aiou" for c in "lmnrs"]
ECHO = "tests.planning.outside:Echo"

pytestmark = pytest.mark.usefixtures("ray_session")


def documents(number, words=lambda draw: draw.randint(4, 40)):
    draw = random.Random(0)
    return [
        {"_id": f"d{n:03d}", "title": "", "text": " ".join(draw.choice(LETTERS) for _ in range(words(draw)))}
        for n in range(number)
    ]


@pytest.fixture
def tree(beir, tmp_path):
    """Makes a config's mapping over a BEIR folder of ``docs``."""

    def make(docs, generator=None, name="data", **blocks):
        dataset = {"name": "beir", "path": str(beir(docs=docs, qrels=blocks.pop("qrels", {}), name=name))}
        generate = {} if generator is None else {"generate": {"generator": generator}}
        return {"name": "toy", "storage_path": str(tmp_path / "storage"), "dataset": dataset} | generate | blocks

    return make


def asking(engine, **fields):
    return {"name": "llm_queries", "kinds": ["question", "claim"], "engine": engine} | fields


@pytest.fixture
def vllm(llm):
    return {"name": "vllm", "model": str(llm), "engine_kwargs": {"max_model_len": 16384}}


def counted(model, prompts):
    """Tokens of each prompt, as transformers' own chat template gives them."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    lengths = []
    for prompt in prompts:
        messages = [
            {"role": "system", "content": prompt.system},
            {"role": "user", "content": prompt.user(prompt.texts)},
        ]
        chat = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True)
        lengths.append(len(chat["input_ids"]))
    return lengths


def shard_of(config, docs, tmp_path):
    import pyarrow as pa

    from gradret.store import contracts
    from gradret.store.artifacts import write_shard

    rows = [{"doc_id": doc["_id"], "title": "", "text": doc["text"], "origin": "corpus"} for doc in docs]
    path = tmp_path / "oracle" / "docs" / "part-00000.parquet"
    write_shard(path, pa.Table.from_pylist(rows, contracts.schema("docs")), "docs")
    return path


def test_a_small_corpus_is_counted_exactly(tree, vllm, tmp_path):
    docs = documents(20)
    config = parse(tree(docs, asking(vllm, max_tokens=30)))
    (stage,) = plan(config)["prompts"]
    task = config.generate.generator.load({}, len(docs), config.seed)
    lengths = counted(vllm["model"], task.prompts(shard_of(config, docs, tmp_path)))
    assert len(lengths) == 40
    assert (stage["stage"], stage["asks"], stage["rows"], stage["unit"]) == ("generate", "llm_queries", 20, "documents")
    assert (stage["prompts"], stage["prompts_at_most"]) == (40, False)
    assert stage["tokens_in"] == {"mean": pytest.approx(sum(lengths) / 40), "total": sum(lengths)}
    assert stage["tokens_out"] == {"mean": 30, "total": 1200, "at_most": True}
    assert stage["sample"] == {"rows": 20, "prompts": 40, "too_long": 0, "texts_cut": 0}


def test_a_larger_one_is_sampled_whatever_its_order(tree):
    docs = documents(150, words=lambda draw: 20)
    (stage,) = plan(parse(tree(docs, asking({"name": ECHO}))))["prompts"]
    assert (stage["rows"], stage["prompts"], stage["sample"]["rows"]) == (150, 300, 64)
    assert stage["tokens_in"] == {"mean": 20, "total": 6000}
    docs = documents(150)
    stages = [
        plan(parse(tree(order, asking({"name": ECHO}), name=name)))["prompts"]
        for name, order in [("forwards", docs), ("backwards", docs[::-1])]
    ]
    assert stages[0] == stages[1]
    assert stages[0][0]["tokens_in"]["mean"] != 20


def test_documents_that_get_no_queries_cost_nothing(tree):
    docs = documents(12)
    docs[3]["text"] = "1 2 3"
    docs[5]["text"] = docs[4]["text"]
    (stage,) = plan(parse(tree(docs, asking({"name": ECHO}), dedupe={"max_docs": 7})))["prompts"]
    assert (stage["rows"], stage["prompts"]) == (7, 14)


def test_prompts_too_long_and_texts_cut_are_told(tree, vllm):
    docs = documents(6, words=lambda draw: 100)
    (stage,) = plan(parse(tree(docs, asking(vllm, max_doc_tokens=20))))["prompts"]
    assert (stage["sample"]["too_long"], stage["sample"]["texts_cut"]) == (0, 12)
    vllm["engine_kwargs"]["max_model_len"] = 100
    estimate = plan(parse(tree(docs, asking(vllm))))
    (stage,) = estimate["prompts"]
    assert (stage["sample"]["too_long"], stage["tokens_in"]["total"], stage["tokens_out"]["total"]) == (12, 0, 0)
    assert "generate: 12 of 12 sampled prompts are too long for the model" in estimate["assumptions"]


def test_a_judge_of_queries_that_are_not_there_yet(tree):
    retrievers = [{"name": "source"}, {"name": "bm25", "k": 4}, {"name": "random", "k": 2}]
    judge = {"name": "judge", "engine": {"name": ECHO}, "orders": "both"}
    config = parse(
        tree(documents(30), asking({"name": ECHO}), mine={"retrievers": retrievers}, label={"teacher": judge})
    )
    generate, check, label = plan(config)["prompts"]
    assert (label["stage"], label["asks"], label["unit"]) == ("label", "judge", "queries")
    assert (generate["prompts"], label["rows"]) == (60, 60)
    # Of the 200 queries of the check there are 60, of its 100 documents 30; each is asked about in both orders.
    assert (check["stage"], check["rows"], check["prompts"]) == ("check", 60, 60 * 30 * 2)
    assert (label["prompts"], label["prompts_at_most"]) == (60 * (1 + 4 + 2) * 2, True)
    assert label["tokens_out"]["total"] == label["prompts"]


def test_a_judge_of_queries_that_no_model_writes(tree):
    retrievers = [{"name": "random", "k": 50}]
    config = parse(
        tree(
            documents(8),
            {"name": "extractive", "queries": 24, "per_doc": 3, "sentence": 0, "span": 1, "keywords": 0, "title": 0},
            mine={"retrievers": retrievers},
            label={"teacher": {"name": "annotator", "engine": {"name": ECHO}, "max_candidates": 5}},
        )
    )
    from gradret.flow import Flow

    written = Flow(config).generate.counts["rows_out"]
    check, label = plan(config)["prompts"]
    # One prompt a query, with as many candidates as there are documents.
    assert (label["rows"], label["prompts"]) == (written, written)
    assert check["stage"] == "check"


def test_a_retriever_that_does_not_tell_how_much_it_finds(tree):
    judge = {"name": "judge", "engine": {"name": ECHO}}
    retrievers = [{"name": "random"}, {"name": "tests.stages.outside:Listed"}]
    config = parse(
        tree(documents(5), asking({"name": ECHO}), mine={"retrievers": retrievers}, label={"teacher": judge})
    )
    with pytest.raises(ConfigError, match=r"mine.retrievers\[1\]: .*Listed declares neither k nor max_documents"):
        plan(config)


def test_training_queries_and_their_positives(tree):
    qrels = {"train": [("q1", "d001", 1), ("q1", "d002", 2), ("q1", "d003", 0), ("q2", "d002", 1)]}
    qrels |= {"test": [("q9", "d003", 1)]}
    retrievers = [{"name": "positives"}, {"name": "random", "k": 3}]
    judge = {"name": "judge", "engine": {"name": ECHO}}
    blocks = {"qrels": qrels, "mine": {"retrievers": retrievers}, "label": {"teacher": judge}, "check": {"queries": 0}}
    (label,) = plan(parse(tree(documents(30), {"name": "human"}, **blocks)))["prompts"]
    # q1 has two positives, the most of any query; each pair is asked about in both orders.
    assert label["prompts"] == 2 * (2 + 3) * 2
    written = {"name": "extractive", "queries": 30, "per_doc": 1}
    human = {"name": "human", "max_queries": 1}
    for generator, flag, queries in ((written, False, 30), (written, True, 32), (human, False, 1), (human, True, 2)):
        more = blocks | {"generate": {"generator": generator, "training_queries": flag}}
        (label,) = plan(parse(tree(documents(30), None, **more)))["prompts"]
        assert label["rows"] == queries


@pytest.mark.parametrize(("mode", "prompts"), [("joint", 2), ("separate", 8)])
def test_documents_for_training_queries(tree, vllm, mode, prompts):
    generator = {"name": "graded_documents", "engine": vllm, "mode": mode, "max_tokens": 100}
    qrels = {"train": [("q1", "d001", 1), ("q2", "d002", 1)], "test": [("q9", "d003", 1)]}
    (stage,) = plan(parse(tree(documents(5), generator, qrels=qrels)))["prompts"]
    assert (stage["rows"], stage["unit"], stage["prompts"]) == (2, "queries", prompts)
    assert stage["tokens_out"]["total"] == 100 * prompts


def test_documents_for_queries_that_a_model_writes_first(tree, vllm):
    generator = {"name": "graded_documents", "engine": vllm, "queries": asking(vllm), "max_queries": 15}
    first, then = plan(parse(tree(documents(10), generator)))["prompts"]
    assert (first["stage"], first["prompts"], first["prompts_at_most"]) == ("generate.queries", 20, False)
    assert (then["stage"], then["prompts"], then["prompts_at_most"]) == ("generate", 15, True)


def test_hours(tree, vllm):
    vllm["resources"] = {"engines": 3, "engine_kwargs": {"tensor_parallel_size": 2}}
    config = parse(tree(documents(10), asking(vllm, max_tokens=50)))
    (stage,) = plan(config, PlanOptions(tokens_in_per_second=100, tokens_out_per_second=10))["prompts"]
    seconds = stage["tokens_in"]["total"] / 100 + 20 * 50 / 10
    assert stage["hours"] == pytest.approx(seconds / 3600 / 3)
    assert stage["gpu_hours"] == pytest.approx(2 * seconds / 3600)
    # L4: half of 121e12 and 300e9; 2 GPUs an engine; 128 answers at once.
    (stage,) = plan(config, PlanOptions(gpu="L4", parameters=70e9))["prompts"]
    size = 4 * stage_parameters(vllm["model"])
    speed_in = 0.5 * 2 * 121e12 / (2 * 70e9)
    speed_out = min(speed_in, 128 * 0.5 * 2 * 300e9 / size)
    seconds = stage["tokens_in"]["total"] / speed_in + 1000 / speed_out
    assert stage["gpu_hours"] == pytest.approx(2 * seconds / 3600)


def stage_parameters(folder):
    from transformers import AutoModelForCausalLM

    return sum(parameter.numel() for parameter in AutoModelForCausalLM.from_pretrained(folder).parameters())


def test_hours_that_nothing_tells(tree, vllm):
    vllm["resources"] = {"cpus": 2}
    for engine in ({"name": ECHO}, vllm):
        estimate = plan(parse(tree(documents(3), asking(engine))))
        (stage,) = estimate["prompts"]
        assert (stage["hours"], stage["gpu_hours"]) == (None, None)
        assert any("so its speed is unknown; use --probe" in one for one in estimate["assumptions"])
        (line,) = [line for line in as_text(estimate).splitlines() if "llm_queries" in line]
        assert line.split()[-2:] == ["-", "-"]


def test_an_engine_whose_rows_tell_no_length(tree):
    with pytest.raises(ConfigError, match=r"load\(\) must return rows with prompt_tokens or tokenized_prompt"):
        plan(parse(tree(documents(3), asking({"name": ECHO, "lengths": False}))))


@pytest.mark.parametrize("field", ["parameters", "tokens_in_per_second", "tokens_out_per_second"])
def test_numbers_that_make_no_sense(field):
    with pytest.raises(ConfigError, match=f"--{field.replace('_', '-')}: must be above 0, got -1"):
        PlanOptions(**{field: -1.0})


def test_a_probe(tree):
    docs = documents(60, words=lambda draw: 20)
    for doc in docs[::2]:
        doc["text"] = doc["text"].rpartition(" ")[0] + " broken"
    engine = {"name": ECHO, "word": "broken", "seconds": 0.02, "resources": {"engines": 2}}
    # The engine's word is no good query, which is not what is probed here.
    generator = asking(engine, filters={"form": False, "topic": 0})
    estimate = plan(parse(tree(docs, generator)), with_probe=True)
    (stage,) = estimate["prompts"]
    probe = stage["probe"]
    # 2 prompts a document: those of 8 documents wait for the engine's start, and those of 32 are timed after it.
    assert (probe["prompts"], probe["timed"]) == (80, 64)
    broken = probe["unusable"]["engine error"]
    assert probe["unusable"] == {"engine error": broken}
    assert broken % 2 == 0
    assert 0 < broken < 80
    assert probe["tokens_out"] == pytest.approx(3 * (80 - broken) / 80)
    assert probe["tokens_in"] == pytest.approx(20 * (80 - broken) / 80)
    # One engine sleeps for each of them.
    assert probe["seconds"] >= 63 * 0.02
    assert stage["hours"] == pytest.approx(probe["seconds"] / 64 * 120 / 3600 / 2)
    assert stage["tokens_out"] == {
        "mean": probe["tokens_out"],
        "total": round(probe["tokens_out"] * 120),
        "at_most": False,
    }
    assert stage["gpu_hours"] is None
    assert f"{broken} engine error" in as_text(estimate)


def test_a_probe_of_next_to_nothing(tree):
    with pytest.raises(ConfigError, match="generate has only 10 prompts, too few to measure the speed"):
        plan(parse(tree(documents(5), asking({"name": ECHO}))), with_probe=True)


def test_nothing_is_left_behind(tree, tmp_path):
    plan(parse(tree(documents(3), asking({"name": ECHO}))))
    assert [path.name for path in (tmp_path / "storage").iterdir()] == ["artifacts"]
    made = {path.name for path in (tmp_path / "storage" / "artifacts").iterdir()}
    assert made <= {"ingest", "dedupe", "queries"}


def test_documents_alone_are_planned_without_writing_queries(tree, tmp_path):
    """Of 200 queries 50 would be held out, the fewest; of 60 a third."""
    for number, held_out in ((100, 50), (30, 20)):
        config = parse(tree(documents(number), asking({"name": ECHO}), search={"smaller": ["int8"]}))
        for table in ("queries.jsonl", "qrels"):
            path = tmp_path / "data" / table
            path.rmdir() if path.is_dir() else path.unlink()
        found = plan(config)
        rows = {stage["stage"]: stage["rows"] for stage in found["stages"]}
        assert rows["queries"] == rows["search"] == rows["smaller"] == held_out
        stored = RATES["rates"]["index"]["bytes"]
        vectors = (stored["fixed"] + number * stored["per_document"]) / 2e6
        assert f"smaller: each worker also takes up to {vectors:,.1f} MB of its temporary folder" in str(found)
    assert {path.name for path in (tmp_path / "storage" / "artifacts").iterdir()} == {"ingest", "dedupe"}


@pytest.fixture
def yaml(tree, tmp_path):
    """Writes a config file; JSON is YAML."""

    def write(*arguments, **blocks):
        path = tmp_path / "c.yaml"
        path.write_text(json.dumps(tree(*arguments, **blocks)))
        return str(path)

    return write


def test_the_command(yaml, capsys, vllm):
    path = yaml(documents(5), asking(vllm))
    assert main(["plan", path, "--json", "--parameters", "8e9", "--gpu", "H200"]) == 0
    estimate = json.loads(capsys.readouterr().out)
    assert (estimate["name"], estimate["prompts"][0]["prompts"]) == ("toy", 10)
    assert main(["plan", path, "generate.generator.kinds=[title]"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("toy: an estimate\n")
    (line,) = [line for line in text.splitlines() if line.startswith("generate  llm_queries")]
    assert line.split()[2] == "5"
    assert main(["plan", path, "--gpu", "H300"]) == 2
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .startswith("gradret: --gpu: 'H300' is not in the throughput table; did you mean")
    )


def test_nothing_asks(yaml, capsys, tmp_path):
    path = yaml(documents(3))
    prices = tmp_path / "prices.yaml"
    prices.write_text("cpu_hour: 3600000\n")
    assert main(["plan", path, "--prices", str(prices)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "toy: an estimate"
    assert lines[2].split() == ["stage", "rows", "CPU-hours", "GPU-hours", "GiB", "memory", "GB", "disk", "price"]
    (ingest,) = [line.split() for line in lines if line.startswith("ingest ")]
    assert ingest[1:3] == ["3", "documents"]
    assert main(["plan", path, "--json", "--prices", str(prices)]) == 0
    estimate = json.loads(capsys.readouterr().out)
    assert estimate["prompts"] == []
    (ingest,) = [stage for stage in estimate["stages"] if stage["stage"] == "ingest"]
    assert ingest["price"] == pytest.approx(3_600_000 * ingest["cpu_hours"])
    assert estimate["totals"]["price"] == pytest.approx(sum(stage["price"] for stage in estimate["stages"]))
    prices.write_text("gpu_hours: 2\n")
    assert main(["plan", path, "--prices", str(prices)]) == 2
    assert "did you mean 'gpu_hour'" in capsys.readouterr().err
