"""Calls over aiohttp, which takes a third of httpx2's time and needs asyncio."""

from __future__ import annotations

import asyncio
import select
import ssl
import sys
from base64 import b64encode
from collections.abc import Mapping
from contextvars import ContextVar
from io import BytesIO
from typing import Any, Final, cast
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass
from weakref import WeakSet

import aiohttp
import anyio
from multidict import CIMultiDict
from yarl import URL

from cascade.errors import APIConnectionError, ConfigError
from cascade.transport import (
    CONNECT_TIMEOUT,
    KEEPALIVE_SECONDS,
    Headers,
    Response,
    Route,
    max_connections,
)
from cascade.transports._failures import cause_of, connection_error, host_port

_FAILURES: Final = (aiohttp.ClientError, OSError)
_IN_ONE_GO: Final = 2**20
_CONNECTING: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
)
_LOOPBACK: Final = {"localhost", "127.0.0.1", "::1"}


class _Post:
    """What the connector is told of the post that asks it for a connection, and notes in it."""

    __slots__ = ("carrier", "once")

    def __init__(self, *, once: bool) -> None:
        self.once = once  # the connection is not to be used again
        self.carrier: asyncio.BaseTransport | None = None


_post: ContextVar[_Post | None] = ContextVar("post", default=None)


class AiohttpTransport:
    """Posts over a ``ClientSession``.

    Args:
        session: the user's own, which stays open; None for one of ours, with proxies and
            certificates from the environment.
    """

    def __init__(self, session: aiohttp.ClientSession | None = None) -> None:
        self._session = session
        self._owned = session is None
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT)
        self._tls: ssl.SSLContext | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session; one of ours is made when it is first needed, because it needs its loop."""
        if self._session is None:
            self._session = _make_session()
        return self._session

    def route(self, url: str, headers: Mapping[str, str], /) -> Route:
        """See `Transport.route`."""
        address = URL(url)
        fixed: dict[str, Any] = {
            "allow_redirects": False,
            "auto_decompress": False,
            "headers": CIMultiDict(headers),
            "raise_for_status": False,
            "timeout": self._timeout,
        }
        if self._owned:
            self._add_environment(address, fixed)
        where = host_port(url)
        once = headers.get("Connection") == "close"

        async def post(content: bytes) -> Response:
            this = _Post(once=once)
            token = _post.set(this)
            try:
                # aiohttp writes bytes in one go, and warns when they are many.
                data = content if len(content) <= _IN_ONE_GO else BytesIO(content)
                response = await self.session.post(address, data=data, **fixed)
            except _FAILURES as error:
                await _abort(this.carrier)
                raise _mapped(error, where) from error
            except BaseException:
                await _abort(this.carrier)
                raise
            finally:
                _post.reset(token)
            return AiohttpResponse(response, where)

        return post

    def _add_environment(self, address: URL, fixed: dict[str, Any]) -> None:
        """Proxy and certificates. aiohttp's own way asks the disk and a thread in every call."""
        if address.scheme == "https":
            fixed["ssl"] = self._tls = self._tls or _certificates()
        proxy = proxy_for(address)
        if proxy is None:
            return
        fixed["proxy"] = proxy.with_user(None)
        if proxy.user is not None:
            login = f"{unquote(proxy.raw_user or '')}:{unquote(proxy.raw_password or '')}"
            value = "Basic " + b64encode(login.encode()).decode()
            if address.scheme == "https":  # through a tunnel, which alone is the proxy's
                fixed["proxy_headers"] = {"Proxy-Authorization": value}
            else:
                fixed["headers"]["Proxy-Authorization"] = value

    async def aclose(self) -> None:
        """See `Transport.aclose`."""
        if self._owned and self._session is not None:
            await self._session.close()
            await asyncio.sleep(0)  # sockets are closed by the loop's next turn


class AiohttpResponse:
    """A response whose body is arriving."""

    __slots__ = ("_content", "_response", "_where", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse, where: str) -> None:
        self.status = response.status
        self.headers = cast(Headers, response.headers)
        self._response = response
        self._content = response.content
        self._where = where

    async def read(self) -> bytes:
        """See `Response.read`."""
        try:
            return await self._content.readany()
        except _FAILURES as error:
            raise _mapped(error, self._where) from error

    async def aclose(self) -> None:
        """See `Response.aclose`."""
        connection = self._response.connection
        if connection is None:
            return  # the body has ended, and the connection went back to the pool then
        carrier = connection.transport
        self._response.close()
        await _abort(carrier)


class _Connector(aiohttp.TCPConnector):
    """Hands out only connections that the server has not closed, and notes which it hands out."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._used: WeakSet[Any] = WeakSet()

    async def connect(self, *args: Any, **settings: Any) -> Any:
        while True:
            connection = await super().connect(*args, **settings)
            protocol, carrier = connection.protocol, connection.transport
            if protocol is None or carrier is None:
                return connection
            if protocol in self._used and _is_readable(carrier):
                connection.close()  # closed by the server, which the loop has not seen yet
                continue
            self._used.add(protocol)
            post = _post.get()
            if post is not None:
                # A cancelled request only begins to close it: asyncio would first send what is
                # still unsent, to a server that may never read it.
                post.carrier = carrier
                if post.once:
                    protocol.force_close()
            return connection


def _is_readable(carrier: asyncio.BaseTransport) -> bool:
    """Whether an idle connection has something to say, which can only be that it has ended."""
    number = carrier.get_extra_info("socket").fileno()
    if number < 0:
        return True
    if sys.platform == "win32":
        return bool(select.select([number], [], [], 0)[0])
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))


async def _abort(carrier: asyncio.BaseTransport | None) -> None:
    if carrier is not None:
        cast(asyncio.WriteTransport, carrier).abort()
    with anyio.CancelScope(shield=True):
        await asyncio.sleep(0)  # asyncio closes the socket in the loop's next turn


def _make_session() -> aiohttp.ClientSession:
    connector = _Connector(
        limit=max_connections(),
        limit_per_host=0,
        keepalive_timeout=KEEPALIVE_SECONDS,
        # The cache looks names up in tasks that outlive a cancelled call.
        use_dns_cache=False,
        resolver=aiohttp.ThreadedResolver(),
    )
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


def _certificates() -> ssl.SSLContext:
    import httpx2  # the same rules and variables, whichever client is used

    return httpx2.create_ssl_context()


def proxy_for(address: URL) -> URL | None:
    """The proxy that the environment names for an address.

    This machine's loopback is never asked of a proxy, which could not reach it.
    """
    proxies = getproxies()
    host = address.host or ""
    if not proxies or host in _LOOPBACK or proxy_bypass(f"{host}:{address.port}"):
        return None
    proxy = proxies.get(address.scheme) or proxies.get("all")
    if not proxy:
        return None
    found = URL(proxy if "://" in proxy else f"http://{proxy}")
    if found.scheme not in ("http", "https"):
        # The proxy is not shown whole: there may be a password in it.
        raise ConfigError(f"aiohttp cannot use a proxy of the kind {found.scheme!r}: use 'httpx'")
    return found


def _mapped(error: Exception, where: str) -> APIConnectionError:
    if isinstance(error, aiohttp.ClientResponseError):  # its text has the whole address in it
        cause = f"{error.status} {error.message}"
    else:
        cause = cause_of(error)
    return connection_error(
        where,
        cause,
        connecting=isinstance(error, _CONNECTING),
        timed_out=isinstance(error, TimeoutError),
    )
