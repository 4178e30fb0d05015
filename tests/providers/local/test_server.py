"""The llama.cpp child process, with a real small model."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from cascade.errors import LocalServerError, MissingExtraError, ModelUnavailableError
from cascade.providers.local import process
from cascade.providers.local.process import Endpoint
from cascade.providers.local.server import close_all, describe_death, serve, server_for
from cascade.providers.local.weights import pull

pytestmark = [pytest.mark.anyio, pytest.mark.local]


@pytest.fixture(scope="module")
def model() -> Path:
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed: pip install 'cascade-engine[local]'")
    try:
        return anyio.run(pull, "smollm2-135m")
    except ModelUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def no_server_outlives_a_test() -> Iterator[None]:
    yield
    close_all()


def until(condition: Callable[[], bool], *, within: float = 20) -> None:
    """Polls; fails when `condition` is not met in `within` seconds."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "not within the deadline"
        time.sleep(0.01)


def listening(endpoint: Endpoint) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(endpoint.base_url.rsplit(":", 1)[1]))).close()
    except OSError:
        return False
    return True


def client(endpoint: Endpoint) -> httpx2.AsyncClient:
    # The server closes the connection after a stream although it promises to keep it.
    headers = {"Authorization": f"Bearer {endpoint.api_key}", "Connection": "close"}
    return httpx2.AsyncClient(base_url=endpoint.base_url, headers=headers, timeout=60)


def chat(**more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Count from one to ten."}]
    return {"messages": messages, "max_tokens": 12, "temperature": 0, "stream": True, **more}


async def events(endpoint: Endpoint, body: dict[str, Any]) -> list[dict[str, Any]]:
    async with (
        client(endpoint) as http,
        http.stream("POST", "/v1/chat/completions", json=body) as response,
    ):
        assert response.status_code == 200
        lines = [line async for line in response.aiter_lines() if line.startswith("data: ")]
    assert lines.pop() == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines]


async def kill_while_answering(http: httpx2.AsyncClient, pid: int) -> None:
    body = chat(max_tokens=3000, ignore_eos=True)
    async with (
        http.stream("POST", "/v1/chat/completions", json=body) as response,
        aclosing(response.aiter_bytes()) as pieces,
    ):
        await anext(pieces)
        os.kill(pid, signal.SIGKILL)
        async for _piece in pieces:
            pass


def text(chunks: list[dict[str, Any]]) -> str:
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


async def test_answers_a_stream_with_logprobs_and_usage(model: Path) -> None:
    endpoint = await serve(model)
    body = chat(logprobs=True, top_logprobs=2, stream_options={"include_usage": True})
    chunks = await events(endpoint, body)
    assert text(chunks)
    assert chunks[-1]["usage"]["completion_tokens"] == 12
    first = next(c for c in chunks if c["choices"] and "logprobs" in c["choices"][0])
    token = first["choices"][0]["logprobs"]["content"][0]
    assert token["logprob"] <= 0
    assert len(token["top_logprobs"]) == 2


