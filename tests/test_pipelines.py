"""Every paper's pipeline with its small config, as its page says, on a few documents."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest

import gradret
from gradret.flow import Flow

from .pages import PAPERS, small_pipelines

ROOT = Path(__file__).parents[1]
FEW = ["generate.generator.queries=80", "train.epochs=1", "train.batch_size=16", "check.queries=0", "search.k=20"]
FEW += ["select.dev_share=0.2", "label.teacher={name: fusion, dense_weight: 0.0}"]
BM25 = "mine.retrievers=[{name: source}, {name: bm25, k: 8}, {name: random}]"
OWN = {"sycl": [BM25], "multiple-positives": [BM25]}


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    from .conftest import json_lines, judgments

    folder = tmp_path_factory.mktemp("collection")
    words = ["wing", "plate", "flow", "heat", "shock", "wave", "lift", "drag", "layer", "body", "shell", "load"]
    draw = np.random.default_rng(0)
    docs = [{"_id": f"d{n}", "title": "", "text": " ".join(draw.choice(words, 14)) + f" {n}."} for n in range(60)]
    queries = [{"_id": f"q{n}", "text": " ".join(docs[n]["text"].split()[:4])} for n in range(30)]
    (folder / "qrels").mkdir()
    (folder / "corpus.jsonl").write_bytes(json_lines(docs))
    (folder / "queries.jsonl").write_bytes(json_lines(queries))
    for split, own in (("train", range(20)), ("test", range(20, 30))):
        (folder / "qrels" / f"{split}.tsv").write_bytes(judgments([(f"q{n}", f"d{n}", 1) for n in own]))
    return folder


def pipeline(script):
    spec = importlib.util.spec_from_file_location(Path(script).stem, ROOT / script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("paper", PAPERS)
def test_a_papers_command_from_corpus_to_report(paper, collection, tmp_path, ray_session, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    ((_, script, config, *overrides),) = small_pipelines(paper)
    assert "dataset.path=DIR" in overrides
    overrides = [word.replace("=DIR", f"={collection}") for word in overrides]
    pipeline(script).main(config, *overrides, f"storage_path={tmp_path}", *FEW, *OWN.get(paper, []))
    said = capsys.readouterr()
    reports = [Path(line) for line in said.out.split()]
    assert all(report.is_file() for report in reports)
    assert len(reports) == (2 if paper == "multiple-positives" else 1)  # the curriculum is a run of its own
    told = re.findall(r"^[\w ,-]+: ([\d,]+)$", said.err, flags=re.MULTILINE)
    assert told
    assert all(int(number.replace(",", "")) > 0 for number in told[: -1 if len(told) > 1 else None])


def test_one_labelled_pair_a_query(collection, tmp_path, ray_session):
    """BiXSE's regime: every query has one document and its grade; no query is lost on the way."""
    overrides = ["dataset.name=beir", f"dataset.path={collection}", f"storage_path={tmp_path}", *FEW]
    overrides += ["mine.retrievers=[{name: source}]", "train.list_length=1"]
    flow = Flow(gradret.load(ROOT / "configs" / "bixse_small.yaml", overrides))
    groups = flow.select.table("groups")
    assert {len(docs) for docs in groups["doc_ids"].to_pylist()} == {1}
    trained = flow.train
    assert groups.num_rows == trained.counts["rows_out"] > 40
    assert trained.counts["quarantined"] == 0
    assert flow.mine.counts["rows_out"] == groups.num_rows + flow.select.counts["quarantined"]
    assert trained.manifest["notes"]["learned"]


def test_the_job_entry_point_with_a_teacher_that_cannot_search(collection, tmp_path, ray_session, capsys):
    from .teachers import tiny_models

    teacher = tiny_models.bert(tmp_path / "teacher")
    overrides = [
        "dataset.name=beir",
        f"dataset.path={collection}",
        f"storage_path={tmp_path}",
        "generate.generator.queries=80",
    ]
    overrides += ["train.epochs=1", "train.batch_size=16", "check.queries=0", "search.k=20", "select.dev_share=0.2"]
    overrides += [f"label.teacher={{name: cross_encoder, model: {teacher}}}", BM25, "name=crossed"]
    pipeline("pipelines/quickstart.py").main(str(ROOT / "configs" / "quickstart.yaml"), *overrides)
    report = Path(capsys.readouterr().out.strip())
    assert report.is_file()
    systems = json.loads((report.parent / "metrics.json").read_text())["systems"]
    assert set(systems) == {"bm25", "base", "tuned", "hybrid", "teacher"}  # it ranks anew what the others found
