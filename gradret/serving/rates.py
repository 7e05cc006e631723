"""Limit the requests of each client and of all together, with token buckets."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from gradret.serving.refused import Refused

__all__ = ["Rates"]

_BURST = 2
"""Seconds of requests that may come at once."""
_MOST_CLIENTS = 10_000
"""Clients that are remembered; those that were silent for longest are forgotten first."""


class _Bucket:
    """Holds ``rate * _BURST`` requests, at least one, and is filled with ``rate`` a second."""

    def __init__(self, rate: float, now: float) -> None:
        self.rate, self.size = rate, max(1.0, rate * _BURST)
        self.left, self.filled = self.size, now

    def wait(self, now: float) -> float:
        """Seconds until a request may come; 0 if one may now."""
        self.left, self.filled = min(self.size, self.left + (now - self.filled) * self.rate), now
        return max(0.0, (1 - self.left) / self.rate)


class Rates:
    """Counts requests.

    Args:
        client: requests a second of one client: an IPv4 address, or the first 64 bits of an IPv6 address.
        total: requests a second of all clients.
        clock: seconds that only grow.
    """

    def __init__(self, client: float, total: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.client, self.clock = client, clock
        self.all = _Bucket(total, clock())
        self.clients: OrderedDict[str, _Bucket] = OrderedDict()

    def count(self, address: str) -> None:
        """Count a request of the client at ``address``.

        Raises:
            Refused: there are too many; says when to come again.
        """
        now, key = self.clock(), _client(address)
        own = self.clients.setdefault(key, _Bucket(self.client, now))
        self.clients.move_to_end(key)
        if len(self.clients) > _MOST_CLIENTS:
            self.clients.popitem(last=False)
        for bucket, whose in ((own, "a client"), (self.all, "all clients together")):
            if wait := bucket.wait(now):
                expected = f"at most {bucket.rate:g} requests a second of {whose}"
                raise Refused(429, "too many requests", expected, "more", {"Retry-After": str(math.ceil(wait))})
        own.left -= 1
        self.all.left -= 1


def _client(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped else str(ipaddress.ip_network((parsed, 64), strict=False))
