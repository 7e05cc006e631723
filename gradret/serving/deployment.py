"""The application of Ray Serve: one front that takes requests, and replicas that search."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from gradret.serving.front import Front, Rules
from gradret.serving.refused import Refused
from gradret.serving.searcher import Searcher
from gradret.serving.wanted import Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ray.serve import Application
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["application"]

_QUEUED = 64
"""Queries that wait for a replica; more are refused at once, since their users would wait too long."""
_ONGOING = 1_000
"""Requests that the front holds; limits of rate and queue refuse them earlier."""


def application(run: str, about: Mapping[str, Any], rules: Rules, replicas: int) -> Application:
    """Build the application.

    The limits of rate hold for all replicas together, since the front is one; the replicas do the work. No CPUs are
    reserved, as nothing else runs on this Ray.
    """
    from ray import serve

    options: dict[str, Any] = {"ray_actor_options": {"num_cpus": 0}, "graceful_shutdown_timeout_s": 1}
    search = serve.deployment(
        name="search", num_replicas=replicas, max_ongoing_requests=2, max_queued_requests=_QUEUED, **options
    )
    front = serve.deployment(name="front", max_ongoing_requests=_ONGOING, **options)
    return front(_Front).bind(search(_Search).bind(run), about, rules)


class _Search:
    """A replica with the run's indexes."""

    def __init__(self, run: str) -> None:
        _listen_nowhere()
        _use_one_core()
        self.searcher = Searcher(run)

    async def search(self, query: str, systems: Sequence[str], top: int) -> dict[str, list[dict[str, Any]]]:
        """Search; queries come one after the other, as a search uses the whole core."""
        return self.searcher.search(query, systems, top)


class _Front:
    """Takes the requests."""

    def __init__(self, search: Any, about: Mapping[str, Any], rules: Rules) -> None:
        _listen_nowhere()
        self.search = search
        self.front = Front(rules, about, self._search)

    async def __call__(self, request: Request) -> Response:
        return await self.front.answer(request)

    async def _search(self, asked: Wanted) -> dict[str, Any]:
        from ray.serve.exceptions import BackPressureError

        try:
            found: dict[str, Any] = await self.search.search.remote(*asked)
        except BackPressureError as error:
            busy = f"at most {_QUEUED} queries that wait"
            raise Refused(503, "too busy", busy, "more", {"Retry-After": "1"}) from error
        return found


def _use_one_core() -> None:
    """Search in one thread: for one query, threads of a library wait for each other longer than they work."""
    import faiss
    import pyarrow as pa

    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    faiss.omp_set_num_threads(1)
    pa.set_cpu_count(1)


def _listen_nowhere() -> None:
    """Keep the replica's own gRPC server from listening.

    It would listen on every interface and unpickle what anyone sends. Replicas here are called through Ray, which
    demands its token; nothing uses that server.
    """
    from ray.serve._private import replica

    module: Any = replica
    module.add_port_to_grpc_server = lambda _server, _address: 0
