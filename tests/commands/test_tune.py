import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gradret
from gradret.commands.tune import tune
from gradret.config.loading import override, to_yaml
from gradret.errors import ConfigError
from gradret.flow import Flow

from ..processes import kill_tree, wait_until
from .test_compare import SMALL, collection, made  # noqa: F401 - a fixture

RATES = {"key": "train.learning_rate", "values": [1e-6, 2e-2]}


def search(settings, **more):
    return {"space": settings, "trials": 2, "search": "random", "confirm": 1, "seeds": [0, 4], **more}


def test_a_search_within_training_leaves_the_better_config(collection, config, tmp_path, ray_session):  # noqa: F811
    given = config(collection, **SMALL | {"train": SMALL["train"] | {"epochs": 2}}, tune=search([RATES], trials=6))
    folder = tune(given)
    found = json.loads((folder / "search.json").read_text())
    storage = tmp_path / "storage"
    for stage in ("generate", "mine", "label", "select"):
        assert len(made(storage, stage)) == 1, stage
    assert {trial["overrides"][0] for trial in found["trials"]} == {
        "train.learning_rate=1e-06",
        "train.learning_rate=0.02",
    }
    best = max(found["trials"], key=lambda trial: trial["objective"])
    assert found["best"]["overrides"] == best["overrides"]
    # The objective is what the training itself says, and confirming looks at all documents.
    trained = Flow(override(given, best["overrides"])).train.manifest["notes"]
    assert best["objective"] == pytest.approx(trained["best_dev_ndcg"])
    for seed, value in zip((0, 4), found["best"]["confirmed"], strict=True):
        again = override(given, [*best["overrides"], f"train.seed={seed}", "train.dev_docs=40"])
        assert value == pytest.approx(Flow(again).train.manifest["notes"]["best_dev_ndcg"])
    chosen = gradret.load(folder / "best.yaml")
    assert chosen == override(given, best["overrides"])
    # A second search finds all trials done.
    before = made(storage, "train")
    assert tune(given) == folder
    assert made(storage, "train") == before


def test_a_killed_search_goes_on_and_stopped_trials_hold_nothing(collection, config, tmp_path):  # noqa: F811
    # On few cores: the CPU of every stopped trial is needed by another one.
    rates = {"key": "train.learning_rate", "low": 1e-6, "high": 2e-2, "log": True}
    more = {"train": SMALL["train"] | {"epochs": 3, "patience": 3}}
    given = config(collection, **SMALL | more, tune=search([rates], trials=3, seeds=[0]))
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(given), encoding="utf-8")
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    run = begun(path, first)
    states = tmp_path / "storage" / "searches" / given.name / "ray"
    files = "*/experiment_state-*"
    wait_until(lambda: any("TERMINATED" in path.read_text() for path in states.glob(files)), run, first)
    kill_tree(run)
    assert begun(path, second).wait() == 0, second.read_text()
    said = second.read_text()
    assert "tune: resuming the interrupted search" in said
    assert "tune: 1 of 3" not in said
    assert "tune: 3 of 3 trials" in said
    found = json.loads((tmp_path / "storage" / "searches" / given.name / "search.json").read_text())
    epochs = [trial["epochs"] for trial in found["trials"]]
    assert len(epochs) == 3
    assert sum(number < max(epochs) for number in epochs) >= 1, epochs


def begun(path, said):
    """``gradret tune`` in a session of its own."""
    with said.open("w") as file:
        command = [sys.executable, "-m", "gradret.cli", "tune", str(path)]
        return subprocess.Popen(command, stdout=file, stderr=file, cwd=Path(gradret.__file__).parents[1])


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ([], "tune.space: must not be empty"),
        ([{"key": "train.loss", "values": [[{"name": "kll"}]]}], "tune.space, train.loss: train.loss[0].name"),
        ([{"key": "train.epochz", "values": [1]}], "tune.space, train.epochz"),
        (
            [{"key": "train.dev_docs", "values": [1]}],
            "tune.space, train.dev_docs: cannot be searched, as it decides how trials are measured",
        ),
        ([{"key": "train.epochs", "low": 0, "high": 3, "whole": True}], "tune.space, train.epochs: train.epochs"),
    ],
)
def test_a_space_that_cannot_be_is_refused_before_anything_runs(collection, config, tmp_path, space, said):  # noqa: F811
    with pytest.raises(ConfigError) as refused:
        tune(config(collection, **SMALL, tune=search(space)))
    assert said in str(refused.value)
    assert not (tmp_path / "storage").exists()


