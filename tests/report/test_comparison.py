"""The table of several datasets: means, rows of parts, marks, against scipy, statsmodels and loops."""

import numpy as np
import pytest
from scipy.stats import ttest_rel
from statsmodels.stats.multitest import multipletests

from gradret.report.comparison import as_data, compare, markdown, note, terminal_text

from .by_hand import holm

MEASURES = ["nDCG@10", "Recall@100", "judged@10"]


def part(seed, shifts, count):
    """Values of three systems: the second and third are the first moved, with noise."""
    draw = np.random.default_rng(seed)
    first = {measure: draw.random(count) for measure in MEASURES}
    moved = [
        {measure: values + shift + 0.1 * draw.standard_normal(count) for measure, values in first.items()}
        for shift in shifts
    ]
    return dict(zip(("before", "after", "other"), (first, *moved), strict=False))


def values():
    """Three rows; the second has two parts of different sizes."""
    return {
        "one": [part(1, (0.05, 0.01), 60)],
        "two": [part(2, (0.02, -0.05), 20), part(3, (0.02, 0.0), 200)],
        "three": [part(4, (-0.03, 0.03), 40)],
    }


@pytest.mark.parametrize(("test", "alternative"), [("two-sided", "two-sided"), ("one-sided", "greater")])
def test_p_values_of_a_system_are_one_family_over_rows_and_measures(test, alternative):
    given = {name: parts for name, parts in values().items() if len(parts) == 1}
    table = compare(given, MEASURES, 0, test)
    for system in ("after", "other"):
        pairs = [(row, measure) for row in given for measure in MEASURES[:2]]
        ps = [
            ttest_rel(given[row][0][system][m], given[row][0]["before"][m], alternative=alternative).pvalue
            for row, m in pairs
        ]
        found = [table.difference(row, system, measure) for row, measure in pairs]
        assert [one.p for one in found] == pytest.approx(ps, rel=1e-9)
        assert [one.p_corrected for one in found] == pytest.approx(holm(ps), rel=1e-9)
        assert [one.p_corrected for one in found] == pytest.approx(multipletests(ps, method="holm")[1], rel=1e-9)
        assert [one.significant for one in found] == [p < 0.05 for p in holm(ps)]
    assert {one.significant for one in table.differences} == {True, False}
    assert table.family == 4
    assert len(table.differences) == 8
    assert table.difference("one", "after", "judged@10") is None
    assert table.difference("one", "before", "nDCG@10") is None


def test_the_parts_of_a_row_count_the_same():
    given = values()
    table = compare(given, MEASURES, 0, "two-sided")
    one, two, three = table.rows
    assert [(row.name, row.parts, row.queries) for row in table.rows] == [
        ("one", 1, 60),
        ("two", 2, 220),
        ("three", 1, 40),
    ]
    small, large = given["two"]
    for system in table.systems:
        for measure in MEASURES:
            mean = (small[system][measure].mean() + large[system][measure].mean()) / 2
            assert two.means[system][measure].value == pytest.approx(mean, abs=1e-12)
            expected = (one.means[system][measure].value + mean + three.means[system][measure].value) / 3
            assert table.averages[system][measure] == pytest.approx(expected, abs=1e-12)
    found = table.difference("two", "after", "nDCG@10").mean
    before, after = (two.means[system]["nDCG@10"].value for system in ("before", "after"))
    assert found.value == pytest.approx(after - before, abs=1e-12)
    assert found.low < found.value < found.high


def test_intervals_are_percentiles_of_resampled_means():
    given = {"one": [part(5, (0.1,), 300)]}
    found = compare(given, MEASURES, 3, "two-sided").rows[0].means["before"]["nDCG@10"]
    draw = np.random.default_rng(11)
    column = given["one"][0]["before"]["nDCG@10"]
    resampled = [column[draw.integers(300, size=300)].mean() for _ in range(4000)]
    assert (found.low, found.high) == pytest.approx(np.percentile(resampled, [2.5, 97.5]), abs=0.004)
    assert compare(given, MEASURES, 3, "two-sided").rows[0].means["before"]["nDCG@10"] == found


