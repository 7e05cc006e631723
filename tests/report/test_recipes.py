"""A comparison's numbers against scipy, numpy and Holm's rule written out here."""

import dataclasses
import itertools
import random

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import ttest_rel

from gradret.config.experiments import Compare
from gradret.config.run import Config
from gradret.datasets.pydocs import Pydocs
from gradret.errors import ContractError
from gradret.report.recipes import Trial, as_data, compare_recipes, sentence, terminal_text
from gradret.report.recipes_page import page
from gradret.store import contracts

from .by_hand import holm
from .html import read

MEASURES = ("nDCG@10", "Recall@100")
QUERIES = 60


def metrics(values):
    rows = [
        {"query_id": f"q{number:02d}", "measure": measure, "value": float(value)}
        for measure, column in values.items()
        for number, value in enumerate(column)
    ]
    random.Random(1).shuffle(rows)
    return pa.Table.from_pylist(rows, contracts.schema("metrics"))


def trials(levels, seeds=(0, 1), seconds=None, examples=None):
    """Recipes whose values lie around a level; and the values, by recipe, seed and measure."""
    draw = np.random.default_rng(5)
    # What makes a query hard is common to all: that is what pairing takes out.
    hard = draw.normal(0, 0.1, QUERIES)
    found, values = [], {}
    for recipe, level in levels.items():
        for seed in seeds:
            own = {measure: level + hard + draw.normal(0, 0.02, QUERIES) for measure in MEASURES}
            values[recipe, seed] = own
            cost = (seconds or {}).get(recipe, 10.0)
            seen = (examples or {}).get(recipe, 1000)
            before = metrics({measure: np.full(QUERIES, 0.25) for measure in MEASURES})
            found.append(Trial(recipe, seed, metrics(own), before, 500, seen, cost))
    return found, values


def bm25():
    return metrics({measure: np.full(QUERIES, 0.5) for measure in MEASURES})


def config(*recipes):
    return Config(name="toy", dataset=Pydocs(), compare=Compare({name: ["train.epochs=1"] for name in recipes}))


def test_means_spread_and_significance():
    given, values = trials({"low": 0.3, "high": 0.6, "middle": 0.5}, seeds=(0, 1, 2))
    found = compare_recipes(given, bm25(), MEASURES, 0)
    assert [recipe.name for recipe in found.recipes] == ["high", "middle", "low"]
    assert (found.queries, found.seeds) == (QUERIES, (0, 1, 2))
    for recipe, measure in itertools.product(found.recipes, MEASURES):
        of_seeds = [values[recipe.name, seed][measure].mean() for seed in (0, 1, 2)]
        assert recipe.means[measure].value == pytest.approx(np.mean(of_seeds))
        assert recipe.spread[measure] == pytest.approx(np.std(of_seeds, ddof=1))
        assert recipe.means[measure].low < recipe.means[measure].value < recipe.means[measure].high
        assert recipe.before[measure] == pytest.approx(0.25)
        assert found.bm25[measure] == pytest.approx(0.5)
    mean = {(recipe, m): np.mean([values[recipe, seed][m] for seed in (0, 1, 2)], axis=0)
            for recipe in ("high", "middle", "low") for m in MEASURES}  # fmt: skip
    pairs = [(*pair, m) for pair in itertools.combinations(("high", "middle", "low"), 2) for m in MEASURES]
    ps = [ttest_rel(mean[one, m], mean[other, m]).pvalue for one, other, m in pairs]
    assert len(found.comparisons) == len(pairs)
    for (one, other, m), p, corrected in zip(pairs, ps, holm(ps), strict=True):
        pair = found.comparison(one, other, m)
        assert pair.difference == pytest.approx((mean[one, m] - mean[other, m]).mean())
        assert pair.p == pytest.approx(p)
        assert pair.p_corrected == pytest.approx(corrected)


def test_one_seed_has_no_spread():
    found = compare_recipes(trials({"one": 0.3, "two": 0.6}, seeds=(7,))[0], bm25(), MEASURES, 0)
    assert all(spread is None for recipe in found.recipes for spread in recipe.spread.values())
    assert "±" not in terminal_text(as_data(config("one", "two"), found))


