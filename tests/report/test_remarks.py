"""What is said beside the numbers, in the terminal and in the headline."""

import pytest

from gradret.report.remarks import remarks

from ..stages.tiny import artifact

SAME = "No epoch was better than the untrained model, so the tuned model has the untrained weights."


def trained(folder, epoch):
    made = artifact(folder, "train", {})
    made.manifest["notes"] = {"best_epoch": epoch}
    return {"train": made}


@pytest.mark.parametrize(("epoch", "said"), [(0, [SAME]), (3, [])])
def test_a_tuned_model_that_is_the_untrained_one_is_said(tmp_path, epoch, said):
    assert remarks(100, trained(tmp_path, epoch)) == said


def test_generated_test_queries_are_said(tmp_path):
    (said,) = remarks(100, {"queries": artifact(tmp_path, "held_out", {})})
    assert said.startswith("The test queries are generated")
    assert remarks(100, {"queries": artifact(tmp_path, "queries", {})}) == []


@pytest.mark.parametrize(("queries", "few"), [(0, False), (1, True), (10, True), (49, True), (50, False)])
def test_few_test_queries_are_said(queries, few):
    said = remarks(queries, {})
    assert bool(said) == few
    assert not few or said[0].startswith(f"Few test queries ({queries}): differences may be chance")
