"""``gradret search`` with invalid folders; the rest is tested with a complete run."""

import json

import pytest

from gradret.cli import main
from gradret.commands.lookup import Lookup
from gradret.errors import ConfigError, StageError, StorageError

READ = ("ingest", "train", "index.tuned", "search.tuned")


@pytest.mark.parametrize(
    "lineage", [None, "", "{", "[]", "{}", '{"index.tuned": {}}', '{"index.tuned": {"path": "a"}}']
)
def test_a_folder_that_is_no_run(tmp_path, lineage):
    if lineage is not None:
        (tmp_path / "lineage.json").write_text(lineage)
    with pytest.raises(ConfigError, match=r"is not the folder of a finished run .*expected STORAGE/runs/NAME"):
        Lookup(tmp_path)


def test_a_run_whose_artifacts_are_gone(tmp_path):
    run = tmp_path / "storage" / "runs" / "toy"
    run.mkdir(parents=True)
    lineage = {name: {"path": f"artifacts/{name}/x"} for name in READ}
    (run / "lineage.json").write_text(json.dumps(lineage))
    with pytest.raises(StorageError, match=r"contains no finished artifact; run the command that computes it again"):
        Lookup(run)


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
        Lookup(run)


@pytest.mark.parametrize("count", ["0", "-1", "x", "1.5", "\u0663"])
def test_the_number_of_documents_is_checked(tmp_path, capsys, count):
    with pytest.raises(SystemExit):
        main(["search", str(tmp_path), "words", f"--top={count}"])
    assert "expected a number from 1" in capsys.readouterr().err
