"""A server in a process of its own in which everything goes wrong at random.

Part of ``python -m benchmarks.soak``, which says what is measured.
"""

from __future__ import annotations

import logging
import multiprocessing
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from random import Random
from typing import Final, NamedTuple

from cascade import Usage
from cascade.testing import FaultyServer, Reply, ServedRequest
from cascade.testing._dialect import texts_in

GOOD: Final = 0.5
"""Share of the replies with which nothing is wrong but, now and then, what they say."""

_CALL: Final = re.compile(r"call (\d+)")
_PAGE: Final = b"<!DOCTYPE html><html><body>Bad gateway</body></html>"
_PAUSES: Final = (0.0, 0.001, 0.003)


class Served(NamedTuple):
    """One request as the server saw it to its end.

    Attributes:
        number: of the server, from 0 in the order in which they came in.
        call: the number in the prompt; -1 when there is none.
        fault: what was wrong with the reply; "" when nothing had been decided yet.
        finished: whether the reply was written to its end, or cut as it was to be; else the
            client was seen to be gone before.
        tokens: tokens written.
        counted: whether the reply tells its number of tokens.
    """

    number: int
    call: int
    model: str
    fault: str
    finished: bool
    tokens: int
    counted: bool


class Status(NamedTuple):
    """What the server says when it is asked: what is over since the last time, and its ledger."""

    ended: list[Served]
    starts: int
    finishes: int
    aborts: int
    tokens: int
    running: int
    connections: int


def _words(random: Random, most: int = 40) -> str:
    """An answer; one in four is to be rejected, by its first word."""
    words = (f"word{random.randrange(100)}" for _ in range(random.randint(1, most)))
    return " ".join(("no" if random.random() < 0.25 else "yes", *words))


def _good(random: Random) -> Reply:
    return Reply(
        _words(random),
        delay=random.choice((0.0, 0.0, 0.005, 0.02)),
        token_delay=random.choice(_PAUSES),
    )


def _status(status: int, **headers: str) -> Callable[[Random], Reply]:
    return lambda random: Reply("told to fail", status=status, headers=headers)


def _retry_after(value: str) -> Callable[[Random], Reply]:
    return lambda random: Reply("too many", status=429, headers={"Retry-After": value})


def _content(random: Random, text: str) -> bytes:
    return b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % text.encode()


def _duplicate_end(random: Random) -> Reply:
    end = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    return Reply(
        raw=[_content(random, "yes"), end, end, b"data: [DONE]\n\n"],
        content_type="text/event-stream",
    )


def _raw(*pieces: bytes, kind: str = "text/event-stream") -> Callable[[Random], Reply]:
    return lambda random: Reply(raw=pieces, content_type=kind)


def _wire(data: bytes) -> Callable[[Random], Reply]:
    return lambda random: Reply(wire=data)


