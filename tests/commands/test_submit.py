"""What a job needs is there before it starts: files that do not travel are refused."""

import subprocess

import pytest

from gradret.commands.submit import submit
from gradret.errors import ConfigError, DataError, StageError
from gradret.work.shards import _placed

ADDRESS = "http://127.0.0.1:9"  # nothing listens: a config that is accepted fails there


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A git repository with a config, data and a model; the model's weights are ignored."""
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    (tmp_path / ".gitignore").write_text("*.safetensors\nscratch/\n")
    (tmp_path / "run.yaml").write_text(f"name: toy\nstorage_path: {tmp_path / 'storage'}\ndataset: {{name: pydocs}}\n")
    for name in ("whole/model.bin", "weights/model.safetensors", "scratch/model.bin"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("x")
    return tmp_path


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("weights", "weights/model.safetensors"),
        ("scratch", "scratch/model.bin"),
        ("./weights", "weights/model.safetensors"),
    ],
)
def test_a_model_that_does_not_travel_is_refused(folder, model, named):
    with pytest.raises(ConfigError, match=f"{named} does not travel with the job, since .gitignore names it; put"):
        submit("run.yaml", [f"train.encoder.model={model}"], ADDRESS)


def test_a_template_outside_the_folder_is_refused(folder):
    (folder.parent / "outside.jinja").write_text("x")
    with pytest.raises(ConfigError, match=r"outside.jinja is not in .*, the folder that travels with the job; copy it"):
        submit(
            "run.yaml",
            ["label.teacher={name: judge, engine: {name: openai, model: m}, template: ../outside.jinja}"],
            ADDRESS,
        )


@pytest.mark.parametrize("overrides", [["train.encoder.model=whole"], ["storage_path=s3://bucket/x"]])
def test_what_travels_or_is_everywhere_is_accepted(folder, overrides):
    with pytest.raises(StageError, match="no Ray cluster answers"):
        submit("run.yaml", overrides, ADDRESS)


def test_a_relative_storage_is_refused(folder):
    with pytest.raises(ConfigError, match="storage_path: must be a URL, or an absolute path that all nodes"):
        submit("run.yaml", ["storage_path=storage"], ADDRESS)


def test_an_error_of_another_node_names_it():
    import platform

    assert str(_placed(DataError("x is missing"), "node7")) == "x is missing (on node node7)"
    said = str(_placed(FileNotFoundError(2, "No such file", "/data/x"), "node7"))
    assert said == "/data/x is missing on node node7; put it there, at the same path"
    assert str(_placed(DataError("x is missing"), platform.node())) == "x is missing"
