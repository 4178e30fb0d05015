"""Calls over httpx2, or over a client of httpx2 or httpx that the user made."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Self

import anyio

from cascade.errors import APIConnectionError, ConfigError
from cascade.providers._body import CLOSE_SECONDS, Body
from cascade.providers.http import TIMEOUT, make_client
from cascade.transport import Headers, Response, Route
from cascade.transports._failures import cause_of, connection_error, host_port


class HttpxTransport:
    """Posts over an ``AsyncClient``.

    Args:
        client: of httpx2 or httpx.
        owned: whether it is closed with the transport.

    Raises:
        ConfigError: it is no such client.
    """

    def __init__(self, client: Any, *, owned: bool = False) -> None:
        self.client = client
        self._owned = owned
        self._module = _module_of(client)

    @classmethod
    def of_our_own(cls) -> Self:
        """Over a client made for the purpose."""
        return cls(make_client(), owned=True)

    def route(self, url: str, headers: Mapping[str, str], /) -> Route:
        """See `Transport.route`."""
        client = self.client
        address = self._module.URL(url)
        pairs = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
        errors = _Errors(self._module, host_port(url))

        async def send(content: bytes, extensions: dict[str, Any]) -> Response:
            request = client.build_request(
                "POST", address, content=content, headers=pairs, extensions=extensions
            )
            try:
                response = await client.send(request, stream=True, follow_redirects=False)
            except errors.any as error:
                raise errors.mapped(error) from error
            return HttpxResponse(response, errors)

        async def post(content: bytes) -> Response:
            return await send(content, {"timeout": TIMEOUT})

        async def post_over_tls(content: bytes) -> Response:
            handshake = _Handshake()
            try:
                return await send(content, {"timeout": TIMEOUT, "trace": handshake})
            except BaseException:
                await handshake.abandon()
                raise

        return post_over_tls if address.scheme == "https" else post

    async def aclose(self) -> None:
        """See `Transport.aclose`."""
        if self._owned:
            await self.client.aclose()


class HttpxResponse:
    """A streamed response of httpx2 or httpx."""

    __slots__ = ("_body", "_errors", "headers", "status")

    def __init__(self, response: Any, errors: _Errors) -> None:
        self.status: int = response.status_code
        self.headers: Headers = response.headers
        self._body = Body(response)
        self._errors = errors

    async def read(self) -> bytes:
        """See `Response.read`."""
        try:
            return await anext(self._body, b"")
        except self._errors.any as error:
            raise self._errors.mapped(error) from error

    async def aclose(self) -> None:
        """See `Response.aclose`."""
        await self._body.aclose()


class _Handshake:
    """Closes the socket of a TLS handshake that was cancelled, which httpcore and httpcore2 leave
    to the garbage collector: they close it only for what is an ``Exception``.

    An instance is the ``trace`` of one request, a function that is told of each step.
    """

    __slots__ = ("_socket", "_unfinished")

    def __init__(self) -> None:
        self._socket: Any = None
        self._unfinished = False

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith(".connect_tcp.complete"):
            self._socket = info["return_value"]
        elif event.endswith(".start_tls.started"):
            self._unfinished = True
        elif event.endswith(".start_tls.complete"):
            self._unfinished = False

    async def abandon(self) -> None:
        """Close the socket, unless the handshake was over. Works while being cancelled."""
        if self._unfinished and self._socket is not None:
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await self._socket.aclose()


class _Errors:
    """The exceptions of a client, found in the module that it comes from.

    httpx2 and httpx share no base class, and the user may pass a client of either.
    """

    __slots__ = ("_module", "_where", "any")

    def __init__(self, module: Any, where: str) -> None:
        self.any: tuple[type[Exception], ...] = (module.RequestError,)
        self._module = module
        self._where = where

    def mapped(self, error: Exception) -> APIConnectionError:
        """This project's error for one of ``any``."""
        module = self._module
        before = (module.ConnectError, module.ConnectTimeout, module.ProxyError)
        return connection_error(
            self._where,
            cause_of(error),
            connecting=isinstance(error, before),
            timed_out=isinstance(error, module.TimeoutException),
        )


def _module_of(client: object) -> Any:
    for made in type(client).__mro__:
        module = sys.modules.get(made.__module__.partition(".")[0])
        if hasattr(module, "TransportError") and hasattr(module, "TimeoutException"):
            return module
    raise ConfigError(
        "an HTTP client is an httpx2 or httpx AsyncClient or an aiohttp ClientSession; "
        f"got {type(client).__name__}"
    )
