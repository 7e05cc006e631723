"""How many shards of a stage are worked on at a time."""

import time
from pathlib import Path

import pytest

from gradret.config.resources import Workers
from gradret.store.artifacts import Draft
from gradret.store.results import Result
from gradret.work.session import cores
from gradret.work.shards import map_shards


class Timed:
    """Writes when it began and ended a shard."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def __call__(self, number):
        begun = time.time()
        time.sleep(0.5)
        (self.folder / str(number)).write_text(f"{begun} {time.time()}")
        return Result({}, 1, 1)


@pytest.mark.parametrize(("actors", "most"), [(0, cores()), (1, 1), (cores() + 1, cores() + 1)])
def test_one_process_a_core_works_on_this_machine_unless_told_otherwise(tmp_path, ray_session, actors, most):
    draft = Draft(tmp_path / "draft", "label")
    draft.path.mkdir()
    map_shards(draft, list(range(4 * most)), lambda: Timed(tmp_path), workers=Workers(actors=actors))
    spans = [tuple(map(float, path.read_text().split())) for path in tmp_path.glob("[0-9]*")]
    assert len(spans) == 4 * most
    at_once = [sum(begun <= moment < ended for begun, ended in spans) for moment, _ in spans]
    assert max(at_once) <= most
    assert most == 1 or max(at_once) > 1
