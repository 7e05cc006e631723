"""``gradret evaluate`` on a list of datasets: a run's models, BM25 and a run file on two datasets."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from gradret.search.trec import read_run

from ..small_run import ROOT, made

SYSTEMS = ["before", "after", "bm25", "elsewhere"]


@pytest.fixture(scope="module")
def yaml(finished, dataset, storage, tmp_path_factory):
    """The run's own dataset, and one with a tenth of its queries, of which one is found nothing for elsewhere."""
    folder = tmp_path_factory.mktemp("evaluation")
    shutil.copytree(dataset, folder / "few")
    qrels = folder / "few" / "qrels" / "test.tsv"
    head, *lines = qrels.read_text().splitlines()
    few = sorted({line.split("\t")[0] for line in lines})[::10]
    qrels.write_text("\n".join([head, *(line for line in lines if line.split("\t")[0] in few)]) + "\n")
    found = (finished / "runs" / "tuned.trec").read_text().splitlines(keepends=True)
    for name, without in (("whole", ""), ("few", few[0])):
        (folder / f"{name}.trec").write_text("".join(line for line in found if line.split()[0] != without))
    path = folder / "evaluation.yaml"
    text = {
        "name": "both",
        "storage_path": str(storage),
        "datasets": {
            name: {"name": "beir", "path": str(f)} for name, f in (("whole", dataset), ("few", folder / "few"))
        },
        "systems": {
            "before": {"model": str(finished), "version": "base"},
            "after": {"model": str(finished)},
            "bm25": {"bm25": True},
            "elsewhere": {"run": str(folder / "{dataset}.trec")},
        },
        "search": {"k": 100},
        "evaluate": {"measures": ["nDCG@10", "MAP"]},
    }
    path.write_text(json.dumps(text))
    return path


def evaluate(*words, script=("-m", "gradret.cli", "evaluate")):
    return subprocess.run(
        [sys.executable, *script, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ,
    )


@pytest.fixture(scope="module")
def done(yaml):
    done = evaluate(yaml, "--json")
    assert done.returncode == 0, done.stderr
    return done


def test_what_the_run_made_is_found_again(done):
    # Of the run's own dataset only the measures are new; of the other one, models are not made again.
    whole, _, few = done.stderr.partition("few (2 of 2)\n")
    names = made(subprocess.CompletedProcess([], 0, "", whole))
    assert names == ["evaluate", "evaluate", "evaluate", "run_file", "evaluate"]
    assert not {"base", "train"} & set(made(subprocess.CompletedProcess([], 0, "", few)))


def test_the_numbers_are_those_of_the_run(done, finished):
    ours, theirs = json.loads(done.stdout), json.loads((finished / "metrics.json").read_text())
    assert list(ours) == ["name", "baseline", "measures", "datasets", "mean", "significance", "counts"]
    assert ours["measures"] == ["nDCG@10", "MAP", "judged@10"]
    row = ours["datasets"]["whole"]
    assert list(row["systems"]) == SYSTEMS
    for own, other in (("before", "base"), ("after", "tuned"), ("bm25", "bm25"), ("elsewhere", "tuned")):
        for measure in ours["measures"]:
            assert row["systems"][own][measure] == pytest.approx(theirs["systems"][other][measure], abs=1e-12)
    assert ours["counts"]["few"]["systems"]["elsewhere"]["without_results"] == 1
    assert ours["counts"]["whole"]["systems"]["after"] == {}


def test_what_the_folder_holds(done, storage, yaml):
    folder = storage / "evaluations" / "both"
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "config.yaml", "lineage.json", "table.md", "report.html", "metrics.json", "per_query.tsv", "runs",
    }  # fmt: skip
    assert (folder / "metrics.json").read_text() == done.stdout
    metrics = json.loads(done.stdout)
    head, *lines = (folder / "per_query.tsv").read_text().splitlines()
    assert head.split("\t") == ["dataset", "query_id", "system", "measure", "value"]
    values = [line.split("\t") for line in lines]
    own = [float(v[4]) for v in values if v[0] == "few" and v[2:4] == ["bm25", "MAP"]]
    assert len(own) == metrics["datasets"]["few"]["queries"]
    assert sum(own) / len(own) == pytest.approx(metrics["datasets"]["few"]["systems"]["bm25"]["MAP"])
    written = read_run(folder / "runs" / "whole" / "elsewhere.trec")
    columns = ["query_id", "doc_id", "score", "rank"]
    assert written.select(columns) == read_run(yaml.parent / "whole.trec").select(columns)
    page = (folder / "report.html").read_text()
    assert page.count("<html") == 1
    for outside in ('src="http', 'href="http', "@import", "<script src", "url(http"):
        assert outside not in page
    assert "elsewhere: 1 judged queries without results" in page


def test_again_nothing_is_made_and_the_script_gives_the_same(done, yaml, storage):
    before = (storage / "evaluations" / "both" / "metrics.json").read_bytes()
    again = evaluate(yaml)
    assert again.returncode == 0, again.stderr
    assert made(again) == []
    assert again.stdout.startswith("nDCG@10  before")
    script = evaluate(yaml, script=["pipelines/evaluate.py"])
    assert script.returncode == 0, script.stderr
    assert made(script) == []
    assert script.stdout.split("\n\n")[:-1] == again.stdout.split("\n\n")[:-1]
    assert (storage / "evaluations" / "both" / "metrics.json").read_bytes() == before


def test_every_dataset_is_searched_with_the_model_of_its_corpus(done, yaml, storage, finished):
    """Table 2: one trained model per corpus. The one for ``few`` has the base model's weights as its trained ones."""
    lineage = json.loads((finished / "lineage.json").read_text())
    for name, train in (("own-whole", "train"), ("own-small", "base")):
        folder = storage / "runs" / name
        folder.mkdir(exist_ok=True)
        (folder / "lineage.json").write_text(json.dumps(lineage | {"train": lineage[train]}))
    own = ["name=own", "systems.bm25=null", "systems.elsewhere=null", "corpora={few: small}"]
    model = f"systems.after.model={storage}/runs/own-{{corpus}}"
    found = evaluate(yaml, *own, model, "--json")
    assert found.returncode == 0, found.stderr
    got, first = (json.loads(one.stdout)["datasets"] for one in (found, done))
    assert got["whole"]["systems"]["after"] == pytest.approx(first["whole"]["systems"]["after"], abs=1e-12)
    assert got["few"]["systems"]["after"] == pytest.approx(first["few"]["systems"]["before"], abs=1e-12)
    assert first["few"]["systems"]["after"] != pytest.approx(first["few"]["systems"]["before"], abs=1e-3)
    # By a dataset's own name there is no model for ``few``, which is said before any work.
    missing = evaluate(yaml, *own, "name=other", model.replace("corpus", "dataset"))
    assert missing.returncode == 2
    assert f"after: model '{storage}/runs/own-few' is not a local folder" in missing.stderr
    assert made(missing) == []


def test_a_run_of_another_storage_is_taken_as_a_model(done, yaml, tmp_path):
    overrides = ["datasets.whole=null", "systems.bm25=null", "systems.elsewhere=null", f"storage_path={tmp_path}"]
    moved = evaluate(yaml, *overrides, "--json")
    assert moved.returncode == 0, moved.stderr
    assert made(moved).count("base") == 2
    found, first = (json.loads(one.stdout)["datasets"]["few"]["systems"] for one in (moved, done))
    assert found == {
        system: {measure: pytest.approx(value, abs=1e-9) for measure, value in first[system].items()}
        for system in ("before", "after")
    }
