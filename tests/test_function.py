"""Functions as tiers, in real time: threads, types, what they may return."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from cascade import Answer, CascadeExhausted, Engine, Policy, Request, Result, Tier
from cascade.providers.function import nonblocking

pytestmark = pytest.mark.anyio


async def run(model: Any, prompt: str = "hello", **settings: Any) -> Result:
    async with Engine() as engine:
        return await engine.run(Policy("p", [Tier(model, **settings)]), prompt)


async def test_a_sync_function_runs_in_a_thread() -> None:
    def where(prompt: str) -> str:
        return threading.current_thread().name

    assert (await run(where)).text != threading.current_thread().name


async def test_a_nonblocking_function_runs_on_the_loop() -> None:
    @nonblocking
    def where(prompt: str) -> str:
        return threading.current_thread().name

    assert (await run(where)).text == threading.current_thread().name


async def test_the_loop_is_free_while_a_function_blocks() -> None:
    released = threading.Event()

    def blocks(prompt: str) -> str:
        assert released.wait(10)
        return prompt

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, blocks)
        await anyio.lowlevel.checkpoint()
        released.set()


async def test_a_function_that_blocks_is_left_at_the_timeout() -> None:
    released = threading.Event()
    try:
        with pytest.raises(CascadeExhausted, match="APITimeoutError"):
            await run(lambda _: released.wait(60), timeout=0.05, retries=0)
    finally:
        released.set()


@dataclass
class Prefixed:
    prefix: str

    async def __call__(self, prompt: str) -> str:
        return self.prefix + prompt


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (str.upper, "HELLO"),
        (Prefixed("> "), "> hello"),
        (lambda _: {"a": [1, "é"]}, '{"a": [1, "é"]}'),
        (lambda _: Answer("as it is"), "as it is"),
    ],
)
async def test_what_a_function_may_be_and_return(function: Any, text: str) -> None:
    assert (await run(function)).text == text


async def test_a_function_may_take_the_request() -> None:
    def count(request: Request) -> str:
        return str(len(request.messages))

    assert (await run(count, prompt="x")).text == "1"


async def test_a_wrong_return_type_is_a_typed_failure() -> None:
    with pytest.raises(CascadeExhausted, match=r"FunctionError: .* got int"):
        await run(lambda _: 7)


async def test_by_name() -> None:
    result = await run("function:posixpath:basename", prompt="a/b")
    assert (result.text, result.tier) == ("b", "function:posixpath:basename")
