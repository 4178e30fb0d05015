"""What a server does when a stream is closed, measured against loopback servers that do either."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from hypothesis import given
from hypothesis import strategies as st

from cascade import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    ConfigError,
    Engine,
    ModelUnavailableError,
    ProviderError,
)
from cascade.probe import LENGTH, TASTE, Probe, probe
from cascade.server_view import SOURCES, View

pytestmark = pytest.mark.anyio

TOKEN_S = 0.004
KEY = "sk-probe"


class Server:
    """A model server with a view of itself, in one of the forms that there are.

    Args:
        shows: ``vllm``, ``llama.cpp`` (whose counter grows when a request ends), ``old llama.cpp``
            (which counts only answers that came to their end), ``slots``, or ``nothing``.
        stops: whether it stops when the client is gone.
        stale: whether its gauge keeps its value when the last request is aborted.
        tokens: how many it writes at most.
        status: of its answers.
    """

    def __init__(
        self,
        shows: Literal["vllm", "llama.cpp", "old llama.cpp", "slots", "nothing"] = "vllm",
        *,
        stops: bool = True,
        stale: bool = False,
        tokens: int = 10_000,
        status: int = 200,
    ) -> None:
        self.shows = shows
        self.stops = stops
        self.stale = stale
        self.tokens = tokens
        self.status = status
        self.running = 0
        self.others = 0
        self.generated = 1000  # for callers before
        self.asked: list[dict[str, Any]] = []
        self.looks = 0
        self.url = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Server]:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
        async with listener, anyio.create_task_group() as tasks:
            port = listener.extra(SocketAttribute.local_port)
            self.url = f"http://127.0.0.1:{port}"
            tasks.start_soon(listener.serve, self._serve)
            yield self
            tasks.cancel_scope.cancel()

    async def _serve(self, stream: SocketStream) -> None:
        async with stream:
            received = b""
            while b"\r\n\r\n" not in received:
                received += await stream.receive()
            head, _, body = received.partition(b"\r\n\r\n")
            assert f"Authorization: Bearer {KEY}".lower() in head.decode().lower()
            if head.startswith(b"GET "):
                self.looks += 1
                await self._send(stream, *self._view(head.split()[1].decode()))
                return
            length = int(head.lower().partition(b"content-length: ")[2].split()[0])
            while len(body) < length:
                body += await stream.receive()
            self.asked.append(json.loads(body))
            if self.status != 200:
                await self._send(stream, self.status, '{"error": {"message": "no"}}')
                return
            await self._generate(stream, min(self.asked[-1]["max_tokens"], self.tokens))

    async def _send(self, stream: SocketStream, status: int, body: str) -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        await stream.send((head + body).encode())

    def _view(self, path: str) -> tuple[int, str]:
        running = self.running + self.others
        if path == "/metrics" and self.shows == "vllm":
            labels = '{engine="0",model_name="m}"}'
            return 200, (
                "# TYPE vllm:num_requests_running gauge\n"
                f"vllm:num_requests_running{labels} {running}.0\n"
                f"vllm:num_requests_waiting{labels} 0.0\n"
                f"vllm:generation_tokens_total{labels} {self.generated / 1e3}e+03\n"
            )
        if path == "/metrics" and "llama.cpp" in self.shows:
            return 200, (
                f"llamacpp:requests_processing {running}\nllamacpp:requests_deferred 0\n"
                f"llamacpp:tokens_predicted_total {self.generated}\n"
            )
        if path == "/slots" and self.shows == "slots":
            slots = [{"id": i, "is_processing": i < running, "prompt": "…"} for i in range(4)]
            return 200, json.dumps(slots)
        return 404, "no such path"

    async def _generate(self, stream: SocketStream, tokens: int) -> None:
        self.running += 1
        written, here = 0, True
        try:
            await stream.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            while written < tokens and (here or not self.stops):
                await anyio.sleep(TOKEN_S)
                written += 1
                self.generated += self.shows == "vllm"
                here = here and await self._deliver(stream, {"delta": {"content": "one "}})
        finally:
            if self.shows == "llama.cpp" or (self.shows == "old llama.cpp" and written == tokens):
                self.generated += written
            self.running -= not self.stale
        if here:
            await self._deliver(stream, {"delta": {}, "finish_reason": "length"})

    async def _deliver(self, stream: SocketStream, choice: dict[str, Any]) -> bool:
        try:
            await stream.send(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return False
        return True


async def measured(server: Server, **settings: Any) -> Probe:
    failure = None
    async with server.serving(), Engine() as engine:
        url = f"{server.url}/v1"
        try:
            return await probe(engine, "openai:m", base_url=url, api_key=KEY, **settings)
        except ProviderError as error:  # so that it does not come out of the task group
            failure = error
    raise failure


@pytest.mark.parametrize("shows", ["vllm", "llama.cpp", "old llama.cpp", "slots"])
async def test_a_server_that_stops(shows: Any) -> None:
    found = await measured(server := Server(shows))
    assert (found.stops, found.reason) == (True, "the server stopped")
    assert found.seconds is not None
    assert TASTE <= found.received < LENGTH / 2
    if shows in ("vllm", "llama.cpp"):
        assert found.generated is not None
        assert found.received <= found.generated == server.generated - 1000
    else:
        assert found.generated is None
    assert server.asked[0]["ignore_eos"] is True


@pytest.mark.parametrize("shows", ["vllm", "llama.cpp", "old llama.cpp", "slots"])
async def test_a_server_that_writes_on(shows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cascade.probe.LENGTH", 120)
    monkeypatch.setattr("cascade.probe._TELLING", 0.1)
    found = await measured(Server(shows, stops=False))
    assert found.stops is False
    assert found.reason == "the server wrote on to the end of the answer"
    assert found.generated == (None if shows == "slots" else 120)


async def test_time_alone_does_not_tell_of_a_server_that_is_quick(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cascade.probe.LENGTH", 40)
    found = await measured(Server("slots"))
    assert found.stops is None
    assert found.reason == "the server writes too fast to see whether it stopped"


async def test_a_server_that_is_not_waited_for_to_the_end() -> None:
    found = await measured(Server("llama.cpp", stops=False), patience=0.3)
    assert (found.stops, found.seconds) == (False, None)
    assert found.reason == "the server still worked 0.3 s after the stream was closed"


async def test_a_gauge_that_was_left_behind_is_not_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cascade.probe._QUIET", 0.3)
    found = await measured(server := Server("vllm", stale=True))
    assert server.running == 1
    assert found.stops is True
    assert found.seconds is not None
    assert found.seconds < 0.3


async def test_a_server_that_shows_nothing_is_not_even_asked() -> None:
    found = await measured(server := Server("nothing"))
    assert (found.stops, found.seen_through) == (None, None)
    assert found.reason == "the server does not show its requests"
    assert server.asked == []


async def test_a_busy_server_is_not_asked() -> None:
    server = Server()
    server.others = 3
    found = await measured(server)
    assert (found.stops, server.asked) == (None, [])
    assert "requests run there already (3)" in found.reason


async def test_what_is_seen_while_others_ask_too_says_nothing() -> None:
    class Sociable(Server):
        async def _generate(self, stream: SocketStream, tokens: int) -> None:
            try:
                await super()._generate(stream, tokens)
            finally:
                self.others = 2

    found = await measured(Sociable(stops=True))
    assert found.stops is None
    assert "another request came in" in found.reason


async def test_a_view_without_our_request_says_nothing() -> None:
    class Elsewhere(Server):
        def _view(self, path: str) -> tuple[int, str]:
            self.running, self.generated = 0, 0
            return super()._view(path)

    found = await measured(Elsewhere("llama.cpp"))
    assert found.stops is None
    assert found.reason == "what the server shows does not have this request in it"


@pytest.mark.parametrize("tokens", [0, 3])
async def test_an_answer_that_is_over_at_once_says_nothing(tokens: int) -> None:
    found = await measured(Server(tokens=tokens))
    assert found.stops is None
    assert found.reason == "the answer was over before it could be given up"


async def test_an_answer_that_does_not_begin_says_nothing() -> None:
    class Silent(Server):
        async def _generate(self, stream: SocketStream, tokens: int) -> None:
            await anyio.sleep_forever()

    found = await measured(Silent(), patience=0.2)
    assert (found.stops, found.reason) == (None, "no token came within 0.2 s")


async def test_an_answer_that_stalls_at_its_beginning_says_nothing() -> None:
    class Stalling(Server):
        async def _deliver(self, stream: SocketStream, choice: dict[str, Any]) -> bool:
            if self.generated >= 1000 + 3:
                await anyio.sleep_forever()
            return await super()._deliver(stream, choice)

    found = await measured(Stalling(), patience=0.3)
    assert (found.stops, found.received) == (None, 2)
    assert found.reason == f"only 2 of the first {TASTE} tokens came within 0.3 s"


class Forgetful(Server):
    """Shows its requests a few times, and then does not answer who asks for them."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.most = looks

    async def _send(self, stream: SocketStream, status: int, body: str) -> None:
        if self.looks > self.most:
            await anyio.sleep_forever()
        await super()._send(stream, status, body)


