"""Just enough HTTP/1.1 for a test server: requests in, whatever bytes are wanted out.

A protocol class and not asyncio's streams, because a lost connection must be noticed at once,
also while a reply is being delayed.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

MAX_HEAD = 64_000
MAX_BODY = 100_000_000


@dataclass(frozen=True, slots=True)
class HTTPRequest:
    """One request. Header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json_object(self) -> dict[str, Any]:
        """The body's JSON; empty when it is no JSON object."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}


class BadHTTPError(Exception):
    """What came in is not HTTP as it is understood here."""


class Handler(Protocol):
    """What a connection tells, all in the server's own event loop."""

    def opened(self, connection: Connection) -> None: ...
    def closed(self, connection: Connection) -> None: ...
    def answer(
        self, request: HTTPRequest, connection: Connection
    ) -> Coroutine[None, None, None]: ...


class Connection(asyncio.Protocol):
    """One client's connection: parses its requests and runs their answers, one after another."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._buffer = bytearray()
        self._answer: asyncio.Task[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        # Tokens are small writes; with Nagle's algorithm each would wait 40 ms for a delayed ACK.
        # asyncio sets this itself only for sockets that it has made.
        connected: socket.socket = transport.get_extra_info("socket")
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._handler.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self._answer is not None:
            self._answer.cancel()
        self._handler.closed(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._answer is None:
            self._next()

    def pause_writing(self) -> None:
        self._room = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    async def drain(self) -> None:
        """Wait while the client does not read what was written."""
        if self._room is not None:
            await self._room
        elif self.transport is not None and self.transport.is_closing():
            await asyncio.sleep(0)  # the loop's next turn cancels the answer

    def write(self, data: bytes) -> None:
        """Send, unless the client is gone."""
        if self.transport is not None:
            self.transport.write(data)

    def close(self) -> None:
        """Send what was written, then close."""
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Close now, without sending what is left."""
        if self.transport is not None:
            self.transport.abort()

    def reset(self) -> None:
        """Close now, and have the client told that the connection was reset."""
        if self.transport is not None:
            connected: socket.socket = self.transport.get_extra_info("socket")
            # Closing a socket that does not linger sends RST: POSIX, getsockopt, SO_LINGER.
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()

    def _next(self) -> None:
        try:
            request = take_request(self._buffer)
        except BadHTTPError as error:
            self.write(head(400, {"Content-Length": "0", "X-Error": str(error)}))
            self.close()
            return
        if request is not None:
            coroutine = self._handler.answer(request, self)
            self._answer = asyncio.get_running_loop().create_task(coroutine)
            self._answer.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._answer = None
        if task.cancelled() or task.exception() is not None:
            self.abort()
        elif self.transport is not None and not self.transport.is_closing():
            self._next()


def take_request(buffer: bytearray) -> HTTPRequest | None:
    """Cut one whole request off the front of the buffer; None while it is not whole.

    Raises:
        BadHTTPError: it never will be.
    """
    if buffer and not 0x41 <= buffer[0] <= 0x5A:  # A to Z; TLS would wait for an answer to it
        raise BadHTTPError("no request line")
    end = buffer.find(b"\r\n\r\n", 0, MAX_HEAD)
    if end < 0:
        if len(buffer) >= MAX_HEAD:
            raise BadHTTPError("head too long")
        return None
    lines = bytes(buffer[:end]).decode("latin-1").split("\r\n")
    first = lines[0].split(" ")
    if len(first) != 3 or not first[2].startswith("HTTP/1."):
        raise BadHTTPError("no request line")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            raise BadHTTPError("no header")
        headers[name.strip().lower()] = value.strip()
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not length.isdecimal() or int(length) > MAX_BODY:
        raise BadHTTPError("a body needs a Content-Length")
    start = end + 4
    stop = start + int(length)
    if len(buffer) < stop:
        return None
    body = bytes(buffer[start:stop])
    del buffer[:stop]
    return HTTPRequest(first[0], first[1], headers, body)


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """The status line and headers, up to and with the empty line."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {headers[name]}" for name in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunk(data: bytes) -> bytes:
    """A piece of a body in chunked transfer encoding. Empty data would end the body."""
    return b"%x\r\n%s\r\n" % (len(data), data) if data else b""


LAST_CHUNK = b"0\r\n\r\n"
