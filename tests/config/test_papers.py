"""The papers' configs: what their recipes train on and with is what the papers have."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

import gradret
from gradret.config.loading import load, override
from gradret.losses import Lists
from gradret.losses.infonce import InfoNCE

CONFIGS = Path(gradret.__file__).parents[1] / "configs"
PAPERS = ("sycl", "sycl_small", "bixse", "bixse_small", "compare_losses")


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


@pytest.mark.parametrize("name", PAPERS)
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
        assert float(total / count) == pytest.approx(float(want), rel=1e-12), recipe
        (ours,) = torch.autograd.grad(total / count, given.scores_QN)
        (theirs,) = torch.autograd.grad(want, scores)
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
        assert ours[0, 1:3].gt(0).all(), recipe
        assert ours[1, 4:6].gt(0).all(), recipe