async def test_a_server_that_no_longer_shows_its_requests_is_not_blamed_for_tokens() -> None:
    found = await measured(Forgetful(1), patience=0.5)
    assert (found.stops, found.received >= TASTE) == (None, True)
    assert found.reason == (
        "the answer began, but the server did not show its requests within 0.5 s"
    )


@pytest.mark.parametrize("looks", [0, 1, 2])
async def test_a_server_that_does_not_answer_is_not_waited_for_for_ever(
    looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cascade.server_view._SECONDS", 0.3)
    with pytest.raises(APITimeoutError, match=r"^timed out waiting for 127\.0\.0\.1:\d+$"):
        await measured(Forgetful(looks))


async def test_a_call_that_fails_is_an_error() -> None:
    with pytest.raises(AuthenticationError):
        await measured(Server(status=401))
    async with Engine() as engine:
        with pytest.raises(APIConnectionError, match="cannot connect"):
            await probe(engine, "openai:m", base_url="http://127.0.0.1:1/v1", api_key=KEY)


async def test_what_speaks_no_chat_completions_is_unknown() -> None:
    async with Engine() as engine:
        found = await probe(engine, "ollama:m", base_url="http://127.0.0.1:1")
    assert (found.stops, found.seen_through) == (None, None)
    assert found.reason.startswith("nothing: only servers behind 'openai:' and 'local:' models")


async def test_an_error_names_no_policy_where_the_user_named_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    async with Engine() as engine:
        with pytest.raises(ConfigError, match=r"^the environment variable OPENAI_API_KEY"):
            await probe(engine, "openai:m")


READ = {source.name: source.read for source in SOURCES}


@given(st.binary(max_size=300))
def test_whatever_a_server_shows_can_be_read(body: bytes) -> None:
    for read in READ.values():
        for whole in (body, b"vllm:num_requests_running " + body, b"[" + body):
            assert isinstance(read(whole), View | None)


@pytest.mark.parametrize("value", ["NaN", "+Inf", "", "x", "}"])
def test_a_metric_without_a_number_is_none(value: str) -> None:
    assert READ["llama.cpp's /metrics"](f"llamacpp:requests_processing {value}".encode()) is None


def test_metrics_of_several_engines_are_added_up() -> None:
    body = b"".join(
        b'vllm:num_requests_running{engine="%d"} 2.0\nvllm:generation_tokens_total{engine="%d"} 7\n'
        % (engine, engine)
        for engine in range(3)
    )
    assert READ["vLLM's /metrics"](body) == View(6, 21)


def test_a_deep_body_is_no_view() -> None:
    assert READ["llama.cpp's /slots"](b'[{"id": 0, "x": ' + b"[" * 200_000) is None


async def test_a_view_that_does_not_end_is_not_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cascade.server_view._MAX_BODY", 10)
    assert (await measured(Server())).reason == "the server does not show its requests"


@pytest.mark.local
async def test_the_embedded_server_stops() -> None:
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed: pip install 'cascade-engine[local]'")
    async with Engine() as engine:
        try:
            found = await probe(engine, "local:smollm2-135m")
        except ModelUnavailableError as error:
            pytest.skip(str(error))
    assert (found.stops, found.seen_through) == (True, "llama.cpp's /metrics")
    assert found.generated is not None
    assert found.received <= found.generated < LENGTH / 2
