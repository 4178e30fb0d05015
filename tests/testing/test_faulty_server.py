"""The faulty server does what it is told and sees what is done to it."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from cascade.testing.faulty_server import FaultyServer, Reply, ServedRequest
from cascade.types import ToolCall, Usage


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer(default=Reply("one two")) as server:
        yield server


class Client:
    """A plain client, so that the server is not tested with what it is there to test."""

    def __init__(self, server: FaultyServer) -> None:
        host = server.base_url.removeprefix("http://").removesuffix("/v1")
        self.connection = http.client.HTTPConnection(host, timeout=10)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def send(self, model: str = "m", path: str = "/v1/chat/completions", **body: Any) -> None:
        content = json.dumps({"model": model, "messages": [], **body})
        self.connection.request("POST", path, content, {"Authorization": "Bearer k"})

    def ask(self, model: str = "m", **body: Any) -> tuple[int, bytes]:
        self.send(model, **body)
        with self.connection.getresponse() as response:
            return response.status, response.read()


@pytest.fixture
def client(server: FaultyServer) -> Iterator[Client]:
    with Client(server) as client:
        yield client


def chunks(body: bytes) -> list[Any]:
    return [json.loads(line[6:]) for line in body.split(b"\n\n") if line.startswith(b"data: {")]


def test_streams(client: Client, server: FaultyServer) -> None:
    status, body = client.ask(stream=True, stream_options={"include_usage": True},
                              messages=[{"role": "user", "content": "a b c"}])  # fmt: skip
    assert status == 200
    first, one, two, end, usage = chunks(body)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": None}
    assert one["choices"][0]["delta"] == {"content": "one"}
    assert two["choices"][0]["delta"] == {"content": " two"}
    assert end["choices"][0]["finish_reason"] == "stop"
    assert usage["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert body.endswith(b"data: [DONE]\n\n")


def test_answers_whole_with_everything(client: Client, server: FaultyServer) -> None:
    reply = Reply("one two", tool_calls=[ToolCall("f", "{}", "1")], logprobs=[-1.0, -2.0],
                  usage=Usage(5, 6, 1, 2))  # fmt: skip
    server.on("m", reply)
    body = json.loads(client.ask(logprobs=True)[1])
    choice = body["choices"][0]
    assert choice["message"]["content"] == "one two"
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}
    assert choice["finish_reason"] == "tool_calls"
    assert [t["logprob"] for t in choice["logprobs"]["content"]] == [-1.0, -2.0]
    assert body["usage"]["prompt_tokens_details"] == {"cached_tokens": 1}
    assert body["usage"]["completion_tokens_details"] == {"reasoning_tokens": 2}


def test_leaves_out_what_it_is_told_to(client: Client, server: FaultyServer) -> None:
    server.on("m", Reply("one", usage=None, finish_reason=None, done=False, content_type=""))
    client.send(stream=True, stream_options={"include_usage": True}, logprobs=True)
    with client.connection.getresponse() as response:
        assert response.getheader("content-type") is None
        assert len(chunks(response.read())) == 2


def test_replies_in_turn_and_the_last_one_stays(client: Client, server: FaultyServer) -> None:
    server.on("m", Reply(status=503), Reply("no", status=429, error={"code": "x"}), Reply("yes"))
    assert [client.ask()[0] for _ in range(4)] == [503, 429, 200, 200]
    assert client.ask("other")[0] == 200
    assert (server.count("m"), server.count("other"), server.count("none")) == (4, 1, 0)
    with pytest.raises(ValueError, match="no reply for 'm'"):
        server.on("m")


def test_a_reply_may_be_a_function(client: Client, server: FaultyServer) -> None:
    server.on("m", lambda request: Reply(f"number {request.number} for {request.body['user']}"))
    body = json.loads(client.ask(user="eve")[1])
    assert body["choices"][0]["message"]["content"] == "number 0 for eve"


def test_a_function_that_fails_fails_the_test() -> None:
    def fail(_request: ServedRequest) -> Reply:
        raise LookupError("script is wrong")

    def ask() -> None:
        with (
            FaultyServer(default=fail) as server,
            Client(server) as client,
            pytest.raises(http.client.RemoteDisconnected),
        ):
            client.ask()

    with pytest.raises(LookupError, match="script is wrong"):
        ask()


def test_unknown_models_and_paths(client: Client, server: FaultyServer) -> None:
    with FaultyServer() as bare, Client(bare) as other:
        status, body = other.ask("x")
        assert status == 404
        assert json.loads(body)["error"]["code"] == "model_not_found"
    client.send(path="/v1/models")
    with client.connection.getresponse() as response:
        assert response.status == 404
        response.read()
    assert client.ask()[0] == 200


def test_the_ledger(client: Client, server: FaultyServer) -> None:
    before = time.monotonic()
    client.ask("one", stream=True)
    client.ask("two", temperature=1)
    one, two = server.requests
    assert (one.number, one.model, one.tokens_sent, one.path) == (
        0,
        "one",
        2,
        "/v1/chat/completions",
    )
    assert (two.number, two.model, two.body["temperature"]) == (1, "two", 1)
    assert two.headers["authorization"] == "Bearer k"
    assert "Bearer" not in repr(two)
    assert one.finished is not None
    assert one.aborted is None
    assert before <= one.started <= one.finished <= two.started
    assert (server.open_connections, server.connections_made) == (1, 1)
    client.connection.close()
    server.wait_for(lambda: server.open_connections == 0)


@pytest.mark.parametrize("hang", ["headers", "body", "end"])
def test_sees_that_the_client_gave_up(client: Client, server: FaultyServer, hang: Any) -> None:
    server.on("m", Reply("one two", hang=hang))
    client.send(stream=True)
    tokens = 2 if hang == "end" else 0
    server.wait_for(lambda: server.requests and server.requests[0].tokens_sent == tokens)
    client.connection.close()
    server.wait_for(lambda: server.requests[0].aborted)
    assert server.requests[0].finished is None
    assert server.open_connections == 0


def _came(server: FaultyServer, number: int) -> bool:
    return len(server.requests) == number


def test_sees_it_during_a_delay_too(client: Client, server: FaultyServer) -> None:
    server.on("m", Reply("one", delay=60.0), Reply("one two", token_delay=60.0))
    for number in (1, 2):
        client.send(stream=True)
        server.wait_for(partial(_came, server, number))
        client.connection.close()
        server.wait_for(lambda: server.requests[-1].aborted)


def test_cuts(client: Client, server: FaultyServer) -> None:
    server.on("m", Reply("one two", cut_after=1))
    client.send(stream=True)
    with client.connection.getresponse() as response, pytest.raises(http.client.IncompleteRead):
        response.read()
    assert server.requests[0].tokens_sent == 1
    client.connection.close()
    server.on("m", Reply("one two", cut_after=1, chunked=False))
    client.send(stream=True)
    with client.connection.getresponse() as response:
        assert len(chunks(response.read())) == 2


@pytest.mark.parametrize("model", ["wire", "body"])
def test_resets(client: Client, server: FaultyServer, model: str) -> None:
    server.on("wire", Reply(wire=b"", reset=True))
    server.on("body", Reply("one two", cut_after=1, reset=True))
    client.send(model, stream=True)
    with pytest.raises(ConnectionResetError):
        client.connection.getresponse().read()
    assert server.ledger.running == 0


def test_what_is_not_streamed_is_cut_too(client: Client, server: FaultyServer) -> None:
    server.on("m", Reply("one two", cut_after=1, chunked=False), Reply("one two", hang="end"),
              Reply("one two", token_delay=0.001))  # fmt: skip
    status, body = client.ask()
    assert status == 200
    assert body.startswith(b'{"id": "chatcmpl-0"')
    assert server.requests[0].tokens_sent == 1
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)
    client.send()
    server.wait_for(lambda: server.requests[1:] and server.requests[1].tokens_sent == 2)
    client.connection.close()
    server.wait_for(lambda: server.requests[1].aborted)
    assert json.loads(client.ask()[1])["choices"][0]["message"]["content"] == "one two"


def test_answers_for_another_model(client: Client, server: FaultyServer) -> None:
    server.on("m", Reply("one", model="n"))
    assert json.loads(client.ask()[1])["model"] == "n"
    assert {chunk["model"] for chunk in chunks(client.ask(stream=True)[1])} == {"n"}


def test_writes_no_faster_than_it_is_read(client: Client, server: FaultyServer) -> None:
    server.on("m", Reply(tokens=["x" * 100_000] * 1000))
    client.send(stream=True)
    server.wait_for(lambda: server.requests and server.requests[0].tokens_sent > 1)
    client.connection.close()
    server.wait_for(lambda: server.requests[0].aborted)
    assert server.requests[0].tokens_sent < 1000


def test_raw_bodies_and_raw_wires(client: Client, server: FaultyServer) -> None:
    server.on("m", Reply(raw=[b"ab", b"c"], content_type="text/plain", headers={"X-Y": "z"}))
    client.send()
    with client.connection.getresponse() as response:
        assert (response.read(), response.getheader("X-Y")) == (b"abc", "z")
        assert response.getheader("content-type") == "text/plain"
    server.on("m", Reply(wire=b"HTTP/1.1 299 Odd\r\nContent-Length: 1\r\n\r\n!"))
    assert client.ask() == (299, b"!")


@pytest.mark.parametrize(
    "wire",
    [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"X" * 70_000,
     b"\x16\x03\x01 is how TLS begins",
     b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
     b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n"],
)  # fmt: skip
def test_bad_http_is_refused(server: FaultyServer, wire: bytes) -> None:
    address = (client := Client(server)).connection.host, client.connection.port
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(wire)
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
    assert server.requests == ()


def test_requests_may_come_in_pieces_and_together(server: FaultyServer) -> None:
    request = b'POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 13\r\n\r\n{"model":"m"}'
    address = (client := Client(server)).connection.host, client.connection.port
    with socket.create_connection(address, timeout=10) as connection:
        for i in range(len(request)):
            connection.sendall(request[i : i + 1])
        connection.sendall(
            request + request + request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        )
        received = b""
        while piece := connection.recv(65536):
            received += piece
    assert received.count(b"HTTP/1.1 200 OK") == 4
    assert [request.model for request in server.requests] == ["m"] * 4


def test_thousands_of_requests(server: FaultyServer) -> None:
    def run(_: int) -> int:
        with Client(server) as client:
            return sum(client.ask(stream=True)[0] == 200 for _ in range(250))

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(run, range(8))) == 2000
    assert len(server.requests) == 2000
    assert all(request.finished for request in server.requests)
    assert server.connections_made == 8
    server.wait_for(lambda: server.open_connections == 0)


def test_waiting_in_vain_says_so(server: FaultyServer) -> None:
    with pytest.raises(TimeoutError, match=r"not so within 0\.01 s: 0 connections open"):
        server.wait_for(lambda: server.open_connections, timeout=0.01)


def test_stops_with_requests_still_running() -> None:
    with FaultyServer(default=Reply("x", hang="headers")) as server, Client(server) as client:
        client.send()
        server.wait_for(lambda: server.requests)
    assert server.requests[0].aborted is not None
    assert server.open_connections == 0


def test_stops_while_a_connection_is_coming_in() -> None:
    for _ in range(50):
        with FaultyServer() as server:
            port = int(server.base_url.removesuffix("/v1").rpartition(":")[2])
            connection = socket.create_connection(("127.0.0.1", port), timeout=10)
        connection.close()
        assert server.open_connections == 0


def test_impossible_replies_are_refused() -> None:
    with pytest.raises(ValueError, match="1 logprobs for 2 tokens"):
        Reply("one two", logprobs=[0.0])