async def test_answers_in_a_json_schema(model: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Rome", "Oslo"]}},
        "required": ["city"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": schema}}
    chunks = await events(await serve(model), chat(response_format=form, max_tokens=40))
    assert json.loads(text(chunks))["city"] in {"Rome", "Oslo"}


async def test_refuses_callers_without_the_key(model: Path) -> None:
    endpoint = await serve(model)
    assert endpoint.api_key not in repr(endpoint)
    async with httpx2.AsyncClient(base_url=endpoint.base_url) as http:
        assert (await http.post("/v1/chat/completions", json=chat())).status_code == 401


async def test_a_closed_stream_stops_the_generation(model: Path) -> None:
    endpoint = await serve(model)
    async with client(endpoint) as http:
        body = chat(max_tokens=3000, ignore_eos=True)
        async with (
            http.stream("POST", "/v1/chat/completions", json=body) as response,
            aclosing(response.aiter_bytes()) as pieces,
        ):
            with anyio.CancelScope() as scope:
                async for _piece in pieces:
                    scope.cancel()
    # All slots are free again: as many calls as there are slots are answered at once.
    with anyio.fail_after(20):
        async with anyio.create_task_group() as calls:
            calls.start_soon(events, endpoint, chat(max_tokens=1))
            calls.start_soon(events, endpoint, chat(max_tokens=1))


async def test_a_crash_is_told_and_the_next_use_starts_again(model: Path) -> None:
    endpoint = await serve(model)
    assert await describe_death(model) is None
    pid = server_for(model).pid
    assert pid is not None
    async with client(endpoint) as http:
        with pytest.raises(httpx2.TransportError):
            await kill_while_answering(http, pid)
    told = await describe_death(model, endpoint)
    assert told is not None
    assert "smollm2-135m.gguf was killed by signal 9 (SIGKILL)" in told
    again = await serve(model)
    assert again != endpoint
    assert text(await events(again, chat()))
    assert await describe_death(model) is None
    assert await describe_death(model, endpoint) == told


async def test_a_file_that_is_no_gguf_is_told_with_the_reason(model: Path, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.gguf"
    garbage.write_bytes(b"no model" * 100)
    with pytest.raises(LocalServerError, match="invalid magic characters") as caught:
        await serve(garbage)
    assert "exited with status 1" in str(caught.value)
    assert not caught.value.retryable
    truncated = tmp_path / "truncated.gguf"
    with model.open("rb") as whole:
        truncated.write_bytes(whole.read(5_000_000))
    with pytest.raises(LocalServerError, match="corrupted or incomplete"):
        await serve(truncated)


async def test_a_start_that_takes_too_long_is_ended(model: Path) -> None:
    with pytest.raises(LocalServerError, match=r"did not load .* in 0\.01 s"):
        await serve(model, startup_timeout=0.01)
    assert server_for(model).pid is None


async def test_waiters_share_one_start_and_one_may_be_cancelled(model: Path) -> None:
    found: list[Endpoint] = []

    async def wait() -> None:
        found.append(await serve(model))

    with anyio.move_on_after(0.05) as impatient:
        await serve(model)
    assert impatient.cancelled_caught
    async with anyio.create_task_group() as waiters:
        for _ in range(5):
            waiters.start_soon(wait)
    assert found == found[:1] * 5


def test_threads_with_their_own_event_loops_share_it(model: Path) -> None:
    found: list[Endpoint] = []
    threads = [
        threading.Thread(target=lambda: found.append(anyio.run(serve, model))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == found[:1] * 3


async def test_close_ends_the_process(model: Path) -> None:
    endpoint = await serve(model)
    close_all()
    assert not listening(endpoint)
    assert server_for(model).pid is None


PARENT = """
import sys, anyio
from pathlib import Path
from cascade.providers.local.server import serve
async def main():
    endpoint = await serve(Path(sys.argv[1]))
    print(endpoint.base_url, flush=True)
    sys.stdin.read()
anyio.run(main)
"""


@pytest.mark.parametrize("end", ["killed", "returns"])
def test_no_server_outlives_its_parent(model: Path, end: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(model)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        endpoint = Endpoint(parent.stdout.readline().strip(), "")
        assert listening(endpoint)
        if end == "killed":
            parent.kill()
        parent.stdin.close()
        parent.wait(timeout=20)
    until(lambda: not listening(endpoint))


def test_the_child_ends_when_its_standard_input_does(model: Path) -> None:
    settings = {"parent": os.getpid(), "nonce": "now", "api_key": "k", "model": str(model)}
    settings |= {"context": 512, "verbosity": 1}
    command = [sys.executable, "-P", str(Path(process.__file__).with_name("_child.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps(settings).encode() + b"\n")
        child.stdin.flush()
        assert any(line.startswith(b"now http://127.0.0.1:") for line in child.stdout)
        child.stdin.close()
        assert child.wait(timeout=20) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_process_leaves_the_server_alone(model: Path) -> None:
    endpoint = anyio.run(serve, model)
    forked = os.fork()
    if forked == 0:
        close_all()
        os._exit(0 if server_for(model).pid is None else 1)
    _pid, status = os.waitpid(forked, 0)
    assert status == 0
    assert text(anyio.run(events, endpoint, chat()))


async def test_without_the_extra_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cascade-engine\[local\]'"):
        await serve(Path("any.gguf"))