def test_a_choice_by_loss_gives_trials_nothing_to_be_measured_by(collection, config, tmp_path):  # noqa: F811
    given = config(collection, **SMALL | {"train": SMALL["train"] | {"choose_by": "dev_loss"}}, tune=search([RATES]))
    with pytest.raises(ConfigError, match="choose_by: is dev_loss, but trials are measured by dev_ndcg; set"):
        tune(given)
    assert not (tmp_path / "storage").exists()


@pytest.mark.parametrize(
    ("dimension", "said"),
    [
        ({"key": "dataset.path", "values": ["a"]}, "must be a key of dedupe"),
        ({"key": "train.epochs"}, "set either values, or low and high"),
        ({"key": "train.epochs", "values": [1], "low": 1, "high": 2}, "set either values, or low and high"),
        ({"key": "train.learning_rate", "low": 2, "high": 1}, "must be above low=2"),
        ({"key": "train.learning_rate", "low": 0, "high": 1, "log": True}, "requires low above 0"),
    ],
)
def test_a_dimension_that_cannot_be_drawn_from_is_refused(collection, config, dimension, said):  # noqa: F811
    with pytest.raises(ConfigError, match=said):
        config(collection, tune={"space": [dimension]})


def test_beyond_training_judged_queries_are_needed(collection, config, ray_session):  # noqa: F811
    given = config(collection, **SMALL, tune=search([{"key": "select.high", "values": [90.0, 100.0]}]))
    with pytest.raises(ConfigError, match="the dataset has none in its splits dev and train"):
        tune(given)


def test_queries_that_are_trained_on_do_not_judge(beir, config, ray_session):
    docs = [{"_id": f"d{n}", "title": "", "text": f"wing plate flow heat number {n}."} for n in range(20)]
    queries = [{"_id": f"q{n}", "text": f"wing flow number {n}"} for n in range(9)]
    splits = {"test": range(3), "train": range(3, 9)}
    folder = beir(docs, queries, {split: [(f"q{n}", f"d{n}", 1) for n in own] for split, own in splits.items()})
    human = {"generate": {"generator": {"name": "human"}}, "mine": SMALL["mine"] | {"leak_similarity": 0}}
    given = config(folder, **SMALL | human, tune=search([{"key": "select.high", "values": [90.0, 100.0]}]))
    with pytest.raises(ConfigError, match="the dataset has none in its splits dev and train"):
        tune(given)


def test_beyond_training_trials_are_judged_by_dev_queries(beir, config, ray_session):
    words = ["wing", "plate", "flow", "heat", "shock", "wave", "lift", "drag", "layer", "body", "shell", "load"]
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(words, 12)) for _ in range(40)]
    docs = [{"_id": f"d{n}", "title": "", "text": f"{text} number {n}."} for n, text in enumerate(texts)]
    queries = [{"_id": f"q{n}", "text": " ".join(texts[n].split()[:3])} for n in range(9)]
    splits = {"test": range(3), "dev": range(3, 9)}
    folder = beir(docs, queries, {split: [(f"q{n}", f"d{n}", 1) for n in own] for split, own in splits.items()})
    space = [{"key": "select.high", "values": [90.0, 100.0]}]
    given = config(folder, **SMALL, tune=search(space, trials=3, seeds=[0]))
    found = json.loads((tune(given) / "search.json").read_text())
    assert found["objective"] == "nDCG@10 of judged dev queries"
    best = override(given, found["best"]["overrides"])
    on_dev = override(best, ["dataset.split=dev"])
    rows = Flow(on_dev).evaluated("tuned").table("metrics").to_pylist()
    want = np.mean([row["value"] for row in rows if row["measure"] == "nDCG@10"])
    assert found["best"]["objective"] == pytest.approx(want)
    assert found["best"]["confirmed"] == pytest.approx([want])  # the run's own seed is 0
