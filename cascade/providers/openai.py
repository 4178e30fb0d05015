"""OpenAI, and every server that speaks its chat completions: vLLM, Ollama, llama.cpp, …"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import anyio

from cascade.errors import APIResponseError, ConfigError, ProviderError
from cascade.provider import Call, ProviderContext
from cascade.providers._body import Body
from cascade.providers._chat import Assembly, ErrorInAnswer, encode, request_body
from cascade.providers._endpoint import find_endpoint
from cascade.providers._http_errors import (
    ClientErrors,
    decode_error,
    one_line,
    retry_after,
    status_error,
    stream_error,
)
from cascade.providers._sse import MAX_EVENT_BYTES, Event, SSEDecoder
from cascade.providers.http import TIMEOUT
from cascade.types import Answer

_PATH: Final = "/chat/completions"
DEFAULT_BASE_URL: Final = "https://api.openai.com/v1"

_MAX_BODY = 64_000_000  # bytes of one stream; tokens with 20 alternatives take 2 kB each
_MAX_ERROR_BODY = 64_000
_ERROR_BODY_SECONDS = 5.0
_END_SECONDS = 0.5  # to wait after [DONE] for the body's end, which keeps the connection usable

_OURS = {"model": "the tier's 'model'", "messages": "the tier's 'prompt'"}


class OpenAIProvider:
    """Speaks chat completions over the engine's HTTP client.

    Args:
        context: the engine; its ``http`` is used for every call.
        base_url: the address before ``/chat/completions``. By default the environment variable
            ``OPENAI_BASE_URL``, else OpenAI's own.
        api_key: the key, or ``env:NAME`` for the environment variable NAME. By default
            ``OPENAI_API_KEY``, which is only ever sent to OpenAI or to ``OPENAI_BASE_URL``, never
            to a ``base_url`` given here. Without a key no Authorization header is sent.
        keep_alive: whether to use a connection again; False for a server that closes one it
            promised to keep.

    Raises:
        ConfigError: the address, the key or the client cannot be used. A missing key is only
            found by `check`.
    """

    def __init__(
        self,
        context: ProviderContext,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        keep_alive: bool = True,
    ) -> None:
        self._http: Any = context.http
        self._errors = ClientErrors(self._http)
        self._endpoint = find_endpoint(
            base_url,
            api_key,
            default=DEFAULT_BASE_URL,
            url_variable="OPENAI_BASE_URL",
            key_variable="OPENAI_API_KEY",
        )
        if self._endpoint.url.endswith(_PATH):
            raise ConfigError(f"base_url ends in {_PATH}: leave that off, it is added to each call")
        self._url = self._endpoint.path(_PATH)
        self._headers = _Headers(self._endpoint.key, keep_alive)

    def __repr__(self) -> str:
        return f"OpenAIProvider(base_url={self._endpoint.url!r})"

    def check(self, model: str, params: Mapping[str, Any]) -> None:
        """Refuse at load what cannot work.

        Raises:
            MissingAPIKeyError: a key is needed and there is none.
            ConfigError: a parameter is not this provider's to take, or is not JSON.
        """
        self._endpoint.require_key()
        for name, place in _OURS.items():
            if name in params:
                raise ConfigError(f"parameter {name!r} of {model!r}: it is set by {place}")
        if params.get("n", 1) != 1:
            raise ConfigError(f"parameter 'n' of {model!r}: a call takes one answer")
        if not isinstance(params.get("stream", True), bool):
            raise ConfigError(f"parameter 'stream' of {model!r}: write true or false")
        encode(params)

    async def complete(self, call: Call, /) -> Answer:
        """Ask the model, streaming unless the parameters say ``stream: False``.

        Raises:
            ProviderError: the call failed. `NotFoundError`, `RateLimitError`, … for what the
                server says, `APIConnectionError` for the way there, `APIResponseError` for an
                answer that is none or breaks off.
            MissingAPIKeyError: a key is needed and there is none.
            PromptError: the request is not JSON.
        """
        self._endpoint.require_key()
        content, stream = request_body(call.model, call.request)
        request = self._http.build_request(
            "POST",
            self._url,
            content=content,
            headers=self._headers.of(stream),
            extensions={"timeout": TIMEOUT},
        )
        try:
            response = await self._http.send(request, stream=True, follow_redirects=False)
        except self._errors.any as error:
            raise self._broken(error) from error
        body = Body(response)
        try:
            if response.status_code != 200:
                raise await self._refusal(response, body, call.model)
            return await self._read(response, body, call)
        finally:
            await body.aclose()

    async def _read(self, response: Any, body: Body, call: Call) -> Answer:
        request_id = response.headers.get("x-request-id")
        assembly = Assembly(call.on_delta)
        try:
            await _assemble(body, assembly)
        except self._errors.any as error:
            # Nothing is lost when the connection breaks after the last chunk.
            if not assembly.whole:
                broken = self._broken(error)
                broken.request_id = request_id
                raise broken from error
        except ErrorInAnswer as error:
            raise stream_error(
                error.said,
                place=self._place(call.model),
                secret=self._endpoint.key,
                request_id=request_id,
            ) from None
        except APIResponseError as error:
            text = one_line(error.message, self._endpoint.key)
            raise APIResponseError(
                f"{self._place(call.model)}: {text}",
                retryable=error.retryable,
                status=200,
                request_id=request_id,
            ) from error
        return assembly.answer(request_id)

    async def _refusal(self, response: Any, body: Body, model: str) -> ProviderError:
        """The error for a status other than 200."""
        status: int = response.status_code
        headers = response.headers
        request_id = headers.get("x-request-id")
        place = self._place(model)
        if status < 400:
            return APIResponseError(
                f"{place} {_unexpected(status, headers.get('location'), self._url)}",
                retryable=False,
                status=status,
                request_id=request_id,
            )
        said = bytearray()
        try:
            with anyio.move_on_after(_ERROR_BODY_SECONDS):
                async for piece in body:
                    said += piece
                    if len(said) > _MAX_ERROR_BODY:
                        break
        except self._errors.any:
            pass  # the status says enough
        except APIResponseError:
            pass
        return status_error(
            status,
            decode_error(bytes(said[:_MAX_ERROR_BODY])),
            place=place,
            secret=self._endpoint.key,
            request_id=request_id,
            retry_after=retry_after(headers),
        )

    def _broken(self, error: Exception) -> ProviderError:
        where = self._endpoint.host_port
        return self._errors.mapped(error, where=where, secret=self._endpoint.key)

    def _place(self, model: str) -> str:
        return f"model {model!r} at {self._endpoint.place}"


class _Headers:
    """The headers of every call, built once, in an object whose repr does not show the key."""

    __slots__ = ("_stream", "_whole")

    def __init__(self, key: str | None, keep_alive: bool) -> None:
        common = [(b"Content-Type", b"application/json"), (b"Accept-Encoding", b"identity")]
        if not keep_alive:
            common.append((b"Connection", b"close"))
        if key is not None:
            common.append((b"Authorization", b"Bearer " + key.encode("ascii")))
        self._stream = [*common, (b"Accept", b"text/event-stream")]
        self._whole = [*common, (b"Accept", b"application/json")]

    def of(self, stream: bool) -> list[tuple[bytes, bytes]]:
        return self._stream if stream else self._whole


async def _assemble(body: Body, assembly: Assembly) -> None:
    """Read the whole body. The first byte tells JSON from a stream; servers mislabel both."""
    head = b""
    async for piece in body:
        head = (head + piece).removeprefix(b"\xef\xbb\xbf").lstrip()
        if head:
            break
    if head[:1] in (b"{", b"["):
        assembly.add_whole(await _whole(head, body))
    elif head[:1] == b"<":
        raise APIResponseError("the answer is a web page; is the base_url right?", retryable=False)
    elif not head:
        raise APIResponseError("the answer is empty")
    else:
        await _stream(head, body, assembly)


async def _whole(head: bytes, body: Body) -> bytes:
    parts = [head]
    size = len(head)
    async for piece in body:
        parts.append(piece)
        size += len(piece)
        if size > MAX_EVENT_BYTES:
            raise APIResponseError(
                f"the answer is longer than {MAX_EVENT_BYTES:,} bytes", retryable=False
            )
    return b"".join(parts)


async def _stream(head: bytes, body: Body, assembly: Assembly) -> None:
    decoder = SSEDecoder()
    size = len(head)
    _take(decoder.feed(head), assembly)
    if not assembly.ended:
        async for piece in body:
            size += len(piece)
            if size > _MAX_BODY:
                raise APIResponseError(
                    f"the stream is longer than {_MAX_BODY:,} bytes", retryable=False
                )
            _take(decoder.feed(piece), assembly)
            if assembly.ended:
                break
    if assembly.ended:
        with anyio.move_on_after(_END_SECONDS):
            async for _ in body:
                pass
        return
    with suppress(APIResponseError):  # half a chunk: what it says is told below
        _take(decoder.close(), assembly)
    if not assembly.whole:
        raise APIResponseError("the stream ended before the answer did")


def _take(events: list[Event], assembly: Assembly) -> None:
    for event in events:
        if event.type == b"error":
            raise ErrorInAnswer(decode_error(event.data))
        if event.data:
            assembly.add(event.data)
        if assembly.ended:
            return


def _unexpected(status: int, location: str | None, url: str) -> str:
    if 300 <= status < 400 and location:
        target = urlsplit(urljoin(url, location))
        return (
            f"redirects ({status}) to {one_line(f'{target.scheme}://{target.netloc}')}, which is "
            "not followed, so that no key goes astray: set base_url to the final address"
        )
    return f"answered {status}, which is no answer"