def test_the_sentence_names_the_winner_where_there_is_one():
    found = compare_recipes(trials({"low": 0.3, "high": 0.6})[0], bm25(), MEASURES, 0)
    assert sentence(found) == (
        f"high has the highest nDCG@10, {found.recipes[0].means['nDCG@10'].value:.4f}, "
        "and its lead over every other recipe is significant: choose high."
    )


def test_the_sentence_says_when_a_lead_is_noise_and_what_is_cheapest():
    given, _ = trials({"one": 0.6, "two": 0.6, "low": 0.3}, seconds={"one": 20.0, "two": 20.0, "low": 1.0})
    cheap = {"one": 5.0, "two": 30.0}
    given = [t if t.recipe == "low" else Trial(**vars(t) | {"seconds": cheap[t.recipe]}) for t in given]
    found = compare_recipes(given, bm25(), MEASURES, 0)
    first, second = found.recipes[0].name, found.recipes[1].name
    text = sentence(found)
    assert f"its lead over {second} is not significant (corrected p = " in text
    assert "; low is significantly worse. " in text
    assert first in text
    assert text.endswith("The cheapest of the leaders to train is one (5 s).")


def test_unequal_budgets_are_said():
    even = compare_recipes(trials({"one": 0.3, "two": 0.6})[0], bm25(), MEASURES, 0)
    uneven = compare_recipes(trials({"one": 0.3, "two": 0.6}, examples={"two": 2000})[0], bm25(), MEASURES, 0)
    assert as_data(config("one", "two"), even)["warnings"] == []
    (unequal,) = as_data(config("one", "two"), uneven)["warnings"]
    assert "from 1,000 to 2,000 lists" in unequal


def test_few_queries_are_said():
    found = compare_recipes(trials({"one": 0.3, "two": 0.6})[0], bm25(), MEASURES, 0)
    text = terminal_text(as_data(config("one", "two"), dataclasses.replace(found, queries=10)))
    assert text.endswith("Few test queries (10): differences may be chance, and a test finds only large ones.")


def test_recipes_on_other_queries_are_refused():
    given, _ = trials({"one": 0.3, "two": 0.6})
    other = metrics({measure: np.full(QUERIES - 1, 0.5) for measure in MEASURES})
    with pytest.raises(ContractError, match="not evaluated on the same queries"):
        compare_recipes(given, other, MEASURES, 0)


def test_shares_of_judged_documents_are_shown_and_not_tested():
    given, _ = trials({"one": 0.3, "two": 0.6})
    judged = pa.Table.from_pylist(
        [{"query_id": f"q{n:02d}", "measure": "judged@10", "value": 1.0} for n in range(QUERIES)],
        contracts.schema("metrics"),
    )

    def with_judged(table):
        return pa.concat_tables([table, judged])

    more = [Trial(**vars(t) | {"metrics": with_judged(t.metrics), "before": with_judged(t.before)}) for t in given]
    found = compare_recipes(more, with_judged(bm25()), [*MEASURES, "judged@10"], 0)
    assert found.recipes[0].means["judged@10"].value == 1.0
    assert {pair.measure for pair in found.comparisons} == set(MEASURES)
    assert found.comparisons == compare_recipes(given, bm25(), MEASURES, 0).comparisons


def test_page_and_table_show_every_recipe_and_pair():
    found = compare_recipes(trials({"<b>one": 0.3, "two": 0.6, "three": 0.61})[0], bm25(), MEASURES, 0)
    settings = config("<b>one", "two", "three")
    html = page(settings, found)
    assert [name for name, _ in read(html).contents] == ["results", "significance", "cost", "settings"]
    assert "&lt;b&gt;one" in html
    assert "<b>one" not in html
    assert html.count('role="img"') == 2  # one plot, for wide and for narrow pages
    assert html.count("<tr>") + html.count('<tr class="tuned">') == 1 + 3 + 1 + 1 + 3
    assert "train.epochs=1" in html
    text = terminal_text(as_data(settings, found))
    assert [line.split("  ")[0] for line in text.splitlines()[1:5]] == [
        "bm25",
        found.recipes[0].name,
        found.recipes[1].name,
        "<b>one",
    ]
    assert f"{found.recipes[0].means['nDCG@10'].value:.4f} ± {found.recipes[0].spread['nDCG@10']:.4f}" in text
