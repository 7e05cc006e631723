"""The page of a search, from the numbers of its trials."""

import statistics

from gradret.config.experiments import Dimension, Tune
from gradret.config.run import Config
from gradret.datasets.pydocs import Pydocs
from gradret.report.trials_page import page

from .html import read
from .test_page import tables

RATES = (1e-4, 3e-3, 1e-3, 1e-2)
OBJECTIVES = (0.5, 0.75, 0.7, 0.25)


def searched():
    """A config with a search space."""
    space = (
        Dimension("train.learning_rate", low=1e-4, high=1e-2, log=True),
        Dimension("train.loss", values=("<kl>", "infonce")),
    )
    return Config(name="toy", dataset=Pydocs(), tune=Tune(space=space))


def found(loss="<kl>"):
    """What a search of it found."""
    trials = [
        {"overrides": [f"train.learning_rate={rate}", f"train.loss={loss}"], "objective": value, "epochs": 2}
        for rate, value in zip(RATES, OBJECTIVES, strict=True)
    ]
    trials[1]["confirmed"], trials[2]["confirmed"] = [0.74, 0.72, 0.73], [0.70, 0.71, 0.69]
    return {"objective": "nDCG@10 of held-out lists", "best": trials[1], "trials": trials}


def test_the_page_of_a_search():
    html = page(searched(), found())
    assert [name for name, _ in read(html).contents] == ["best", "trials", "machine", "config"]
    assert (
        "The best of 4 trials reaches nDCG@10 of held-out lists of 0.7500, and 0.7300 on average with 3 seeds "
        f"(0.7200 to 0.7400); the median of all trials is {statistics.median(OBJECTIVES):.4f}."
    ) in html
    ((head, *rows),) = tables(html)
    assert head == ["trial", "objective", "epochs", "with other seeds", "train.learning_rate", "train.loss"]
    assert [row[:2] for row in rows] == [["1", "0.7500"], ["2", "0.7000"], ["3", "0.5000"], ["4", "0.2500"]]
    assert [row[3].split()[:1] for row in rows] == [["0.7300"], ["0.7000"], [], []]
    assert {row[5] for row in rows} == {"&lt;kl&gt;"}
    # One panel: the loss is no number. The first drawing is the wide one.
    plot = html.partition("</svg>")[0]
    assert plot.count('class="tip"') == 4
    assert "<title>train.learning_rate 0.003: 0.7500</title>" in plot


def test_a_search_without_numbers_has_no_plot():
    search = found()
    for trial in search["trials"]:
        trial["overrides"] = ["train.loss=<kl>"]
    html = page(searched(), search)
    read(html)
    assert "<svg" not in html
