import pytest

from gradret.config.run import Config
from gradret.datasets.pydocs import Pydocs


@pytest.fixture
def settings(tmp_path):
    """Makes a config whose storage is the test's own."""
    return lambda **blocks: Config(**({"name": "toy", "dataset": Pydocs(), "storage_path": str(tmp_path)} | blocks))
