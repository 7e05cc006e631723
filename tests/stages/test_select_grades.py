"""From scores to grades, against closed forms, plain loops and pandas.qcut."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from gradret.config.select import Select
from gradret.errors import DataError
from gradret.lists.grades import grades, marks

from . import scored

SCORES = np.random.default_rng(3).normal(2, 3, 500).astype(np.float32).astype(np.float64)


def graded(settings, scores, of=None):
    return grades(settings, marks(settings, (scores if of is None else of).copy()), scores).tolist()


def percentile(values, percent):
    """By linear interpolation between two order statistics."""
    ranked = sorted(values)
    place = percent / 100 * (len(ranked) - 1)
    below = int(place)
    above = min(below + 1, len(ranked) - 1)
    return ranked[below] + (place - below) * (ranked[above] - ranked[below])


def test_scaled_is_linear_between_the_percentiles_and_clipped():
    low, high = percentile(SCORES, 5), percentile(SCORES, 80)
    want = [min(1.0, max(0.0, (score - low) / (high - low))) for score in SCORES]
    assert graded(Select(low=5, high=80), SCORES) == pytest.approx(want, abs=1e-12)


def test_thresholds_count_what_a_score_reaches():
    settings = Select(grades="thresholds", thresholds=(-1.0, 0.5, 3.0))
    assert graded(settings, np.array([-1.1, -1.0, 0.4, 0.5, 2.9, 3.0, 9.0])) == [
        0, 1 / 3, 1 / 3, 2 / 3, 2 / 3, 1, 1,
    ]  # fmt: skip


@pytest.mark.parametrize("levels", [2, 3, 4, 7])
def test_quantiles_are_the_bins_of_pandas(levels):
    codes = pd.qcut(SCORES, levels, labels=False)
    found = graded(Select(grades="quantiles", levels=levels), SCORES)
    assert found == pytest.approx((codes / (levels - 1)).tolist())
    assert np.ptp(np.unique(found, return_counts=True)[1]) <= 1


def test_scores_that_are_grades_stay_and_others_are_refused():
    settings = Select(grades="as_is")
    assert graded(settings, np.array([0, 0.25, 1])) == [0, 0.25, 1]
    for score in (1.5, -0.1):
        with pytest.raises(DataError, match=rf"requires scores from 0 to 1, but the teacher gave {score}; set"):
            graded(settings, np.array([0.5, score]))


@pytest.mark.parametrize("how", [{}, {"grades": "quantiles"}, {"grades": "quantiles", "levels": 2}])
def test_scores_that_would_all_get_one_grade_have_no_marks(how):
    assert marks(Select(**how), np.full(9, 0.5)) is None
    # Nearly all: no percentile is below the most frequent score, and none of the others is above it.
    assert marks(Select(**how), np.array([0.0] + [1.0] * 200)) is None
    assert marks(Select(**how), np.array([0.0] * 3 + [1.0] * 3)) is not None


def test_few_levels_are_filled_where_a_score_is_frequent():
    scores = np.array([0.0] * 6 + [1.0] * 4)
    assert graded(Select(grades="quantiles", levels=2), scores) == scores.tolist()


# Over all queries, those of a kind, or one


def wanted(world, scope, low, high):
    """Grades by query and document, by loops."""
    pools = {}
    for query_id, one in world.items():
        key = {"all": 0, "kind": one.kind, "query": query_id}[scope]
        pools.setdefault(key, []).extend(found.score for found in one.pool.values() if found.score is not None)
    made = {}
    for query_id, one in world.items():
        pool = pools[{"all": 0, "kind": one.kind, "query": query_id}[scope]]
        bounds = percentile(pool, low), percentile(pool, high)
        made[query_id] = {
            doc_id: min(1.0, max(0.0, (found.score - bounds[0]) / (bounds[1] - bounds[0])))
            for doc_id, found in one.pool.items()
            if found.score is not None
        }
    return made


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("scope", ["all", "kind", "query"])
def test_percentiles_are_taken_over_their_scope(settings, scope):
    world = scored.world()
    found = scored.selected(settings(select=Select(normalise=scope, low=10, high=85, dev_share=0.3)), world)
    rows, want = scored.lists(found), wanted(world, scope, 10, 85)
    assert rows.keys() == world.keys()
    for query_id, row in rows.items():
        assert dict(zip(row["doc_ids"], row["grades"], strict=True)) == pytest.approx(want[query_id], abs=1e-6)
    assert set(found.manifest["notes"]["percentiles"]) == {
        "all": {"all"}, "kind": {"claim", "title", "no kind"}, "query": set(),
    }[scope]  # fmt: skip


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("scope", ["all", "kind"])
def test_percentiles_are_those_of_the_queries_that_the_filters_keep(settings, scope):
    """Tamber et al. filter first: a query that is not trained with moves no grade of another."""
    world = scored.world()
    chosen = Select(normalise=scope, low=10, high=85, max_words=3, dev_share=0.3)
    kept = {query_id: one for query_id, one in world.items() if len(one.text.split()) <= 3}
    assert len(world) / 4 < len(kept) < len(world) * 3 / 4
    rows, want = scored.lists(scored.selected(settings(select=chosen), world)), wanted(kept, scope, 10, 85)
    assert rows.keys() == kept.keys()
    for query_id, row in rows.items():
        assert dict(zip(row["doc_ids"], row["grades"], strict=True)) == pytest.approx(want[query_id], abs=1e-6)
    others = wanted(world, scope, 10, 85)
    assert any(others[query_id] != pytest.approx(want[query_id], abs=0.01) for query_id in kept)


def alike(world, chosen):
    """The world with one score for all documents of the chosen queries."""
    return {
        query_id: dataclasses.replace(
            one, pool={doc_id: dataclasses.replace(found, score=0.5) for doc_id, found in one.pool.items()}
        )
        if chosen(one)
        else one
        for query_id, one in world.items()
    }


@pytest.mark.usefixtures("ray_session")
def test_a_kind_of_one_score_is_refused_and_a_query_of_one_score_is_set_aside(settings):
    titles = alike(scored.world(), lambda one: one.kind == "title")
    with pytest.raises(DataError, match=r"the same score, 0\.5, .* of queries of the kind 'title', so a student"):
        scored.selected(settings(select=Select(normalise="kind")), titles)
    found = scored.selected(settings(select=Select(normalise="query", dev_share=0.3)), titles)
    assert {query_id: reason for query_id, (reason, _) in scored.dropped(found).items()} == {
        query_id: "all scores of the query (nearly) the same" for query_id, one in titles.items() if one.kind == "title"
    }


@pytest.mark.usefixtures("ray_session")
def test_a_score_that_is_no_grade_stops_the_stage(settings):
    with pytest.raises(DataError, match=r"set select\.grades to scaled"):
        scored.selected(settings(select=Select(grades="as_is")), scored.world())
