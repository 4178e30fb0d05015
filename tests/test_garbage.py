"""What is over is freed at once: the garbage collector is for others' cycles."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import suppress
from weakref import ref

import anyio
import anyio.lowlevel
import pytest

from cascade import APIResponseError, CascadeExhausted, Engine, Policy, ProviderError, Tier
from cascade.asking import failure
from cascade.live import LiveCall
from cascade.providers._chat_chunks import decode_chunk
from cascade.providers._ollama_answer import decode_line
from cascade.providers._responses_events import decode_event


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Held:
    """What a frame holds on to."""


@pytest.mark.anyio
async def test_a_cancelled_attempt_is_freed() -> None:
    async def attempt(held: Held) -> None:
        try:
            await anyio.sleep_forever()
        except BaseException as error:
            raise await failure(error, "m") from error

    held = Held()
    seen = ref(held)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await attempt(held)
    del held
    await anyio.lowlevel.checkpoint()  # asyncio keeps what it delivered until its next turn
    assert scope.cancelled_caught
    assert seen() is None


@pytest.mark.parametrize("decode", [decode_chunk, decode_line, decode_event])
def test_an_answer_that_cannot_be_read_is_freed(decode: Callable[[bytes], object]) -> None:
    with suppress(APIResponseError):  # `pytest.raises` would keep it
        decode(b"<html>")
    assert gc.collect() == 0


@pytest.mark.anyio
@pytest.mark.parametrize("start_after", [None, 0])
async def test_a_call_that_failed_is_freed(start_after: float | None) -> None:
    async def fails(prompt: str) -> str:
        raise ProviderError("gone")

    asked = Policy("p", [Tier(fails, name="a"), Tier(fails, name="b")], start_after=start_after)
    before = _calls()
    async with Engine() as engine:
        for _ in range(5):
            with suppress(CascadeExhausted):
                await engine.run(asked, "hi")
        await anyio.lowlevel.checkpoint()
        assert _calls() == before


def _calls() -> int:
    return sum(isinstance(held, LiveCall) for held in gc.get_objects())
