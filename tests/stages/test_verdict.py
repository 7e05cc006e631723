"""Language models whose labels have no signal stop a run."""

from dataclasses import asdict

import numpy as np
import pytest

from gradret.config.run import Check, Label
from gradret.errors import DataError
from gradret.stages.verdict import orders_sentence, require_signal, signal_sentence
from gradret.stats.orders import both_orders
from gradret.stats.signal import Scored, signal
from gradret.store.artifacts import Artifact
from gradret.teachers.judge import Judge


def labels(queries, sources=True, step=1 / 3):
    """LABELS of these queries' scores, whose first document is the source."""
    rows = [Scored(np.array(scores), range(1, len(scores) + 1), 0 if sources else None) for scores in queries]
    return Artifact("label", "x", None, {"notes": {"signal": asdict(signal(rows, step, 0))}})


@pytest.fixture
def config(settings):
    return lambda **check: settings(label=Label(teacher=Judge()), check=Check(**check))


DRAW = np.random.default_rng(0)
ALIKE = [DRAW.uniform(0.561, 0.642, 5) for _ in range(200)]
CHANCE = [DRAW.permutation([0, 1 / 3, 2 / 3, 1, 1]) for _ in range(200)]
GOOD = [np.array([1, *DRAW.integers(0, 3, 4) / 3]) for _ in range(200)]


def test_a_judge_that_grades_everything_alike_stops_the_run(config):
    with pytest.raises(DataError) as stopped:
        require_signal(config(), labels(ALIKE, sources=False))
    assert str(stopped.value).startswith(
        "label: The teacher judge grades everything alike: its highest and lowest scores differ by half a grade or "
        "more in 0 of 200 queries."
    )
    assert "check.stop=false" in str(stopped.value)
    require_signal(config(stop=False), labels(ALIKE))
    require_signal(config(), labels(ALIKE[:19], sources=False))  # too few to tell


def test_a_judge_that_ranks_source_documents_by_chance_stops_the_run(config):
    with pytest.raises(DataError, match=r"has no signal: .* in 200 of 200 queries, and it ranks the document"):
        require_signal(config(), labels(CHANCE))
    require_signal(config(), labels(CHANCE, sources=False))


def test_a_judge_that_tells_documents_apart_does_not(config):
    require_signal(config(), labels(GOOD))
    said = signal_sentence(labels(GOOD), "judge")
    assert said.startswith("The teacher judge tells documents apart: ")
    assert said.endswith("above 100% of its other candidates (50% is chance; 200 queries).")


def in_orders(noise, number=200):
    """Labels of an annotator whose second order adds noise of this scale to its scores."""
    found = labels(GOOD, sources=False)
    other = [(scores, scores + noise * DRAW.standard_normal(len(scores))) for scores in GOOD[:number]]
    found.manifest["notes"]["orders"] = asdict(both_orders(other))
    return found


def test_a_model_that_grades_places_stops_the_run(config):
    with pytest.raises(DataError, match=r"^label: The teacher judge grades places, not documents: within queries") as e:
        require_signal(config(), in_orders(5))
    assert "WARNING" not in str(e.value)
    assert orders_sentence(in_orders(5), "judge").startswith("WARNING: The teacher judge grades places")
    require_signal(config(stop=False), in_orders(5))
    require_signal(config(), in_orders(50, number=19))  # too few to tell


def test_a_model_that_the_order_sways_is_warned_of(config):
    require_signal(config(), in_orders(1))
    assert orders_sentence(in_orders(1), "judge").startswith("WARNING: The order of documents sways the teacher judge")
    assert orders_sentence(in_orders(0), "judge") == (
        "The order of documents changes little for the teacher judge: within queries, its scores of the same documents "
        "in two presentation orders correlate by 1.00 (1 if the order changes nothing, 0 if it decides; 200 queries)."
    )
    assert orders_sentence(labels(GOOD), "judge") == ""


def test_labels_of_other_teachers_are_not_looked_at(config):
    other = Artifact("label", "x", None, {"notes": {}})
    require_signal(config(), other)
    assert signal_sentence(other, "fusion") == ""
