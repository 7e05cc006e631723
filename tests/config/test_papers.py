"""The papers' configs: their data and settings are those of the papers."""

import dataclasses
import runpy
from pathlib import Path

import pytest
import torch
from torch.nn import functional

import gradret
from gradret import components
from gradret.config.loading import load, override, parse
from gradret.errors import ConfigError
from gradret.losses import Lists
from gradret.losses.infonce import InfoNCE

CONFIGS = Path(gradret.__file__).parents[1] / "configs"
BASELINES = ("sycl", "sycl_small", "bixse", "bixse_small", "compare_losses")


def recipes(name):
    """Each recipe's config, by the recipe's name."""
    config = load(CONFIGS / f"{name}.yaml")
    return {recipe: override(config, overrides) for recipe, overrides in config.compare.recipes.items()}


def batch():
    """Two queries, each with a positive and two negatives that no other query has."""
    torch.manual_seed(0)
    return Lists(
        scores_QN=(torch.rand(2, 6, dtype=torch.float64) * 0.2).requires_grad_(),
        columns_QG=torch.arange(6).reshape(2, 3),
        present_QG=torch.ones(2, 3, dtype=torch.bool),
        grades_QG=torch.tensor([[1.0, 0.4, 0.0]] * 2, dtype=torch.float64),
        teacher_QG=torch.zeros(2, 3, dtype=torch.float64),
        positives_QG=torch.tensor([[True, False, False]] * 2),
        masked_QN=torch.zeros(2, 6, dtype=torch.bool),
        firsts_N=torch.arange(6) % 3 == 0,
        draws_Q=torch.zeros(2, dtype=torch.int64),
    )


@pytest.mark.parametrize("name", BASELINES)
def test_an_infonce_baseline_sees_its_hard_negatives(name):
    """It is cross-entropy over all documents of the batch, as in DPR, Tevatron and Trove."""
    alone = {
        recipe: config.train.loss[0]
        for recipe, config in recipes(name).items()
        if len(config.train.loss) == 1 and isinstance(config.train.loss[0], InfoNCE)
    }
    assert alone
    for recipe, loss in alone.items():
        given = batch()
        total, count = loss.load()(given)
        scores = given.scores_QN.detach().clone().requires_grad_()
        want = functional.cross_entropy(scores / loss.temperature, torch.tensor([0, 3]))
        assert (total / count).item() == pytest.approx(want.item(), rel=1e-12), recipe
        (ours,) = torch.autograd.grad(total / count, given.scores_QN)
        (theirs,) = torch.autograd.grad(want, scores)
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
        assert ours[0, 1:3].gt(0).all(), recipe
        assert ours[1, 4:6].gt(0).all(), recipe


def test_the_heterogeneous_regime_of_a_config_is_the_pipelines_second_step():
    human = runpy.run_path(str(CONFIGS.parent / "pipelines" / "multi_positive.py"))["HUMAN"]
    first = load(CONFIGS / "multi_positive.yaml")
    second = load(CONFIGS / "multi_positive_heterogeneous.yaml")
    model = "train.encoder.model=storage/runs/multi-positive/model"
    assert override(first, [*human, model, f"name={second.name}"]) == dataclasses.replace(second, compare=first.compare)


@pytest.mark.parametrize("name", ["multi_positive", "multi_positive_small", "multi_positive_heterogeneous"])
def test_every_loss_of_the_multi_positive_paper_is_a_recipe(name):
    losses = {recipe: type(config.train.loss[0]).__name__ for recipe, config in recipes(name).items()}
    papers = {"lse_pair": "LSEPair", "joint_lh": "JointLH", "sum_marg_lh": "SumMargLH", "rand1_lh": "Rand1LH"}
    assert losses == papers | {"single_lh": "InfoNCE"}
    single = recipes(name)["single_lh"].train
    assert single.max_positives == 1
    assert single.loss[0].hard_negatives


def test_single_lh_takes_the_document_that_the_llm_ranked_first():
    """Its list is the highest score's document and negatives; the LLM's other positives leave every sum."""
    teacher = recipes("multi_positive")["single_lh"].label.teacher
    assert (teacher.task, teacher.positive_above) == ("rank", 0.0)


def test_positives_by_the_teacher_need_a_teacher_that_names_them():
    given = {"name": "a", "dataset": {"name": "pydocs"}, "select": {"positives_by": "teacher"}}
    with pytest.raises(ConfigError, match=r"select\.positives_by: is teacher, but no threshold"):
        parse(given)
    for more in ({"positive_from": 0.5}, {"mix": [{"origin": "source", "positive": True}]}):
        assert parse(given | {"select": given["select"] | more}).select.positives_by == "teacher"


@pytest.mark.parametrize("name", ["bixse", "bixse_small"])
def test_bixse_on_one_labelled_pair_a_query_is_a_recipe(name):
    config = recipes(name)["bixse, one pair"]
    assert config.train.list_length == 1
    assert [type(loss).__name__ for loss in config.train.loss] == ["BiXSE"]


@pytest.mark.parametrize("name", components.names("losses"))
def test_lists_of_one_are_refused_before_work_starts_where_a_loss_needs_two_documents(name):
    given = {"name": "a", "dataset": {"name": "pydocs"}, "train": {"list_length": 1, "loss": [{"name": name}]}}
    if name in ("kl", "listnet", "lambdarank", "ranknet", "margin_mse"):
        with pytest.raises(ConfigError, match=rf"train\.list_length: must be at least 2 for {name}, got 1"):
            parse(given)
    else:
        assert parse(given).train.list_length == 1
