"""``local:`` models through the engine, with a real small model."""

from __future__ import annotations

import importlib.util
import os
import signal

import anyio
import pytest

from cascade import (
    CascadeExhausted,
    Engine,
    LocalServerError,
    MissingExtraError,
    Policy,
    Tier,
    UnknownModelError,
)
from cascade.errors import ModelUnavailableError
from cascade.providers.local.server import close_all, server_for
from cascade.providers.local.weights import pull
from cascade.verifiers import JsonSchema

pytestmark = [pytest.mark.anyio, pytest.mark.local]

MODEL = "local:smollm2-135m"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}},
    "required": ["city"],
    "additionalProperties": False,
}
SHORT = {"temperature": 0, "max_tokens": 40, "seed": 1}


@pytest.fixture(scope="module", autouse=True)
def weights() -> object:
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed: pip install 'cascade-engine[local]'")
    try:
        yield anyio.run(pull, "smollm2-135m")
    except ModelUnavailableError as error:
        pytest.skip(str(error))
    close_all()


async def test_a_real_model_is_checked_and_accepted() -> None:
    tier = Tier(MODEL, verify=JsonSchema(SCHEMA), constrain=True, params=SHORT)
    async with Engine() as engine:
        result = await engine.run(Policy("p", [tier]), "Name a city, as JSON.")
    assert isinstance(result.parsed["city"], str)
    assert result.answer.model == MODEL
    assert result.answer.usage is not None
    assert result.answer.usage.output_tokens
    assert result.answer.time_to_first_token is not None
    assert result.cost.high == 0


async def test_logprobs_are_given_when_asked_for() -> None:
    tier = Tier(MODEL, params={**SHORT, "max_tokens": 3, "logprobs": True}, allow_truncated=True)
    async with Engine() as engine:
        result = await engine.run(Policy("p", [tier]), "Say yes.")
    assert result.answer.logprobs
    assert all(token.logprob <= 0 for token in result.answer.logprobs)
    assert "".join(token.token for token in result.answer.logprobs) == result.text


async def test_calls_in_a_row_and_at_once_all_answer() -> None:
    tier = Tier(MODEL, params={**SHORT, "max_tokens": 4}, allow_truncated=True, retries=0)
    policy = Policy("p", [tier])
    async with Engine() as engine:
        for _ in range(5):
            assert (await engine.run(policy, "Count.")).accepted
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(engine.run, policy, "Count.")


async def test_a_native_crash_is_a_typed_error_and_the_next_call_answers(
    weights: object,
) -> None:
    long = Tier(MODEL, params={"max_tokens": 2000, "temperature": 0}, retries=0)
    short = Policy("q", [Tier(MODEL, params={**SHORT, "max_tokens": 2}, allow_truncated=True)])
    async with Engine() as engine:
        await engine.run(short, "Hello.")
        pid = server_for(weights).pid  # type: ignore[arg-type]
        assert pid is not None

        async def crash() -> None:
            os.kill(pid, signal.SIGSEGV)

        async with anyio.create_task_group() as tasks:
            started = anyio.Event()

            async def call() -> None:
                started.set()
                with pytest.raises(CascadeExhausted) as caught:
                    await engine.run(Policy("p", [long]), "Count from one to ten thousand.")
                assert isinstance(caught.value.attempts[0].error, LocalServerError)
                assert "SIGSEGV" in caught.value.attempts[0].reason

            tasks.start_soon(call)
            await started.wait()
            await anyio.wait_all_tasks_blocked()
            await crash()
        assert (await engine.run(short, "Hello.")).accepted


async def test_an_unknown_model_is_named_at_load() -> None:
    async with Engine() as engine:
        with pytest.raises(UnknownModelError, match="smollm2-135m"):
            engine.bind(Policy("p", [Tier("local:smollm2-135")]))
        with pytest.raises(UnknownModelError, match=r"nothing\.gguf"):
            engine.bind(Policy("p", [Tier("local:/no/such/nothing.gguf")]))


async def test_the_missing_extra_is_named_at_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    async with Engine() as engine:
        with pytest.raises(MissingExtraError, match=r"pip install 'cascade-engine\[local\]'"):
            engine.bind(Policy("p", [Tier(MODEL)]))
