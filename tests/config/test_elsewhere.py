"""Keys at the wrong place."""

import pytest

from gradret import components
from gradret.config.loading import parse
from gradret.errors import ConfigError

GOOD = {"name": "a", "dataset": {"name": "pydocs"}}


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"learning_rate": 1}, "did you mean 'train.learning_rate' or 'train_teacher.learning_rate'?"),
        ({"encoder": {}}, "encoder: 'encoder' is not a key here; did you mean 'train.encoder'?"),
        ({"train": {"model": "x"}}, "train.model: 'model' is not a key here; did you mean 'train.encoder.model'?"),
        ({"train": {"epoch": 1}}, "train.epoch: 'epoch' is not a key here; did you mean 'epochs'?"),
        ({"train": {"zzz": 1}}, "train.zzz: 'zzz' is not a key here; known: loss, epochs, "),
        ({"dataset": {"path": "x"}}, "got {'path': 'x'}; path: of beir, "),
    ],
)
def test_it_is_told_where_it_belongs(tree, said):
    with pytest.raises(ConfigError) as error:
        parse(GOOD | tree)
    assert said in str(error.value)


def test_a_long_list_of_names_is_cut_to_the_nearest():
    known = [f"measure{n}" for n in range(40)] + ["zebra"]
    assert components.unknown("zzzz", known, "one").startswith("'zzzz' is not one; the nearest of 41: zebra, ")
    assert components.unknown("zzzz", known[:3], "one") == "'zzzz' is not one; known: measure0, measure1, measure2"
