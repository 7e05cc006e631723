import pytest
from ray import cloudpickle

from ..engines import tiny_llm
from . import outside


@pytest.fixture(scope="session", autouse=True)
def sent_by_value():
    """Ray's workers cannot import tests."""
    cloudpickle.register_pickle_by_value(outside)


@pytest.fixture(scope="session")
def llm(tmp_path_factory):
    """The folder of a model too small to say anything."""
    return tiny_llm.write(tmp_path_factory.mktemp("llm"))
