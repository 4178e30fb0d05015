"""How a call gets to a server and its answer back, whichever HTTP client carries them.

A transport is all that a wire format knows of HTTP: it posts bytes and reads bytes. An engine has
one, with one pool of connections, and every built-in provider sends over it.

What every transport promises:

- Whatever goes wrong on the way is an `APIConnectionError` (`APITimeoutError` when the time for
  connecting is over), with the host and port in its text and ``sent`` set.
- Only connecting has a time limit of its own. The engine ends an attempt by cancelling it.
- A cancelled or failed call has closed its socket by the time it is over.
- Redirects are not followed, bodies are not unpacked, and a client of ours keeps no cookies.
"""

from __future__ import annotations

import sys
from asyncio import get_running_loop
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, runtime_checkable

from cascade.errors import ConfigError, MissingExtraError, nearest

CONNECT_TIMEOUT: Final = 10.0
"""Seconds that making a connection may take."""

KEEPALIVE_SECONDS: Final = 5.0
"""How long an idle connection is kept. Many servers close theirs at 5 s or later."""

_MAX_CONNECTIONS = 10_000
_OTHER_FILES = 128  # that the process may have open besides connections


def max_connections() -> int:
    """How many connections one pool may have: as many as there may be files, at most 10,000.

    A waiting attempt must never queue behind losers that are just being closed; the engine, not
    the pool, is where calls queue. But waiting is better than failing for want of a descriptor.
    """
    try:
        import resource
    except ImportError:  # Windows, where sockets are no files
        return _MAX_CONNECTIONS
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return _MAX_CONNECTIONS
    return min(_MAX_CONNECTIONS, max(files - _OTHER_FILES, files // 2))


class Headers(Protocol):
    """Headers of a response, found by their name in lower case."""

    def get(self, name: str, /) -> str | None:
        """The first value, or None."""
        ...


class Response(Protocol):
    """A response whose head is here and whose body is arriving. Whoever got it closes it."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Headers:
        """The headers."""
        ...

    async def read(self) -> bytes:
        """The next piece of the body as it was sent; empty at its end, and only there.

        Raises:
            APIConnectionError: the connection broke before the end.
        """
        ...

    async def aclose(self) -> None:
        """Close the socket, unless the body was read to its end: then the connection is kept.

        Works while being cancelled.
        """
        ...


Route = Callable[[bytes], Awaitable[Response]]
"""Posts a body to one address with the same headers each time."""


@runtime_checkable
class Transport(Protocol):
    """An HTTP client, as far as calls need one. Also what a user may write for another client."""

    def route(self, url: str, headers: Mapping[str, str], /) -> Route:
        """A way to post to ``url``; what is the same in every call is prepared here, once.

        Needs no event loop. The route raises `APIConnectionError`.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection, unless the client is the user's own."""
        ...


_CLIENTS = ("auto", "httpx", "aiohttp")
_AIOHTTP_MINOR = 14  # of 3.x: what [fast] asks for, and what is tested


def make_transport(client: Any = "auto") -> Transport:
    """A transport over a client of this kind, or over the client given. Call it on an event loop.

    ``auto`` is aiohttp where it is installed and the loop is asyncio's, because it takes a third
    of the time; else httpx2.

    Raises:
        ConfigError: it is no client we can use, or aiohttp is asked for on another loop.
        MissingExtraError: aiohttp is asked for and not installed.
    """
    if not isinstance(client, str):
        return _around(client)
    check_client(client)
    if client == "auto":
        client = "aiohttp" if _suits_aiohttp() else "httpx"
    if client == "aiohttp":
        return _aiohttp()
    from cascade.transports.httpx import HttpxTransport

    return HttpxTransport.of_our_own()


def check_client(client: Any) -> None:
    """Refuse what `make_transport` would refuse, as far as it shows without an event loop.

    Raises:
        ConfigError: it is no client we can use.
    """
    if not isinstance(client, str):
        _around(client)
    elif client not in _CLIENTS:
        raise ConfigError(f"HTTP client {client!r}: {nearest(client, _CLIENTS)}")


def running_loop() -> str | None:
    """``asyncio`` or ``trio``, if one of them runs this code."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        return "trio"
    try:
        get_running_loop()
    except RuntimeError:
        return None
    return "asyncio"


def _around(client: Any) -> Transport:
    if isinstance(client, Transport):
        return client
    made = {kind.__module__.partition(".")[0] for kind in type(client).__mro__}
    if "aiohttp" in made:
        from cascade.transports.aiohttp import AiohttpTransport

        return AiohttpTransport(client)
    from cascade.transports.httpx import HttpxTransport

    return HttpxTransport(client)


def _suits_aiohttp() -> bool:
    from importlib.metadata import PackageNotFoundError, version
    from urllib.request import getproxies

    if running_loop() != "asyncio":
        return False
    if any(proxy.lower().startswith("socks") for proxy in getproxies().values()):
        return False  # it has no SOCKS
    try:
        # Many packages bring it along, in whichever version.
        major, minor = version("aiohttp").split(".")[:2]
    except PackageNotFoundError:
        return False
    return major == "3" and int(minor) >= _AIOHTTP_MINOR


def _aiohttp() -> Transport:
    if running_loop() == "trio":
        raise ConfigError("the HTTP client 'aiohttp' needs asyncio, and this is trio: use 'httpx'")
    try:
        from cascade.transports.aiohttp import AiohttpTransport
    except ModuleNotFoundError as error:
        raise MissingExtraError("the HTTP client 'aiohttp'", extra="fast") from error
    return AiohttpTransport()
