"""What all wire formats share. A provider's file is only its format.

An author of a wire format writes two classes.

**An assembly**, a class with the methods of `Assembly` (in ``_reading.py``): it puts the answer
together from what arrives. One is made for each call. It calls ``on_delta`` with each piece of the
answer's text.

**A provider**, a subclass of `WireProvider` that sets

``default_base_url``, ``url_variable``, ``key_variable``
    where calls go, and the environment variables that say otherwise and hold the key;
``ours``
    parameters that users may not set, with what sets them;
``framing``
    ``"sse"`` (the default), or ``"lines"`` for one JSON value a line;
``request_id_header``
    the response header that has the request's id;
``rate_limit_headers``
    the response headers that have the rate limits, in the order of the fields of `RateLimits`;
    None (the default) when the format has none;

and defines

``auth(key)``
    the headers that every call carries besides those on content and encoding: the key (None when
    there is none) and versions;
``path(model, stream)``
    what comes after the base address, from the slash on; it may end in a query. Model names are
    the user's: quote them. It must be the same for the same arguments: it is asked for once;
``body(model, request)``
    the bytes to send, and whether they ask for a stream. `encode` writes JSON;
``assembly(on_delta)``
    a new assembly;

and, where the format needs it, extends

``check(model, params)``
    refuses at load what cannot work. Call ``super().check`` first;
``address(given)``
    turns what users write for an address into a URL;
``said(body)``
    reads an error body, or an SSE event of the type ``error``, of a shape that `decode_error`
    does not know;
``wait(headers, said)``
    seconds that the server asks to wait, where ``Retry-After`` does not say it.

Everything else is here: keys that go astray, redirects, statuses, compression, web pages, sizes,
streams cut short, connections kept and closed, and secrets cut out of errors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final, Literal
from urllib.parse import urljoin, urlsplit

import anyio
import msgspec
from msgspec.structs import replace

from cascade.errors import (
    APIConnectionError,
    APIResponseError,
    APIStatusError,
    ConfigError,
    PromptError,
    ProviderError,
)
from cascade.provider import Call, ProviderContext
from cascade.providers._cancellation import stops_billing
from cascade.providers._endpoint import find_endpoint
from cascade.providers._http_errors import (
    ErrorBody,
    decode_error,
    one_line,
    retry_after,
    status_error,
    stream_error,
)
from cascade.providers._rate_limits import Names, rate_limits
from cascade.providers._reading import Assembly, ErrorInAnswer, assemble, reader
from cascade.transport import Headers, Response, Route, running_loop
from cascade.types import Answer, Request

__all__ = ["Assembly", "ErrorInAnswer", "WireProvider", "encode"]

_MAX_ERROR_BODY = 64_000
_ERROR_BODY_SECONDS = 5.0
_ACCEPT: Final = {
    "sse": "text/event-stream",
    "lines": "application/x-ndjson",
    "whole": "application/json",
}


class WireProvider(ABC):
    """Speaks a wire format over the engine's transport.

    Args:
        context: the engine; its ``transport`` is used for every call.
        base_url: the address before the path. By default the environment variable
            ``url_variable``, else ``default_base_url``.
        api_key: the key, or ``env:NAME`` for the environment variable NAME. By default
            ``key_variable``, which is only ever sent to the service itself or to
            ``url_variable``, never to a ``base_url`` given here.
        keep_alive: whether to use a connection again; False for a server that closes one it
            promised to keep.

    Raises:
        ConfigError: the address or the key cannot be used. A missing key is only found by
            `check`.
    """

    default_base_url: ClassVar[str]
    url_variable: ClassVar[str]
    key_variable: ClassVar[str]
    ours: ClassVar[Mapping[str, str]] = {}
    framing: ClassVar[Literal["sse", "lines"]] = "sse"
    request_id_header: ClassVar[str] = "x-request-id"
    rate_limit_headers: ClassVar[Names | None] = None

    def __init__(
        self,
        context: ProviderContext,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        keep_alive: bool = True,
    ) -> None:
        self._context = context
        self.endpoint = find_endpoint(
            base_url,
            api_key,
            default=self.default_base_url,
            url_variable=self.url_variable,
            key_variable=self.key_variable,
            address=self.address,
        )
        self._keep_alive = keep_alive
        self._routes: dict[tuple[str, bool], Route] = {}
        if running_loop() is not None:
            _ = context.transport  # the client is imported before an attempt's time runs

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.endpoint.url!r})"

    @property
    def cancel_stops_billing(self) -> bool | None:
        """See `stops_billing`."""
        return stops_billing(self.endpoint.url)

    @abstractmethod
    def auth(self, key: str | None) -> Mapping[str, str]:
        """The headers of every call that hold the key and versions."""

    @abstractmethod
    def path(self, model: str, stream: bool) -> str:
        """What comes after the base address."""

    @abstractmethod
    def body(self, model: str, request: Request) -> tuple[bytes, bool]:
        """The bytes to send, and whether they ask for a stream.

        Raises:
            PromptError: the request cannot be written in this format.
        """

    @abstractmethod
    def assembly(self, on_delta: Callable[[str], None]) -> Assembly:
        """A new assembly for one answer."""

    def address(self, given: str) -> str:
        """The URL that users mean by ``given``, a ``base_url`` or the environment's."""
        return given

    def said(self, body: bytes) -> ErrorBody:
        """What an error body, or an SSE event of the type ``error``, says; it may be anything."""
        return decode_error(body)

    def wait(self, headers: Headers, said: ErrorBody) -> float | None:
        """Seconds that the server asks to wait before another call, or None."""
        del said
        return retry_after(headers)

    def check(self, model: str, params: Mapping[str, Any]) -> None:
        """Refuse at load what cannot work.

        Raises:
            MissingAPIKeyError: a key is needed and there is none.
            ConfigError: a parameter is not this provider's to take, or is not JSON.
        """
        self.endpoint.require_key()
        for name, place in self.ours.items():
            if name in params:
                raise ConfigError(f"parameter {name!r} of {model!r}: it is set by {place}")
        encode(params)

    async def complete(self, call: Call, /) -> Answer:
        """Ask the model.

        Raises:
            ProviderError: the call failed. `NotFoundError`, `RateLimitError`, … for what the
                server says, `APIConnectionError` for the way there, `APIResponseError` for an
                answer that is none or breaks off.
            MissingAPIKeyError: a key is needed and there is none.
            PromptError: the request cannot be written in this format.
        """
        self.endpoint.require_key()
        content, stream = self.body(call.model, call.request)
        route = self._routes.get((call.model, stream)) or self._route(call.model, stream)
        request_id = limits = None
        try:
            response = await route(content)
            try:
                headers = response.headers
                request_id = self._request_id(headers.get(self.request_id_header))
                if self.rate_limit_headers is not None:
                    limits = rate_limits(headers, self.rate_limit_headers)
                if response.status != 200:
                    raise await self._refusal(response, call.model, request_id)
                answer = await self._read(response, call, stream, request_id)
            finally:
                await response.aclose()
        except APIConnectionError as error:
            _say(error, one_line(error.message, self.endpoint.key))
            error.request_id = request_id
            raise
        except APIStatusError as error:
            error.rate_limits = limits
            raise
        return answer if limits is None else replace(answer, rate_limits=limits)

    def _route(self, model: str, stream: bool) -> Route:
        headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "Accept": _ACCEPT[self.framing] if stream else _ACCEPT["whole"],
            **self.auth(self.endpoint.key),
        }
        if not self._keep_alive:
            headers["Connection"] = "close"
        url = self.endpoint.path(self.path(model, stream))
        route = self._context.transport.route(url, headers)
        self._routes[model, stream] = route
        return route

    async def _read(
        self, response: Response, call: Call, stream: bool, request_id: str | None
    ) -> Answer:
        assembly = self.assembly(call.on_delta)
        lines = stream and self.framing == "lines"
        said = None
        try:
            await assemble(reader(response), assembly, self.said, lines=lines)
        except APIConnectionError:
            # Nothing is lost when the connection breaks after the last event.
            if not assembly.whole:
                raise
        except ErrorInAnswer as error:
            said = error.said
        except APIResponseError as error:
            _say(error, one_line(error.message, self.endpoint.key))
            raise APIResponseError(
                f"{self._place(call.model)}: {error.message}",
                retryable=error.retryable,
                status=200,
                request_id=request_id,
            ) from error
        if said is not None:  # raised here, it does not lead to what the server said word for word
            raise stream_error(
                said,
                place=self._place(call.model),
                secret=self.endpoint.key,
                request_id=request_id,
            )
        return assembly.answer(request_id)

    async def _refusal(
        self, response: Response, model: str, request_id: str | None
    ) -> ProviderError:
        """The error for a status other than 200."""
        status = response.status
        place = self._place(model)
        if status < 400:
            location = response.headers.get("location")
            return APIResponseError(
                f"{place} {self._unexpected(status, location)}",
                retryable=False,
                status=status,
                request_id=request_id,
            )
        body = bytearray()
        # The status says enough when the body cannot be had.
        with (
            suppress(APIConnectionError, APIResponseError),
            anyio.move_on_after(_ERROR_BODY_SECONDS),
        ):
            read = reader(response)
            while len(body) <= _MAX_ERROR_BODY and (piece := await read()):
                body += piece
        said = self.said(bytes(body[:_MAX_ERROR_BODY]))
        return status_error(
            status,
            said,
            place=place,
            secret=self.endpoint.key,
            request_id=request_id,
            retry_after=self.wait(response.headers, said),
        )

    def _place(self, model: str) -> str:
        return f"model {model!r} at {self.endpoint.place}"

    def _unexpected(self, status: int, location: str | None) -> str:
        if 300 <= status < 400 and location:
            return (
                f"redirects ({status}) to {self._named(location)}, which is not followed, so "
                "that no key goes astray: set base_url to the final address"
            )
        return f"answered {status}, which is no answer"

    def _named(self, location: str) -> str:
        """The server that a redirect leads to; a user, a password and a query are left out."""
        try:
            target = urlsplit(urljoin(self.endpoint.url, location))
        except ValueError:
            return "what is no address"
        host = target.netloc.rpartition("@")[2]
        return one_line(f"{target.scheme}://{host}", self.endpoint.key)

    def _request_id(self, given: str | None) -> str | None:
        """What the server calls the request; it must not call it by the key."""
        key = self.endpoint.key
        return one_line(given, key) if given and key and key in given else given


def _say(error: ProviderError, message: str) -> None:
    error.message = message
    error.args = (message,)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


_encode: Final = msgspec.json.Encoder(enc_hook=_plain).encode


def encode(value: object) -> bytes:
    """JSON.

    Raises:
        PromptError: something in it is not JSON.
    """
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise PromptError(f"the request cannot be written as JSON: {error}") from error
