"""A language-model server in this process that fails as it is told to.

It listens on a free loopback port, in a thread and event loop of its own, so it serves a test on
any async backend, or one without. It speaks every wire format that has a provider here, on the
one port; the path of a request tells which::

    with FaultyServer(default=Reply("Hello.")) as server:
        server.on("slow", Reply("Hello.", delay=5.0))
        server.on("flaky", Reply(status=503), Reply("Hello."))
        ...  # call the models at server.base_url, or at server.url
        assert server.requests[0].model == "slow"
        assert server.ledger.aborts == 0
        server.wait_for(lambda: server.open_connections == 0)

Nothing in it is random.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from cascade.testing._dialect import Dialect, body_pieces, response_headers
from cascade.testing._dialects import find_dialect
from cascade.testing._http11 import LAST_CHUNK, Connection, HTTPRequest, chunk, head
from cascade.testing.reply import Reply, ServedRequest, ServerLedger

__all__ = ["FaultyServer", "Reply", "ServedRequest"]

Script = Reply | Callable[[ServedRequest], Reply]
"""A reply, or a function of the request that gives one."""

_START_SECONDS = 10.0


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
        self._ledger = ServerLedger()
        self._connections: dict[Connection, ServedRequest | None] = {}  # what each is answering
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
    def url(self) -> str:
        """The server's address, without a path."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def base_url(self) -> str:
        """The address before ``/chat/completions`` and ``/responses``."""
        return f"{self.url}/v1"

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

    def take_ended(self) -> tuple[ServedRequest, ...]:
        """The requests that are over, which are then forgotten, for a run that is long.

        The `ledger` goes on counting them.
        """
        with self._changed:
            ended = tuple(r for r in self._requests if _over(r))
            self._requests = [r for r in self._requests if not _over(r)]
            return ended

    @property
    def ledger(self) -> ServerLedger:
        """The numbers of starts, finishes, aborts and tokens until now."""
        with self._changed:
            return self._ledger

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
            self._connections[connection] = None
            self._connections_made += 1
            self._changed.notify_all()
        if self._stop is not None and self._stop.is_set():
            connection.abort()

    def closed(self, connection: Connection) -> None:
        with self._changed:
            record = self._connections.pop(connection)
            if record is not None:
                record.aborted = time.monotonic()
                self._ledger = replace(self._ledger, aborts=self._ledger.aborts + 1)
            self._changed.notify_all()

    def answer(self, request: HTTPRequest, connection: Connection) -> Coroutine[None, None, None]:
        # Recorded before the coroutine first runs: it never does for a client that goes at once.
        body = request.json_object()
        dialect, model = find_dialect(request.path.partition("?")[0], body)
        with self._changed:
            record = ServedRequest(
                number=self._ledger.starts,
                path=request.path,
                model=model,
                body=body,
                headers=request.headers,
                started=time.monotonic(),
            )
            self._requests.append(record)
            self._connections[connection] = record
            self._ledger = replace(self._ledger, starts=self._ledger.starts + 1)
            self._changed.notify_all()
        return self._answer(record, dialect, connection)

    async def _answer(
        self, record: ServedRequest, dialect: type[Dialect] | None, connection: Connection
    ) -> None:
        try:
            await self._reply(record, dialect, connection)
        except Exception as error:
            self._failure = error
            raise
        if record.headers.get("connection", "").lower() == "close":
            connection.close()

    def _send(self, record: ServedRequest, token: bytes, connection: Connection) -> None:
        with self._changed:
            record.tokens_sent += 1
            self._ledger = replace(self._ledger, tokens=self._ledger.tokens + 1)
            self._changed.notify_all()
        connection.write(token)

    def _finish(self, record: ServedRequest, last: bytes, connection: Connection) -> None:
        # Marked first: whoever has read the last byte finds the record finished.
        with self._changed:
            record.finished = time.monotonic()
            self._connections[connection] = None
            self._ledger = replace(self._ledger, finishes=self._ledger.finishes + 1)
            self._changed.notify_all()
        connection.write(last)

    def _script(self, record: ServedRequest) -> Reply:
        with self._changed:
            scripts = self._scripts.get(record.model)
            script = next(scripts) if scripts is not None else self._default
        if script is None:
            return Reply(f"The model {record.model!r} does not exist.", status=404)
        return script if isinstance(script, Reply) else script(record)

    async def _reply(
        self, record: ServedRequest, dialect: type[Dialect] | None, connection: Connection
    ) -> None:
        if dialect is None:
            body = b'{"error": {"message": "no such path", "code": null}}'
            self._finish(record, head(404, {"Content-Length": str(len(body))}) + body, connection)
            return
        reply = self._script(record)
        await _wait(reply.delay)
        if reply.hang == "headers":
            await _forever()
        if reply.wire is not None:
            self._finish(record, reply.wire, connection)
            _hang_up(reply, connection)
            return
        body_of = dialect(reply, record)
        connection.write(head(reply.status, response_headers(reply, body_of, record.number)))
        await self._body(record, reply, body_of, connection)

    async def _body(
        self, record: ServedRequest, reply: Reply, body_of: Dialect, connection: Connection
    ) -> None:
        wrap = chunk if reply.chunked else bytes
        tokens, end = body_pieces(reply, body_of)
        if reply.hang == "body":
            await _forever()
        for number, token in enumerate(tokens):
            if reply.cut_after == number:
                break
            await _wait(reply.delay_of(number))
            self._send(record, wrap(token), connection)
            await connection.drain()
        if reply.cut_after == record.tokens_sent:
            self._finish(record, b"", connection)
            _hang_up(reply, connection)  # what was written arrives; the body's end never does
            return
        if reply.hang == "end":
            await _forever()
        self._finish(record, wrap(end) + (LAST_CHUNK if reply.chunked else b""), connection)
        if not reply.chunked:
            connection.close()


def _over(request: ServedRequest) -> bool:
    return request.finished is not None or request.aborted is not None


def _hang_up(reply: Reply, connection: Connection) -> None:
    if reply.reset:
        connection.reset()
    else:
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
