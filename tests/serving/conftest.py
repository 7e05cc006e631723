"""The front of the finished run, without limits of rate, in an HTTP server of this process."""

import pytest

from gradret.serving.front import Front, Rules
from gradret.serving.searcher import Searcher, about

from .listening import listening

MANY = 1_000_000


def of_run(run):
    """The front of a finished run, which searches in this process."""
    searcher = Searcher(run)

    async def search(asked):
        return searcher.search(*asked)

    return Front(Rules("127.0.0.1", None, MANY, MANY), about(run), search)


@pytest.fixture(scope="session")
def port(finished):
    """Where the finished run is served."""
    with listening(of_run(finished)) as port:
        yield port
