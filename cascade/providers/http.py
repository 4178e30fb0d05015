"""The httpx2 client that an engine makes."""

from __future__ import annotations

from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final
from urllib.request import getproxies

import httpx2

from cascade.transport import CONNECT_TIMEOUT, KEEPALIVE_SECONDS, max_connections

TIMEOUT: Final[dict[str, float | None]] = {
    "connect": CONNECT_TIMEOUT,
    "read": None,
    "write": None,
    "pool": None,
}
"""Passed with each request. The engine ends an attempt by cancelling it, so only the connection
has a limit of its own: a host that drops packets would otherwise eat the whole attempt."""

_LOOPBACK = ("all://localhost", "all://127.0.0.1", "all://[::1]")


def make_client() -> httpx2.AsyncClient:
    """A client made for calls that are raced and cancelled. Whoever makes it closes it.

    HTTP/1.1 only: cancelling a call closes its socket, which every server notices, while an
    HTTP/2 reset would share its connection with calls that go on. Proxies and certificates come
    from the environment as httpx2 does by default, except that this machine's loopback is never
    asked of a proxy, which could not reach it.
    """
    most = max_connections()
    return httpx2.AsyncClient(
        limits=httpx2.Limits(
            max_connections=most,
            max_keepalive_connections=most,
            keepalive_expiry=KEEPALIVE_SECONDS,
        ),
        http1=True,
        http2=False,
        timeout=httpx2.Timeout(None, connect=CONNECT_TIMEOUT),
        follow_redirects=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # none is kept
        # Mounts are searched on every request, so they are there only when there is a proxy.
        mounts=dict.fromkeys(_LOOPBACK) if getproxies() else None,
    )
