"""A server of canned answers in a process of its own, so that it takes no time from the client.

It is as cheap as Python allows (bytes made beforehand, no JSON read), because on few processors
every microsecond of the server is one that a client waits. Each token is written by itself, as a
model writes it. The model asked for says what it does:

``wrong``    answers with `WRONG` at once, which does not fit the schema
``long``     answers with `LONG` at once, in a thousand tokens, written in one piece: by themselves
             they would fill the client's receive buffer with headers, and wait for timers
``slow``     sends headers and the first token, and no more until the client is gone
``held``     answers with `ANSWER` after a random time within `HELD`; the header ``x-request-id`` is
             the microseconds that it was held, as it turned out
any other    answers with `ANSWER` at once
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import random
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

MODEL = "gpt-4o-mini"
"""One that everybody knows the price of, so that nobody is slow for want of it."""

ANSWER = '{"label": "billing", "urgent": false}'
WRONG = '{"label": "refund", "urgent": false}'
LONG = json.dumps({"tickets": [{"number": n, "label": "billing"} for n in range(250)]})

HELD = (0.1, 0.3)
"""Seconds: long enough that 32 calls in flight leave client and server idle most of the time."""

_START_SECONDS = 30.0
_USAGE = {"prompt_tokens": 14, "completion_tokens": 5, "total_tokens": 19}
_FIELDS = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": MODEL}


@contextmanager
def canned_server() -> Iterator[str]:
    """The base URL of a server that answers every chat completion, streamed if so asked."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()  # so that the end of the other side, if it fails, is seen here
    try:
        if not ours.poll(_START_SECONDS):
            raise TimeoutError(f"the server did not start within {_START_SECONDS:.0f} s")
        yield f"http://127.0.0.1:{ours.recv()}/v1"
    finally:
        ours.close()  # tells it to stop
        process.join(_START_SECONDS)
        process.terminate()


def in_flight(base_url: str) -> int:
    """How many requests the server is answering now."""
    with urllib.request.urlopen(f"{base_url}/in-flight", timeout=10) as response:  # noqa: S310  (our own server)
        return int(response.read())


def _serve(pipe: Connection) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)

    async def serve() -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        await loop.create_server(_Canned, sock=listener)
        loop.add_reader(pipe.fileno(), over.set)  # also when the parent was killed
        pipe.send(listener.getsockname()[1])
        await over.wait()

    asyncio.run(serve())


class _Canned(asyncio.Protocol):
    """One connection: cuts requests off its buffer and writes what they are to get."""

    waiting = 0  # requests of all connections that will get no more

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._hangs = False
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        _Canned.waiting -= self._hangs

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._buffer[:end]).lower()
            _, found, rest = head.partition(b"content-length:")
            stop = end + 4 + (int(rest.partition(b"\r\n")[0]) if found else 0)
            if len(self._buffer) < stop:
                return
            body = bytes(self._buffer[end + 4 : stop])
            del self._buffer[:stop]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        assert self._transport is not None
        if b"/in-flight " in head:
            self._transport.write(_whole(str(_Canned.waiting).encode()))
        elif b'"slow"' in body:
            self._hangs = True
            _Canned.waiting += 1
            for piece in _STREAMED[ANSWER][:2]:
                self._transport.write(piece)
        elif b'"held"' in body:
            loop = asyncio.get_running_loop()
            loop.call_later(random.uniform(*HELD), self._release, time.perf_counter())  # noqa: S311  (load, no secret)
        else:
            answer = WRONG if b'"wrong"' in body else LONG if b'"long"' in body else ANSWER
            streamed = b'"stream":true' in body or b'"stream": true' in body
            if answer is LONG:
                self._transport.write(b"".join(_STREAMED[LONG]))
                return
            for piece in _STREAMED[answer] if streamed else (_WHOLE[answer],):
                self._transport.write(piece)

    def _release(self, since: float) -> None:
        if self._transport is None:
            return
        head, *pieces = _STREAMED[ANSWER]
        held = round((time.perf_counter() - since) * 1e6)
        self._transport.write(head[:-2] + b"x-request-id: %d\r\n\r\n" % held)
        for piece in pieces:
            self._transport.write(piece)


def _whole(body: bytes) -> bytes:
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _completion(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps(
        {**_FIELDS, "object": "chat.completion", "choices": [choice], "usage": _USAGE}
    ).encode()


def _stream(text: str) -> tuple[bytes, ...]:
    """The head, and each event in a piece of its own."""

    def event(delta: dict[str, Any] | None, **more: Any) -> bytes:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": None}]
        for choice in choices:
            choice.update(more)
            more = {}
        fields = {**_FIELDS, "object": "chat.completion.chunk", "choices": choices, **more}
        return f"data: {json.dumps(fields)}\n\n".encode()

    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    tokens = [word + " " for word in text.split(" ")]
    tokens[-1] = tokens[-1][:-1]
    events = [event({"role": "assistant", "content": tokens[0]})]
    events += [event({"content": token}) for token in tokens[1:]]
    events += [event({}, finish_reason="stop"), event(None, usage=_USAGE) + b"data: [DONE]\n\n"]
    pieces = [b"%x\r\n%s\r\n" % (len(data), data) for data in events]
    return (head, *pieces[:-1], pieces[-1] + b"0\r\n\r\n")


_WHOLE = {text: _whole(_completion(text)) for text in (ANSWER, WRONG, LONG)}
_STREAMED = {text: _stream(text) for text in (ANSWER, WRONG, LONG)}
