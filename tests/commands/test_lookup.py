"""``gradret search`` with invalid folders; the rest is tested with a complete run."""

import json

import pytest

from gradret.cli import main
from gradret.commands.lookup import lookup
from gradret.errors import ConfigError, StageError, StorageError

READ = ("ingest", "train", "index.tuned", "search.tuned")


def test_an_empty_query(tmp_path):
    with pytest.raises(ConfigError, match="the query is empty"):
        lookup(tmp_path, "  ")


@pytest.mark.parametrize(
    "lineage", [None, "", "{", "[]", "{}", '{"index.tuned": {}}', '{"index.tuned": {"path": "a"}}']
)
def test_a_folder_that_is_no_run(tmp_path, lineage):
    if lineage is not None:
        (tmp_path / "lineage.json").write_text(lineage)
    with pytest.raises(ConfigError, match=r"is not the folder of a finished run .*expected STORAGE/runs/NAME"):
        lookup(tmp_path, "query")


def test_a_run_whose_artifacts_are_gone(tmp_path):
    run = tmp_path / "storage" / "runs" / "toy"
    run.mkdir(parents=True)
    lineage = {name: {"path": f"artifacts/{name}/x"} for name in READ}
    (run / "lineage.json").write_text(json.dumps(lineage))
    with pytest.raises(StorageError, match=r"contains no finished artifact; run the command that computes it again"):
        lookup(run, "query")


def test_a_model_that_did_not_make_the_index(tmp_path):
    run = tmp_path / "storage" / "runs" / "toy"
    (run / "model").mkdir(parents=True)
    lineage = {name: {"path": f"artifacts/{name}/x"} for name in READ}
    for name in lineage:
        (tmp_path / "storage" / "artifacts" / name / "x").mkdir(parents=True)
        manifest = {"fingerprint": "x", "inputs": {"model": "train/one"}}
        (tmp_path / "storage" / "artifacts" / name / "x" / "manifest.json").write_text(json.dumps(manifest))
    (run / "lineage.json").write_text(json.dumps(lineage))
    (run / "model" / "fingerprint.txt").write_text("other\n")
    with pytest.raises(StageError, match=r"was built with train/one, but .* is other"):
        lookup(run, "query")


@pytest.mark.parametrize("queries", [[], ["two", "queries"]])
def test_the_command_takes_one_query(tmp_path, capsys, queries):
    assert main(["search", str(tmp_path), *queries]) == 2
    assert capsys.readouterr().err == 'gradret: expected one query: gradret search RUN "query"\n'
