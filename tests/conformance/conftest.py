"""The collection, created once."""

import pytest

from .collection import Collection


@pytest.fixture(scope="session")
def collection(tmp_path_factory):
    return Collection(tmp_path_factory.mktemp("collection"))
