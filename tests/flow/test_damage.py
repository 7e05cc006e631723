"""One damaged file of a finished run: every reading command says it in one line, and the run repairs itself."""

import json
import random
import shutil
from pathlib import Path

import pytest

from gradret.cli import main

from ..small_run import command, model_bytes


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    data, draw = bytearray(path.read_bytes()), random.Random(path.name)
    bit = draw.randrange(8 * len(data))
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def junk(path):
    path.write_bytes(b"\xff\x00{[: \n\t- &*!")


# Of a lineage's artifact, or of the run's folder where there is none.
KINDS = [
    ("ingest", "docs/*.parquet", Path.unlink),
    ("ingest", "docs/*.parquet", flip),
    ("ingest", "manifest.json", junk),
    ("queries", "queries/*.parquet", cut),
    ("queries", "manifest.json", flip),
    ("train", "model/*.safetensors", flip),
    ("train", "manifest.json", cut),
    ("index.tuned", "shards/*.npy", flip),
    ("index.tuned", "shards/*.ids.arrow", cut),
    ("index.tuned", "shards/*.sha256", Path.unlink),
    ("index.tuned", "manifest.json", Path.unlink),
    ("search.tuned", "run/*.parquet", flip),
    ("evaluate.tuned", "metrics/*.parquet", junk),
    ("", "model/*.safetensors", flip),
    ("", "model/tokenizer.json", cut),
    ("", "model/modules.json", Path.unlink),
    ("", "model/config_sentence_transformers.json", junk),
    ("", "model/fingerprint.txt", Path.unlink),
    ("", "model", shutil.rmtree),
    ("", "config.yaml", junk),
    ("", "config.yaml", Path.unlink),
    ("", "lineage.json", cut),
    ("", "metrics.json", junk),
]


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[0]}:{kind[1]}:{kind[2].__name__}")
def damaged(request, finished, storage, tmp_path):
    """A copy of the finished run with one kind of damage."""
    shutil.copytree(storage, tmp_path / "storage")
    name, pattern, harm = request.param
    run = tmp_path / "storage" / "runs" / finished.name
    lineage = json.loads((run / "lineage.json").read_text())
    folder = tmp_path / "storage" / lineage[name]["path"] if name else run
    harm(next(path for path in [folder / pattern, *sorted(folder.glob(pattern))] if path.exists()))
    return run


def said(capsys, *arguments):
    """What a command says when it fails, in a line, or in one for each dataset and model; empty if it works."""
    status = main([str(argument) for argument in arguments])
    lines = capsys.readouterr().err.splitlines()
    assert "Traceback" not in "\n".join(lines)
    failures = [number for number, line in enumerate(lines) if line.startswith("gradret: ")]
    assert len(failures) == (status != 0)
    if not failures:
        return ""
    assert lines[failures[0]] == "gradret: not available:" or failures[0] == len(lines) - 1
    return "\n".join(lines[failures[0] :])


def test_every_command_says_it_in_a_line_or_works_and_the_run_repairs_itself(
    ray_session, damaged, dataset, finished, tmp_path, capsys
):
    storage = damaged.parents[1]
    evaluation = tmp_path / "evaluation.yaml"
    evaluation.write_text(
        f"name: one\nstorage_path: {storage}\ndatasets:\n  small: {{name: beir, path: {dataset}}}\n"
        f"systems:\n  tuned: {{model: {damaged}}}\n  bm25: {{bm25: true}}\n"
    )
    for arguments in [
        ("search", damaged, "wait for a process"),
        ("export", damaged, tmp_path / "given"),
        ("evaluate", evaluation),
        command("plan", dataset, storage)[3:],
    ]:
        line = said(capsys, *arguments)
        assert not line or str(storage) in line
    line = said(capsys, *command("run", dataset, storage)[3:])
    if line:  # whose results a folder holds is not known without its config
        assert "config.yaml" in line
        assert "delete that folder" in line
        shutil.rmtree(damaged)
        assert not said(capsys, *command("run", dataset, storage)[3:])
    assert not said(capsys, "search", damaged, "wait for a process")
    assert model_bytes(damaged) == model_bytes(finished)
    mine, theirs = (json.loads((folder / "metrics.json").read_text()) for folder in (damaged, finished))
    assert mine["systems"] == theirs["systems"]
    assert mine["significance"] == theirs["significance"]
