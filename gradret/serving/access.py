"""Who may ask: a token, and names of this machine that no other site can claim."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gradret.serving.refused import Refused

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["Access", "digest", "is_loopback"]

_LOCAL = "localhost"


def is_loopback(host: str) -> bool:
    """Whether a server that listens at ``host`` can be reached from this machine only."""
    try:
        return host == _LOCAL or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def digest(token: str) -> bytes:
    """What the server keeps of a token, so that the token itself is in no file or message of Ray."""
    return hashlib.sha256(token.encode("utf-8", errors="surrogateescape")).digest()


class Access:
    """Checks where a request comes from.

    Args:
        host: where the server listens.
        token: the digest of the token that requests must carry; None for none.
    """

    def __init__(self, host: str, token: bytes | None) -> None:
        self.local, self.token = is_loopback(host), token

    def check_origin(self, request: Request) -> None:
        """Refuse what a page of another site sends.

        On loopback the Host header must be a name of this machine: a site can let its own name point to 127.0.0.1 (DNS
        rebinding), and its pages would then be of one origin with this server.

        Raises:
            Refused: the request is addressed to another host, or comes from a page of another origin.
        """
        hosts = request.headers.getlist("host")
        named = hosts[0] if len(hosts) == 1 else ""
        if self.local and not is_loopback(_name(named)):
            raise Refused(403, "wrong Host header", "localhost, 127.0.0.1 or [::1]", ", ".join(hosts))
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != named:
            raise Refused(403, "request of another origin", named, origin)

    def check_token(self, request: Request) -> None:
        """Refuse a request without the token; compares in constant time.

        Raises:
            Refused: the token is missing or wrong.
        """
        if self.token is None:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        # Starlette decodes headers as Latin-1.
        found = hashlib.sha256(given.strip().encode("latin-1")).digest()
        if not (hmac.compare_digest(found, self.token) and scheme.lower() == "bearer"):
            came = "another token" if given else "none"
            expected = "the header Authorization: Bearer TOKEN"
            raise Refused(401, "no access", expected, came, {"WWW-Authenticate": "Bearer"})


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
