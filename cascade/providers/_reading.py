"""From the body of a response to an assembly: SSE, JSON lines or one JSON value, within bounds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

import anyio

from cascade.errors import APIResponseError
from cascade.providers._http_errors import ErrorBody
from cascade.providers._inflate import Inflate
from cascade.providers._json_lines import LineDecoder
from cascade.providers._sse import MAX_EVENT_BYTES, Event, SSEDecoder
from cascade.transport import Response
from cascade.types import Answer

Read = Callable[[], Awaitable[bytes]]
Said = Callable[[bytes], ErrorBody]

_MAX_BODY = 64_000_000  # bytes of one stream; tokens with 20 alternatives take 2 kB each
_END_SECONDS = 0.5  # to wait after the last event for the body's end, which keeps the connection


class ErrorInAnswer(Exception):  # noqa: N818  (caught by the provider, never seen outside)
    """The server sent an error object with status 200. Raised by assemblies."""

    def __init__(self, said: ErrorBody) -> None:
        super().__init__(said.message)
        self.said = said


class Assembly(Protocol):
    """Puts one answer together from what arrives.

    Its methods raise `ErrorInAnswer` for an error object and `APIResponseError` for what is no
    answer in this format; neither needs to say where it happened. What arrives is hostile.
    """

    @property
    def whole(self) -> bool:
        """Whether the server has said that the answer is complete. Else its end is a failure."""
        ...

    @property
    def ended(self) -> bool:
        """Whether nothing more follows; what does is not read. It includes ``whole``."""
        ...

    def add(self, event: Event, /) -> None:
        """Take in one event of a stream, or one line. Its data is never empty.

        SSE events of the type ``error`` do not come here: they are errors in every format.
        """
        ...

    def add_whole(self, body: bytes, /) -> None:
        """Take in the JSON body of an answer that was not streamed. It arrived as no delta."""
        ...

    def answer(self, request_id: str | None, /) -> Answer:
        """The answer as far as it was taken in."""
        ...


def reader(response: Response) -> Read:
    """Reads the body piece by piece, unpacked; empty at its end."""
    encoding = (response.headers.get("content-encoding") or "identity").strip().lower()
    if encoding == "identity":
        return response.read
    inflate = Inflate(encoding)

    async def read() -> bytes:
        while piece := await response.read():
            if data := inflate.feed(piece):
                return data
        return b""

    return read


async def assemble(read: Read, assembly: Assembly, said: Said, *, lines: bool) -> None:
    """Read the whole body. The first byte tells JSON from SSE; servers mislabel both."""
    head = b""
    while not head and (piece := await read()):
        head = piece.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not head:
        raise APIResponseError("the answer is empty")
    if head[:1] == b"<":
        raise APIResponseError("the answer is a web page; is the base_url right?", retryable=False)
    if lines:
        await _stream(head, read, assembly, said, LineDecoder())
    elif head[:1] in (b"{", b"["):
        assembly.add_whole(await _whole(head, read))
    else:
        await _stream(head, read, assembly, said, SSEDecoder())


async def _whole(head: bytes, read: Read) -> bytes:
    parts = [head]
    size = len(head)
    while piece := await read():
        parts.append(piece)
        size += len(piece)
        if size > MAX_EVENT_BYTES:
            raise APIResponseError(
                f"the answer is longer than {MAX_EVENT_BYTES:,} bytes", retryable=False
            )
    return b"".join(parts)


async def _stream(
    head: bytes, read: Read, assembly: Assembly, said: Said, decoder: SSEDecoder | LineDecoder
) -> None:
    size = 0
    piece = head
    while piece and not assembly.ended:
        size += len(piece)
        if size > _MAX_BODY:
            raise APIResponseError(
                f"the stream is longer than {_MAX_BODY:,} bytes", retryable=False
            )
        _take(decoder.feed(piece), assembly, said)
        if not assembly.ended:
            piece = await read()
    if assembly.ended:
        with anyio.move_on_after(_END_SECONDS):
            while await read():
                pass
        return
    with suppress(APIResponseError):  # half an event: what it says is told below
        _take(decoder.close(), assembly, said)
    if not assembly.whole:
        raise APIResponseError("the stream ended before the answer did")


def _take(events: list[Event], assembly: Assembly, said: Said) -> None:
    for event in events:
        if event.type == b"error":
            raise ErrorInAnswer(said(event.data))
        if event.data:
            assembly.add(event)
        if assembly.ended:
            return
