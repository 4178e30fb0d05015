"""Checks in other programs: what goes there, what comes back, and that nothing is left running."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.abc
import pytest

from cascade.context import Check, current_check
from cascade.engine import Engine
from cascade.errors import ConfigError, MissingAPIKeyError
from cascade.types import Answer, Message, Request, ToolCall
from cascade.verdict import Verdict
from cascade_verifiers.command import Command
from cascade_verifiers.external import decode, encode
from cascade_verifiers.http import Http

pytestmark = pytest.mark.anyio

REQUEST = Request.of("a question")
READ = "import json, sys; got = json.load(sys.stdin); "


def python(code: str, **options: Any) -> Command:
    return Command([sys.executable, "-c", code], **options)


async def ask(verifier: Any, text: str = "an answer") -> Verdict:
    return await cast("Awaitable[Verdict]", verifier.verify(REQUEST, Answer(text)))


def read(path: Path) -> str:
    return path.read_text()


async def gone(pid: int) -> None:
    """Wait until there is no such process, or only its remains, which init has yet to collect."""
    with anyio.fail_after(10):
        while True:
            try:
                os.kill(pid, 0)
                if ") Z " in read(Path(f"/proc/{pid}/stat")):
                    return
            except (ProcessLookupError, FileNotFoundError):
                return
            await anyio.lowlevel.checkpoint()


async def test_a_command_gets_the_request_and_the_answer() -> None:
    code = READ + (
        "ok = got['request']['text'] == 'a question' and got['answer']['text'] == 'yes \\u00e9'; "
        "print(json.dumps({'outcome': 'accepted' if ok else 'rejected', 'score': 0.75, "
        "'parsed': [1], 'text': 'Yes'}))"
    )
    verdict = await ask(python(code), "yes é")
    assert (verdict.outcome, verdict.score, verdict.parsed, verdict.text) == (
        "accepted", 0.75, [1], "Yes",
    )  # fmt: skip
    assert (await ask(python(code), "no")).outcome == "rejected"


async def test_what_is_sent() -> None:
    call = ToolCall("f", '{"a": 1}', "id1")
    request = Request(
        (Message("system", "be brief"), Message("assistant", None, tool_calls=(call,))),
        tools=({"type": "function"},),
        params={"temperature": 0, "odd": object()},
    )
    sent = json.loads(await encode(request, Answer("\ud800\0é", (call,), "stop")))
    assert sent["request"]["messages"][1] == {
        "role": "assistant", "content": None, "name": None, "tool_call_id": None,
        "tool_calls": [{"id": "id1", "name": "f", "arguments": '{"a": 1}'}],
    }  # fmt: skip
    assert sent["request"]["tools"] == [{"type": "function"}]
    assert sent["answer"]["text"] == "\ud800\0é"
    assert sent["answer"]["finish_reason"] == "stop"


async def test_what_comes_back() -> None:
    full = {"outcome": "rejected", "reason": "too long", "code": "a.b", "repairable": True}
    verdict = decode(json.dumps(full).encode(), "x")
    assert (verdict.reason, verdict.code, verdict.repairable) == ("too long", "a.b", True)
    assert decode(b'{"outcome": "rejected"}', "x").reason == "x rejected the answer"
    assert decode(b'{"outcome": "abstained", "code": "c"}', "x").code == "c"


@pytest.mark.parametrize(
    "reply",
    [
        b"", b"yes", b"{}", b'{"outcome": "acepted"}', b'{"outcome": "accepted", "score": 2}',
        b'{"outcome": "accepted", "scoer": 1}', b'{"outcome": "accepted"} {}', b"\xff\xfe",
        b'{"outcome": "accepted", "parsed": ' + b"[" * 100_000, b'["accepted"]', b"NaN",
    ],
    ids=range(11),
)  # fmt: skip
async def test_garbage_is_an_abstention(reply: bytes) -> None:
    verdict = decode(reply, "the check")
    assert (verdict.outcome, verdict.code) == ("abstained", "external.unreadable")
    assert len(verdict.reason) <= 300


async def test_a_command_that_fails() -> None:
    verdict = await ask(python("import sys; sys.exit('no\\nluck')"))
    assert (verdict.outcome, verdict.code) == ("abstained", "external.failed")
    assert verdict.reason.endswith("ended with code 1: no luck")
    code = 'print(\'{"outcome": "accepted"}\'); raise SystemExit(3)'
    assert (await ask(python(code))).outcome == "abstained"


async def test_what_is_too_long_is_not_sent(tmp_path: Path) -> None:
    called = tmp_path / "called"
    command = python(f"open({str(called)!r}, 'w')")
    call = ToolCall("f", "x" * 600_000)
    for answer in (Answer("x" * 1_000_001), Answer("x" * 600_000, tool_calls=(call,))):
        for verifier in (command, Http("http://127.0.0.1:1/")):
            verdict = await cast("Awaitable[Verdict]", verifier.verify(REQUEST, answer))
            assert (verdict.outcome, verdict.code) == ("abstained", "external.answer_too_long")
    assert not called.exists()


async def test_a_command_need_not_read(tmp_path: Path) -> None:
    verdict = await ask(python('print(\'{"outcome": "accepted"}\')'), "x" * 1_000_000)
    assert verdict.accepted
    folder = tmp_path / "not a program"
    folder.write_text("no\n")
    folder.chmod(0o755)
    verdict = await ask(Command([str(folder)]))
    assert verdict.outcome == "abstained"


async def test_output_is_bounded() -> None:
    verdict = await ask(python("while True: print('x' * 10000)", max_output=50_000))
    assert (verdict.outcome, verdict.code) == ("abstained", "external.too_long")
    code = "import sys; sys.stderr.write('x' * 10_000_000); print('{\"outcome\": \"accepted\"}')"
    assert (await ask(python(code))).accepted


SPAWN = (
    "import os, subprocess, sys; "
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(100)']); "
    "open({path!r} + '.new', 'w').write(f'{{os.getpid()}} {{child.pid}}'); "
    "os.rename({path!r} + '.new', {path!r}); import time; time.sleep(100)"
)


async def started(path: Path) -> list[int]:
    with anyio.fail_after(20):
        while not await anyio.Path(path).exists():
            await anyio.lowlevel.checkpoint()
    return [int(pid) for pid in read(path).split()]


async def test_a_timeout_kills_it_and_its_children(tmp_path: Path) -> None:
    path = tmp_path / "pids"
    command = python(SPAWN.format(path=str(path)), timeout=1.5)
    verdict = await ask(command)
    assert (verdict.outcome, verdict.code) == ("abstained", "check.timeout")
    for pid in await started(path):
        await gone(pid)


async def test_cancelling_kills_it_and_its_children(tmp_path: Path) -> None:
    path = tmp_path / "pids"
    command = python(SPAWN.format(path=str(path)), timeout=60)
    pids: list[int] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, command)
        pids = await started(path)
        tasks.cancel_scope.cancel()
    for pid in pids:
        await gone(pid)


async def test_a_child_that_holds_the_output_open_does_not_outlive_the_timeout(
    tmp_path: Path,
) -> None:
    path = tmp_path / "pids"
    code = SPAWN.format(path=str(path)).removesuffix("import time; time.sleep(100)")
    verdict = await ask(python(code, timeout=1.5))
    assert verdict.code == "check.timeout"
    for pid in await started(path):
        await gone(pid)


@pytest.mark.parametrize(
    ("argv", "options", "message"),
    [
        ("ls -l", {}, "^argv='ls -l': needs a list"),
        ([], {}, "^argv="),
        (["ls", 3], {}, "^argv="),
        (["ls", "a\0"], {}, "^argv="),
        (["no-such-program-here"], {}, "there is no program 'no-such-program-here'"),
        ([sys.executable], {"timeout": 0}, "^timeout=0"),
        ([sys.executable], {"max_output": -1}, "^max_output=-1"),
        ([sys.executable], {"max_output": True}, "^max_output=True"),
    ],
)
def test_command_arguments(argv: Any, options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Command(argv, **options)


def test_a_representation_has_no_arguments() -> None:
    assert "secret" not in repr(Command([sys.executable, "--key=secret"]))


class Server:
    """Answers every request with the same bytes, and keeps what it was sent.

    With ``keep`` a connection may be used again.
    """

    def __init__(
        self, reply: bytes, *, status: str = "200 OK", headers: str = "", keep: bool = False
    ) -> None:
        length = f"Content-Length: {len(reply)}\r\n"
        self.reply = f"HTTP/1.1 {status}\r\n{length}{headers}\r\n".encode() + reply
        self.keep = keep
        self.heard: list[bytes] = []
        self.connections = 0
        self.left = anyio.Event()
        self.url = ""

    async def run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        self.url = f"http://127.0.0.1:{port}/check"
        task_status.started()
        async with listener:
            await listener.serve(self.handle)

    async def handle(self, stream: anyio.abc.SocketStream) -> None:
        self.connections += 1
        async with stream:
            with suppress(anyio.BrokenResourceError, anyio.EndOfStream):  # it was left
                await self.answer(stream)
                while self.keep:
                    await self.answer(stream)

    async def answer(self, stream: anyio.abc.SocketStream) -> None:
        heard = b""
        while b"\r\n\r\n" not in heard or not heard.rstrip().endswith(b"}"):
            heard += await stream.receive()
        self.heard.append(heard)
        if self.reply.endswith(b"hang"):
            with suppress(anyio.BrokenResourceError, anyio.EndOfStream):
                await stream.receive()
            self.left.set()
            return
        await stream.send(self.reply)


async def serve(server: Server, **options: Any) -> Verdict:
    verdict = Verdict.abstain("not asked")
    async with anyio.create_task_group() as tasks:
        await tasks.start(server.run)
        verdict = await ask(Http(server.url, **options))
        tasks.cancel_scope.cancel()
    return verdict


async def test_an_endpoint_is_sent_json_and_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHECK_TOKEN", "s3cret")
    server = Server(b'{"outcome": "rejected", "reason": "wrong", "code": "x"}')
    headers = {"Authorization": "Bearer env:CHECK_TOKEN", "X-Key": "os.environ/CHECK_TOKEN"}
    verdict = await serve(server, headers=headers)
    assert (verdict.outcome, verdict.reason, verdict.code) == ("rejected", "wrong", "x")
    head, _, body = server.heard[0].partition(b"\r\n\r\n")
    assert b"Bearer s3cret" in head
    assert b"-Key: s3cret" in head.replace(b"-key", b"-Key")
    assert json.loads(body)["answer"]["text"] == "an answer"
    assert "s3cret" not in repr(Http(server.url, headers=headers))


@pytest.mark.parametrize(
    ("server", "options", "code"),
    [
        (Server(b"{}", status="500 Oops"), {}, "external.failed"),
        (Server(b"", status="302 Found", headers="Location: /other\r\n"), {}, "external.failed"),
        (Server(b"x" * 2000), {"max_bytes": 1000}, "external.too_long"),
        (Server(b"no json"), {}, "external.unreadable"),
        (Server(b"x", headers="Content-Encoding: gzip\r\n"), {}, "external.unreadable"),
        (Server(b"hang"), {"timeout": 0.3}, "check.timeout"),
    ],
    ids=["status", "redirect", "long", "garbage", "compressed", "slow"],
)
async def test_an_endpoint_that_gives_no_verdict(server: Server, options: Any, code: str) -> None:
    verdict = await serve(server, **options)
    assert (verdict.outcome, verdict.code) == ("abstained", code)


async def test_an_endpoint_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHECK_TOKEN", "s3cret")
    verdict = await ask(Http("http://127.0.0.1:9/", headers={"X-Token": "env:CHECK_TOKEN"}))
    assert verdict.code == "external.failed"
    assert "s3cret" not in verdict.reason


@pytest.mark.parametrize("client", ["httpx", "aiohttp"])
async def test_inside_a_call_the_engine_s_connections_are_used(
    client: str, anyio_backend_name: str
) -> None:
    if (client, anyio_backend_name) == ("aiohttp", "trio"):
        pytest.skip("aiohttp needs asyncio")
    server = Server(b'{"outcome": "accepted"}', keep=True)
    async with anyio.create_task_group() as tasks, Engine(http=client) as engine:
        await tasks.start(server.run)
        async with aclosing(await engine.transport.route(server.url, {})(b"{}")) as reply:
            while await reply.read():
                pass
        token = current_check.set(Check(engine))
        try:
            for _ in range(2):
                assert (await ask(Http(server.url))).accepted
        finally:
            current_check.reset(token)
        assert len(server.heard) == 3
        assert server.connections == 1
        tasks.cancel_scope.cancel()


async def test_a_header_given_takes_the_place_of_ours() -> None:
    server = Server(b'{"outcome": "accepted"}')
    verdict = await serve(server, headers={"Content-Type": "application/vnd.check+json"})
    assert verdict.accepted
    head = server.heard[0].partition(b"\r\n\r\n")[0].lower()
    assert head.count(b"content-type: ") == 1
    assert b"content-type: application/vnd.check+json" in head
    assert b"accept-encoding: identity" in head


async def test_an_endpoint_that_is_given_up_is_left() -> None:
    server = Server(b"hang")
    async with anyio.create_task_group() as tasks, Engine() as engine:
        await tasks.start(server.run)
        token = current_check.set(Check(engine))
        try:
            verdict = await ask(Http(server.url, timeout=0.3))
        finally:
            current_check.reset(token)
        assert verdict.code == "check.timeout"
        with anyio.fail_after(5):
            await server.left.wait()
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("ftp://host/", {}),
        ("host/path", {}),
        ("http://user:pass@host/", {}),
        ("http://host/?api_key=x", {}),
        ("http://host/", {"headers": {"bad name": "x"}}),
        ("http://host/", {"headers": {"X": "a\nb"}}),
        ("http://host/", {"headers": {"X": 3}}),
        ("http://host/", {"timeout": -1}),
        (3, {}),
    ],
)
def test_http_arguments(url: Any, options: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        Http(url, **options)
    assert "pass@" not in str(caught.value)


def test_a_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHECK_TOKEN", raising=False)
    with pytest.raises(MissingAPIKeyError, match="CHECK_TOKEN is not set"):
        Http("http://host/", headers={"X": "env:CHECK_TOKEN"})
