import random

import pytest

from gradret.config.run import Config
from gradret.datasets.pydocs import Pydocs

from . import outside, tiny


@pytest.fixture(scope="session", autouse=True)
def sent_by_value():
    """Ray's workers cannot import tests."""
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(outside)


@pytest.fixture
def settings(tmp_path):
    """Makes a config whose storage is the test's own."""
    return lambda **blocks: Config(**({"name": "toy", "dataset": Pydocs(), "storage_path": str(tmp_path)} | blocks))


@pytest.fixture(scope="session")
def world(tmp_path_factory, ray_session):
    """A storage with 60 documents in two shards and 12 test queries; the last documents are copies."""
    storage = tmp_path_factory.mktemp("world")
    draw = random.Random(0)
    docs = [tiny.doc(n, tiny.sentence(draw, draw.randint(3, 12)), "title" if n % 2 else None) for n in range(50)]
    docs += [tiny.doc(n, "bal dim kun") for n in range(50, 58)]
    docs += [tiny.doc(58, ""), tiny.doc(59, tiny.sentence(draw, 5000))]
    queries = [tiny.query(n, tiny.sentence(draw, 4), split="test") for n in range(11)]
    queries.append(tiny.query(11, "bal dim kun", split="test"))
    return (
        Config(name="toy", dataset=Pydocs(), storage_path=str(storage)),
        tiny.artifact(storage, "ingest", {"docs": [docs[:35], docs[35:]], "queries": [queries]}, rows_out=72),
        {kind: tiny.model(storage, kind) for kind in ("static", "transformer")},
    )