FAULTS: Final[dict[str, Callable[[Random], Reply]]] = {
    **{
        f"status {status}": _status(status)
        for status in (400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529)
    },
    "429, at once": _retry_after("0"),
    "429, soon": _retry_after("0.02"),
    "429, in 1970": _retry_after("Thu, 01 Jan 1970 00:00:00 GMT"),
    "429, in an age": _retry_after("31536000"),
    "429, whenever": _retry_after("whenever"),
    "bad content filter": lambda random: Reply(_words(random), finish_reason="content_filter"),
    "cut by length": lambda random: Reply(_words(random), finish_reason="length"),
    "cut before a token": lambda random: Reply(_words(random), cut_after=0),
    "cut in the middle": lambda random: Reply(_words(random) + " end", cut_after=2),
    "cut, not chunked": lambda random: Reply(_words(random) + " end", cut_after=2, chunked=False),
    "drip": lambda random: Reply(_words(random), token_delay=0.02),
    "duplicate end": _duplicate_end,
    "empty": lambda random: Reply(""),
    "empty body": _raw(b" "),
    "empty choices": _raw(b'data: {"choices":[]}\n\n', b"data: [DONE]\n\n"),
    "error at 200": lambda random: Reply(
        raw=b'{"error":{"message":"overloaded"}}', content_type="application/json"
    ),
    "error in the stream": lambda random: Reply(_words(random), error={"message": "overloaded"}),
    "gzip, or so": lambda random: Reply(
        raw=b"\x1f\x8b\x08\x00 not gzip", headers={"Content-Encoding": "gzip"}
    ),
    "hang before headers": lambda random: Reply(_words(random), hang="headers"),
    "hang before a token": lambda random: Reply(_words(random), hang="body"),
    "hang at the end": lambda random: Reply(_words(random), hang="end"),
    "HTML": lambda random: Reply(raw=_PAGE, content_type="text/html"),
    "invalid UTF-8": _raw(b'data: {"choices":[{"index":0,"delta":{"content":"\xff\xfe"}}]}\n\n'),
    "large": lambda random: Reply("yes " * 400, tokens=["yes " * 50] * 400),
    "length too long": _wire(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}"),
    "length too short": _wire(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{}"),
    "no end mark": lambda random: Reply(_words(random), done=False),
    "no finish reason": lambda random: Reply(_words(random), finish_reason=None, done=False),
    "no HTTP": _wire(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "no usage": lambda random: Reply(_words(random), usage=None),
    "not chunked": lambda random: Reply(_words(random), chunked=False),
    "nothing": _wire(b""),
    "null": _raw(b'data: {"choices":[{"index":0,"delta":{"content":null}}]}\n\n'),
    "redirect": _status(307, Location="http://elsewhere.invalid/"),
    "slow": lambda random: Reply(_words(random), delay=random.uniform(0.03, 0.2)),
    "truncated JSON": _raw(b'data: {"choices":[{"ind'),
    "usage of nothing": lambda random: Reply(_words(random), usage=Usage()),
}


class FaultsAtRandom:
    """Draws the reply to each request, and remembers what it drew until the request is over."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311  (no secret)
        self._names = tuple(FAULTS)
        self._drawn: dict[int, tuple[str, bool]] = {}

    def __call__(self, request: ServedRequest) -> Reply:
        """The reply to a request. For the server's own thread."""
        random = self._random
        name = "none" if random.random() < GOOD else random.choice(self._names)
        reply = _good(random) if name == "none" else FAULTS[name](random)
        whole = reply.raw is None and reply.wire is None and bool(reply.pieces)
        counted = whole and reply.usage is True
        self._drawn[request.number] = (name, counted)
        return reply

    def served(self, request: ServedRequest) -> Served:
        """The record of a request that is over; what was drawn for it is forgotten."""
        fault, counted = self._drawn.pop(request.number, ("", False))
        return Served(
            number=request.number,
            call=call_number(request),
            model=request.model,
            fault=fault,
            finished=request.finished is not None,
            tokens=request.tokens_sent,
            counted=counted,
        )


def call_number(request: ServedRequest) -> int:
    """Which of our calls a request is part of, in whatever format it was written."""
    for key in ("messages", "contents", "input"):
        for text in texts_in(request.body.get(key)):
            if found := _CALL.search(text):
                return int(found[1])
    return -1


def _serve(pipe: Connection, seed: int) -> None:
    # asyncio warns of each client that goes while it is being written to; here that is the point.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    faults = FaultsAtRandom(seed)
    with FaultyServer(default=faults) as server, suppress(EOFError):  # the parent is gone
        pipe.send(server.url)
        while pipe.recv():
            # The ledger first: what ends in between is told the next time.
            ledger, connections = server.ledger, server.open_connections
            pipe.send(
                Status(
                    [faults.served(request) for request in server.take_ended()],
                    ledger.starts,
                    ledger.finishes,
                    ledger.aborts,
                    ledger.tokens,
                    ledger.running,
                    connections,
                )
            )


class RemoteServer:
    """The server, from the process that calls it."""

    def __init__(self, url: str, pipe: Connection) -> None:
        self.url = url
        self._pipe = pipe

    def status(self) -> Status:
        """Ask how it stands. Blocks for a moment; for one thread at a time."""
        self._pipe.send(True)
        status: Status = self._pipe.recv()
        return status


@contextmanager
def faulty_server(seed: int) -> Iterator[RemoteServer]:
    """A server in a process of its own that answers with faults at random."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, seed), daemon=True)
    process.start()
    theirs.close()  # or a server that does not come up would be waited for in vain
    try:
        yield RemoteServer(ours.recv(), ours)
    finally:
        ours.close()
        process.terminate()
        process.join()