def fixed(*columns):
    """Systems whose values are given: the mean and what to add to it."""
    names = ("before", "after", "other")
    spread = np.array([-0.1, 0.0, 0.1, 0.0])
    return [
        {
            n: {"nDCG@10": c + s * spread, "judged@10": np.full(4, 0.5)}
            for n, (c, s) in zip(names, columns, strict=False)
        }
    ]


def test_two_systems_stand_side_by_side():
    rows = {"scifact": fixed((0.5, 1), (0.6, 1.01)), "quora": fixed((0.7, 1), (0.7, -1))}
    table = compare(rows, ["nDCG@10", "judged@10"], 0, "two-sided")
    *lines, last = terminal_text(table).splitlines()
    assert lines == [
        "before -> after            nDCG@10         judged@10",
        "scifact          0.5000 -> 0.6000†  0.5000 -> 0.5000",
        "quora             0.7000 -> 0.7000  0.5000 -> 0.5000",
        "mean              0.6000 -> 0.6500  0.5000 -> 0.5000",
        "",
    ]
    about = "† differs from before: two-sided paired t-test over the queries, "
    few = "Few test queries (4 of scifact, 4 of quora): differences may be chance, and a test finds only large ones."
    assert last == f"{about}Holm-corrected over 2 tests per system, p < 0.05. {few}"
    assert markdown(table).splitlines()[:4] == [
        "| before -> after | nDCG@10 | judged@10 |",
        "| --- | ---: | ---: |",
        "| scifact | 0.5000 -> 0.6000† | 0.5000 -> 0.5000 |",
        "| quora | 0.7000 -> 0.7000 | 0.5000 -> 0.5000 |",
    ]
    assert note(compare({"x": rows["quora"] * 2}, ["nDCG@10"], 0, "one-sided")).startswith(
        "† is better than before: one-sided paired t-test over the queries, "
        "Holm-corrected over 1 test, p < 0.05. x: mean of 2 parts."
    )


def test_three_systems_have_a_table_a_measure_and_one_dataset_a_line_a_system():
    one = fixed((0.5, 1), (0.6, 1.01), (0.4, 1.01))
    text = terminal_text(compare({"a": one, "b": one}, ["nDCG@10", "judged@10"], 0, "two-sided"))
    assert text.splitlines()[:6] == [
        "nDCG@10  before    after    other",
        "a        0.5000  0.6000†  0.4000†",
        "b        0.5000  0.6000†  0.4000†",
        "mean     0.5000   0.6000   0.4000",
        "",
        "judged@10  before   after   other",
    ]
    alone = terminal_text(compare({"a": one}, ["nDCG@10", "judged@10"], 0, "two-sided")).splitlines()
    assert [line.split("  ")[0] for line in alone[:4]] == ["a, 4 queries", "before", "after", "other"]
    assert "0.6000† (+0.1000, p < 0.001)" in alone[2]


def test_one_query_and_one_system():
    single = {"a": [{"before": {"MAP": np.array([0.5])}, "after": {"MAP": np.array([0.7])}}]}
    table = compare(single, ["MAP"], 0, "two-sided")
    assert "0.7000 (+0.2000, p unknown)" in terminal_text(table)
    alone = compare({"a": [{"before": {"MAP": np.array([0.5, 0.6])}}]}, ["MAP"], 0, "two-sided")
    assert terminal_text(alone).splitlines()[:2] == ["a, 2 queries     MAP", "before        0.5500"]
    assert alone.differences == ()
    assert note(alone).startswith("Few test queries (2 of a)")
    many = {system: {"MAP": np.linspace(0, 1, 50)} for system in ("before",)}
    assert note(compare({"a": [many]}, ["MAP"], 0, "two-sided")) == ""


def test_what_programs_read():
    data = as_data(compare(values(), MEASURES, 0, "one-sided"))
    assert list(data) == ["datasets", "mean", "significance"]
    assert list(data["datasets"]) == ["one", "two", "three"]
    assert list(data["datasets"]["two"]) == ["queries", "parts", "systems", "intervals"]
    first = data["significance"][0]
    assert list(first) == [
        "dataset", "a", "b", "measure", "difference", "interval", "p", "p_corrected", "test", "correction",
    ]  # fmt: skip
    assert (first["dataset"], first["a"], first["b"], first["test"]) == (
        "one",
        "after",
        "before",
        "paired t, one-sided",
    )
