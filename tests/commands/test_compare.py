import json

import numpy as np
import pytest

from gradret.commands.compare import compare
from gradret.config.loading import override
from gradret.errors import ConfigError
from gradret.flow import Flow

SMALL = {
    "generate": {"generator": {"name": "extractive", "queries": 60}},
    "mine": {"retrievers": [{"name": "source"}, {"name": "bm25", "k": 8}, {"name": "random"}]},
    "label": {"teacher": {"name": "fusion", "dense_weight": 0.0}},
    "check": {"queries": 0},
    "select": {"dev_share": 0.2},
    "train": {
        "epochs": 1,
        "batch_size": 8,
        "list_length": 6,
        "dev_docs": 10,
        "encoder": {"name": "static", "lexical": 16},
    },
    "evaluate": {"measures": ["nDCG@10", "Recall@100"]},
}
RECIPES = {"kl": ["train.loss=[{name: kl}]"], "infonce": ["train.loss=[{name: infonce}]"]}


@pytest.fixture
def collection(beir):
    words = ["wing", "plate", "flow", "heat", "shock", "wave", "lift", "drag", "layer", "body", "shell", "load"]
    draw = np.random.default_rng(0)
    docs = [
        {"_id": f"d{n}", "title": "", "text": " ".join(draw.choice(words, 12)) + f" number {n}."} for n in range(40)
    ]
    queries = [{"_id": f"q{n}", "text": " ".join(draw.choice(words, 3))} for n in range(6)]
    return beir(docs, queries, {"test": [(f"q{n}", f"d{n}", 1) for n in range(6)]})


def made(storage, stage):
    return sorted(path.parent.name for path in (storage / "artifacts" / stage).glob("*/manifest.json"))


def test_recipes_share_what_they_can_and_are_measured_alike(collection, config, tmp_path, ray_session):
    both = config(collection, **SMALL, compare={"recipes": RECIPES, "seeds": [0, 3], "resources": {"concurrent": 2}})
    folder = compare(both)
    assert folder == tmp_path / "storage" / "comparisons" / "toy"
    storage = tmp_path / "storage"
    for stage in ("generate", "mine", "label", "select"):
        assert len(made(storage, stage)) == 1, stage
    trained = made(storage, "train")
    assert len(trained) == 4
    found = json.loads((folder / "comparison.json").read_text())
    assert found["seeds"] == [0, 3]
    for name, overrides in RECIPES.items():
        values = []
        for seed in (0, 3):
            flow = Flow(override(both, [*overrides, f"train.seed={seed}"]))
            rows = flow.evaluated("tuned").table("metrics").to_pylist()
            values.append(np.mean([row["value"] for row in rows if row["measure"] == "nDCG@10"]))
            assert flow.train.fingerprint in trained
        side = found["recipes"][name]
        assert side["measures"]["nDCG@10"] == pytest.approx(np.mean(values))
        assert side["spread"]["nDCG@10"] == pytest.approx(np.std(values, ddof=1))
        assert side["overrides"] == overrides
        steps = -(-flow.train.counts["train"] // 8)
        assert side["examples"] == steps * 8
    assert "kl" in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("recipes", "said"),
    [
        ({"one": []}, "expected two or more, got 1"),
        ({"one": [], "two": ["train.loss=[{name: kll}]"]}, "compare.recipes.two: train.loss"),
        (
            {"one": [], "two": ["dataset.split=dev"]},
            "two: must not set dataset: recipes are compared on the same queries",
        ),
        ({"one": [], "two": ["evaluate.measures=[MAP]"]}, "compare.recipes.two: must not set evaluate"),
        ({"one": ["nonsense"], "two": ["train.epochs=0"]}, "compare.recipes.one: 'nonsense'"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_before_anything_runs(collection, config, tmp_path, recipes, said):
    with pytest.raises(ConfigError) as refused:
        compare(config(collection, **SMALL, compare={"recipes": recipes}))
    assert said in str(refused.value)
    assert not (tmp_path / "storage").exists()


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_seeds_must_differ(collection, config, seeds):
    with pytest.raises(ConfigError, match=r"compare\.seeds: must be one or more distinct numbers"):
        config(collection, compare={"recipes": RECIPES, "seeds": seeds})
