"""A language-model server in this process that fails as it is told to.

It listens on a free loopback port, in a thread and event loop of its own, so it serves a test on
any async backend, or one without. It speaks chat completions::

    with FaultyServer(default=Reply("Hello.")) as server:
        server.on("slow", Reply("Hello.", delay=5.0))
        server.on("flaky", Reply(status=503), Reply("Hello."))
        ...  # call the models at server.base_url
        assert server.requests[0].model == "slow"
        server.wait_for(lambda: server.open_connections == 0)

Nothing in it is random.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from cascade.testing import _chat_completions
from cascade.testing._http11 import LAST_CHUNK, Connection, HTTPRequest, chunk, head
from cascade.testing.reply import (
    Reply,
    ServedRequest,
    WireFormat,
    body_pieces,
    response_headers,
)

__all__ = ["FaultyServer", "Reply", "ServedRequest"]

Script = Reply | Callable[[ServedRequest], Reply]
"""A reply, or a function of the request that gives one."""

_START_SECONDS = 10.0


_FORMATS: Mapping[str, Callable[[Reply, Mapping[str, Any], int], WireFormat]] = {
    _chat_completions.PATH: _chat_completions.ChatCompletions,
}


class FaultyServer:
    """A server for tests. Use it as a context manager; it stops at the end of the block.

    When a function given as a reply raises, the client's connection is cut, and the end of the
    block raises what the function raised.

    Args:
        default: the reply for models that `on` does not name. Without it they are unknown (404).

    All methods and properties may be used from any thread.
    """

    def __init__(self, *, default: Script | None = None) -> None:
        self._default = default
        self._scripts: dict[str, Iterator[Script]] = {}
        self._changed = threading.Condition()
        self._requests: list[ServedRequest] = []
        self._connections: set[Connection] = set()
        self._connections_made = 0
        self._port = 0
        self._failure: Exception | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._port = listener.getsockname()[1]
        started = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(listener, started)),
            name=f"FaultyServer:{self._port}",
            daemon=True,
        )
        self._thread.start()
        if not started.wait(_START_SECONDS):
            raise RuntimeError("the test server did not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._loop is not None
        assert self._stop is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        if self._failure is not None and error is None:
            raise self._failure

    @property
    def base_url(self) -> str:
        """The address before ``/chat/completions``."""
        return f"http://127.0.0.1:{self._port}/v1"

    def on(self, model: str, *replies: Script) -> None:
        """Answer requests for ``model`` with these replies in turn; the last one stays."""
        if not replies:
            raise ValueError(f"no reply for {model!r}")
        with self._changed:
            self._scripts[model] = _in_turn(replies)

    @property
    def requests(self) -> tuple[ServedRequest, ...]:
        """Every request so far, oldest first. The records go on changing while they run."""
        with self._changed:
            return tuple(self._requests)

    def count(self, model: str) -> int:
        """Number of requests for the model so far."""
        with self._changed:
            return sum(request.model == model for request in self._requests)

    @property
    def open_connections(self) -> int:
        """Connections open now, idle ones included."""
        with self._changed:
            return len(self._connections)

    @property
    def connections_made(self) -> int:
        """Connections opened since the start."""
        with self._changed:
            return self._connections_made

    def wait_for(self, condition: Callable[[], object], *, timeout: float = 5.0) -> None:
        """Block until the condition holds. It is asked again at each change in the server.

        Raises:
            TimeoutError: it did not hold within ``timeout`` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(condition, timeout):
                raise TimeoutError(
                    f"not so within {timeout} s: {len(self._connections)} connections open, "
                    f"{len(self._requests)} requests, the last {self._requests[-1:]}"
                )

    # In the server's thread ------------------------------------------------------------------

    async def _serve(self, listener: socket.socket, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await self._loop.create_server(lambda: Connection(self), sock=listener)
        started.set()
        await self._stop.wait()
        for connection in list(self._connections):
            connection.abort()
        # Besides the answers, which end when their connections are lost, asyncio may have a task
        # for a connection that it is accepting, and fails in it when the server is closed first.
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)
        server.close()
        while self._connections:  # noqa: ASYNC110  (the event loop's next turn closes them)
            await asyncio.sleep(0)

    def opened(self, connection: Connection) -> None:
        with self._changed:
            self._connections.add(connection)
            self._connections_made += 1
            self._changed.notify_all()
        if self._stop is not None and self._stop.is_set():
            connection.abort()

    def closed(self, connection: Connection) -> None:
        with self._changed:
            self._connections.discard(connection)
            self._changed.notify_all()

    async def answer(self, request: HTTPRequest, connection: Connection) -> None:
        record = self._record(request)
        try:
            await self._reply(record, connection)
        except asyncio.CancelledError:
            self._mark(record, aborted=time.monotonic())
            raise
        except Exception as error:
            self._failure = error
            raise
        if request.headers.get("connection", "").lower() == "close":
            connection.close()

    def _record(self, request: HTTPRequest) -> ServedRequest:
        try:
            body = json.loads(request.body)
        except ValueError:
            body = None
        body = body if isinstance(body, dict) else {}
        model = body.get("model")
        with self._changed:
            record = ServedRequest(
                number=len(self._requests),
                path=request.path,
                model=model if isinstance(model, str) else "",
                body=body,
                headers=request.headers,
                started=time.monotonic(),
            )
            self._requests.append(record)
            self._changed.notify_all()
        return record

    def _mark(self, record: ServedRequest, **values: float) -> None:
        with self._changed:
            for name, value in values.items():
                setattr(record, name, value)
            self._changed.notify_all()

    def _finish(self, record: ServedRequest, connection: Connection, last: bytes) -> None:
        # Marked first: whoever has read the last byte finds the record finished.
        self._mark(record, finished=time.monotonic())
        connection.write(last)

    def _script(self, record: ServedRequest) -> Reply:
        with self._changed:
            scripts = self._scripts.get(record.model)
            script = next(scripts) if scripts is not None else self._default
        if script is None:
            return Reply(
                f"The model {record.model!r} does not exist.",
                status=404,
                error={"type": "invalid_request_error", "code": "model_not_found"},
            )
        return script if isinstance(script, Reply) else script(record)

    async def _reply(self, record: ServedRequest, connection: Connection) -> None:
        ending = next((end for end in _FORMATS if record.path.split("?")[0].endswith(end)), None)
        if ending is None:
            body = b'{"error": {"message": "no such path", "code": null}}'
            self._finish(record, connection, head(404, {"Content-Length": str(len(body))}) + body)
            return
        reply = self._script(record)
        await _wait(reply.delay)
        if reply.hang == "headers":
            await _forever()
        if reply.wire is not None:
            self._finish(record, connection, reply.wire)
            connection.close()
            return
        body_of = _FORMATS[ending](reply, record.body, record.number)
        connection.write(head(reply.status, response_headers(reply, body_of, record.number)))
        await self._body(record, reply, body_of, connection)

    async def _body(
        self, record: ServedRequest, reply: Reply, body_of: WireFormat, connection: Connection
    ) -> None:
        wrap = chunk if reply.chunked else bytes
        tokens, end = body_pieces(reply, body_of)
        if reply.hang == "body":
            await _forever()
        for number, token in enumerate(tokens):
            if reply.cut_after == number:
                break
            await _wait(reply.token_delay)
            self._mark(record, tokens_sent=number + 1)
            connection.write(wrap(token))
        if reply.cut_after is not None and reply.cut_after <= len(tokens):
            self._finish(record, connection, b"")
            connection.close()  # what was written still arrives; the end of the body never does
            return
        if reply.hang == "end":
            await _forever()
        self._finish(record, connection, wrap(end) + (LAST_CHUNK if reply.chunked else b""))
        if not reply.chunked:
            connection.close()


def _in_turn(replies: Sequence[Script]) -> Iterator[Script]:
    yield from replies
    while True:
        yield replies[-1]


async def _wait(seconds: float) -> None:
    if seconds > 0:
        await asyncio.sleep(seconds)


async def _forever() -> None:
    await asyncio.get_running_loop().create_future()
