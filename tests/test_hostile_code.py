"""Providers, verifiers and loggers are anyone's code; a call survives them and says so."""

from __future__ import annotations

import asyncio
import copy
import gc
import os
import pickle
import subprocess
import sys
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import structlog
import trio

from cascade import (
    Answer,
    Call,
    CascadeError,
    CascadeExhausted,
    ConfigError,
    Cost,
    Engine,
    Message,
    MissingExtraError,
    Policy,
    PolicyFileError,
    PromptError,
    ProviderError,
    RateLimitError,
    Request,
    Tier,
    ToolCall,
    Usage,
    Verdict,
    call_model,
    cascade,
    cascade_sync,
)
from cascade.backend import running_loop
from cascade.cost import Price
from cascade.testing import Scripted, ScriptedModel

pytestmark = pytest.mark.anyio

DIALS: list[Any] = [None, 0, 50]


class Odd:
    """A provider made of one function."""

    free = True

    def __init__(self, function: Callable[[Call], Awaitable[Any]], name: str = "odd") -> None:
        self.function = function
        self.name = name

    async def complete(self, call: Call, /) -> Answer | None:
        answer: Answer | None = await self.function(call)
        return answer


def good(answer: Answer) -> bool:
    return answer.text == "good"


def spare() -> Tier:
    return Tier(ScriptedModel("good", name="spare"), verify=good)


async def returning(value: Any) -> Callable[[Call], Awaitable[Any]]:
    async def answer(call: Call) -> Any:
        return value

    return answer


@pytest.mark.parametrize("start_after", DIALS)
@pytest.mark.parametrize("value", ["text", 7, Answer(None)])  # type: ignore[arg-type]
async def test_a_provider_that_returns_no_answer_has_failed(value: Any, start_after: Any) -> None:
    odd = Tier(Odd(await returning(value)), verify=good)
    async with Engine() as engine:
        result = await engine.run(Policy("p", [odd, spare()], start_after=start_after), "hi")
    assert result.tier == "spare"
    if start_after is None:
        assert result.attempts[0].outcome == "failed"
        assert "a provider returns an Answer" in result.attempts[0].reason


@pytest.mark.parametrize("start_after", DIALS)
async def test_a_cancellation_of_someone_elses_is_a_failure(start_after: Any) -> None:
    async def foreign(call: Call) -> Answer:
        raise asyncio.CancelledError

    def cancelled_check(answer: Answer) -> bool:
        raise asyncio.CancelledError

    async with Engine() as engine:
        tiers = [Tier(Odd(foreign), verify=good), spare()]
        assert (await engine.run(Policy("p", tiers, start_after=start_after), "hi")).accepted
        tiers = [Tier(ScriptedModel("x"), verify=cancelled_check), spare()]
        assert (await engine.run(Policy("p", tiers, start_after=start_after), "hi")).accepted


@pytest.mark.parametrize("start_after", DIALS)
async def test_a_provider_that_makes_an_error_of_cancellation_starts_nothing(
    start_after: Any,
) -> None:
    async def disguise(call: Call) -> Answer:
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            raise ConnectionError("disguised") from None
        raise AssertionError

    models = [Odd(disguise, name) for name in "abc"]
    policy = Policy("p", [Tier(model) for model in models], start_after=start_after)
    async with Engine() as engine:
        with anyio.move_on_after(0.05) as scope:
            await engine.run(policy, "hi")
    assert scope.cancelled_caught


@pytest.mark.parametrize("start_after", DIALS)
async def test_a_request_that_cannot_be_prepared_is_a_failed_attempt(start_after: Any) -> None:
    class Prepared:
        def prepare(self, request: Request) -> Request:
            raise ZeroDivisionError

        def verify(self, request: Request, answer: Answer, /) -> Verdict:
            return Verdict.accept()

    tiers = [Tier(ScriptedModel("x", name="a"), verify=Prepared()), spare()]
    async with Engine() as engine:
        result = await engine.run(Policy("p", tiers, start_after=start_after), "hi")
    assert result.tier == "spare"
    if start_after is None:
        assert result.attempts[0].outcome == "failed"
        assert "ZeroDivisionError" in result.attempts[0].reason


async def test_a_variable_that_is_no_text_is_refused() -> None:
    policy = Policy("p", [Tier(ScriptedModel("x"), prompt="{{prompt}} {{n}}")])
    async with Engine() as engine:
        with pytest.raises(PromptError, match="variable 'n' is int: give text"):
            await engine.run(policy, "hi", variables={"n": 3})  # type: ignore[dict-item]


@pytest.mark.parametrize("value", [[True, True], [Verdict.accept()], None, 7])
async def test_a_group_check_that_returns_no_verdicts_abstains(value: Any) -> None:
    class Group:
        def verify(self, request: Request, answer: Answer, /) -> Verdict:
            raise NotImplementedError

        def verify_group(self, request: Request, answers: Any) -> Any:
            return value

    pair = Tier(ScriptedModel("x"), samples=2, verify=Group(), name="pair")
    async with Engine() as engine:
        result = await engine.run(Policy("p", [pair, spare()]), "hi")
    assert result.tier == "spare"
    assert result.attempts[0].reason.startswith("abstained: the verifier crashed: TypeError")


def test_a_verdict_is_checked_when_made() -> None:
    with pytest.raises(ConfigError, match="accepted, rejected or abstained; got 'pass'"):
        Verdict("pass")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="cost is a Cost"):
        Verdict("accepted", cost=None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="score is in"):
        Verdict.accept(score=float("nan"))


def test_a_reason_is_bounded() -> None:
    verdict = Verdict.reject("begin " + "x" * 1_000_000 + " end")
    assert len(verdict.reason) <= 1000
    assert verdict.reason.startswith("begin x")
    assert verdict.reason.endswith("x end")


async def test_one_slow_check_costs_no_other_its_verdict() -> None:
    async def uneven(answer: Answer) -> Verdict:
        if answer.text == "slow":
            await anyio.sleep_forever()
        return Verdict.accept(score=0.9)

    trio_of = Tier(
        ScriptedModel("slow", "quick", "quick"), samples=3, verify=uneven, verify_timeout=0.1
    )
    async with Engine() as engine:
        result = await engine.run(Policy("p", [trio_of, spare()]), "hi")
    assert result.text == "quick"
    assert sorted(a.outcome for a in result.attempts) == ["accepted", "accepted", "rejected"]


async def test_what_a_group_check_spends_is_counted_once() -> None:
    judge = ScriptedModel("yes", name="judge")

    class Group:
        def verify(self, request: Request, answer: Answer, /) -> Verdict:
            raise NotImplementedError

        async def verify_group(self, request: Request, answers: Any) -> list[Verdict]:
            await call_model(judge, request)
            return [Verdict.reject("no"), Verdict.accept(cost=Cost(0.5, 0.5))]

    paid = Scripted(text="x", usage=Usage(0, 0))
    pair = Tier(ScriptedModel(paid), samples=2, verify=Group(), price=Price(input=1, output=1))
    async with Engine() as engine:
        result = await engine.run(Policy("p", [pair]), "hi")
    assert result.cost == Cost(0.5, 0.5)


async def test_a_call_made_by_a_check_is_counted() -> None:
    million = Scripted(text="good", usage=Usage(1_000_000, 0))
    inner = Policy("inner", [Tier(ScriptedModel(million), price=Price(input=2, output=0))])

    async def ask(answer: Answer) -> bool:
        return (await cascade(inner, "is it good?")).text == "good"

    free = Tier(Odd(await returning(Answer("x"))), verify=ask)
    async with Engine() as engine:
        result = await engine.run(Policy("p", [free]), "hi")
    assert result.cost == Cost(2.0, 2.0)


async def test_a_repair_answers_every_tool_call() -> None:
    call = ToolCall("f", "{}", "c1")
    model = ScriptedModel(Scripted(text="", tool_calls=(call,)), "good", name="a")

    def check(answer: Answer) -> Verdict:
        return Verdict.accept() if answer.text else Verdict.reject("say it", repairable=True)

    async with Engine() as engine:
        await engine.run(Policy("p", [Tier(model, verify=check, repairs=1)]), "hi")
    sent = model.calls[1].call.request.messages
    assert [m.role for m in sent] == ["user", "assistant", "tool", "user"]
    assert sent[2] == Message("tool", "say it", tool_call_id="c1")


async def test_one_error_raised_twice_is_recorded_for_each_attempt() -> None:
    shared = RateLimitError("slow down", retryable=False)
    tiers = [Tier(ScriptedModel(Scripted(error=shared), name=name)) for name in "ab"]
    async with Engine() as engine:
        with pytest.raises(CascadeExhausted) as caught:
            await engine.run(Policy("p", tiers), "hi")
    assert [a.error and a.error.attempt for a in caught.value.attempts] == [1, 2]


async def test_a_nested_call_that_fails_keeps_its_own_name() -> None:
    async def nested(call: Call) -> Answer:
        async with Engine() as engine:
            result = await engine.run(Policy("inner", [Tier(ScriptedModel(""))]), "hi")
        return result.answer

    async with Engine() as engine:
        with pytest.raises(CascadeExhausted) as caught:
            await engine.run(Policy("outer", [Tier(Odd(nested))]), "hi")
    error = caught.value.attempts[0].error
    assert isinstance(error, ProviderError)
    assert "CascadeExhausted: policy 'inner'" in str(error)


@pytest.mark.parametrize("start_after", DIALS)
async def test_a_base_exception_comes_out_as_it_is(start_after: Any) -> None:
    class Leave(BaseException):
        pass

    def leave(answer: Answer) -> bool:
        raise Leave

    tiers = [Tier(ScriptedModel("x", name="a"), verify=leave), Tier(ScriptedModel(
        Scripted(text="x", delay=60)), name="b")]  # fmt: skip
    async with Engine() as engine:
        with pytest.raises(Leave):
            await engine.run(Policy("p", tiers, start_after=start_after), "hi")


async def test_a_logger_that_raises_ends_no_call() -> None:
    def broken(*_: Any) -> Any:
        raise ValueError("cannot be rendered")

    structlog.configure(processors=[broken])
    try:
        async with Engine() as engine:
            assert (await engine.run(Policy("p", [spare()]), "hi")).accepted
            slow = Policy("p", [Tier(ScriptedModel(Scripted(text="x", delay=60)))])
            with anyio.move_on_after(0.05) as scope:
                await engine.run(slow, "hi")
        assert scope.cancelled_caught
    finally:
        structlog.reset_defaults()


async def test_async_and_filtering_loggers(capfd: pytest.CaptureFixture[str]) -> None:
    async with Engine() as engine:
        for wrapper in (
            structlog.stdlib.AsyncBoundLogger,
            structlog.make_filtering_bound_logger("warning"),
        ):
            structlog.configure(wrapper_class=wrapper)
            try:
                assert (await engine.run(Policy("p", [spare()]), "hi")).accepted
            finally:
                structlog.reset_defaults()
    assert capfd.readouterr() == ("", "")


class Closing(ScriptedModel):
    closed = False

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.closed = True


@pytest.mark.parametrize("cancelled", [True, False])
async def test_an_engine_closes_everything_whatever_happens(cancelled: bool) -> None:
    async def broken() -> None:
        raise RuntimeError("cannot close")

    engine = Engine()
    kept = Closing()
    failing = Closing()
    failing.aclose = broken  # type: ignore[method-assign]
    providers: dict[Any, Any] = {1: kept, 2: failing}
    engine._providers._made = providers  # as if they had been named in policies
    client = engine.http
    with anyio.CancelScope() as scope:
        if cancelled:
            scope.cancel()
        with pytest.raises(RuntimeError, match="cannot close"):
            await engine.aclose()
    assert kept.closed
    assert client.is_closed


@pytest.mark.parametrize("start_after", [None, 0])
async def test_a_closed_engine_does_nothing(start_after: Any) -> None:
    engine = Engine()
    await engine.aclose()
    with pytest.raises(ConfigError, match="closed"):
        engine.bind(Policy("p", [spare()]))
    with pytest.raises(ConfigError, match="closed"):
        await engine.complete(ScriptedModel("x"), Request.of("hi"))


@pytest.mark.parametrize("start", [1.0, True, b"first"])
async def test_a_start_that_is_no_tier_is_refused(start: Any) -> None:
    async with Engine() as engine:
        with pytest.raises(ConfigError, match="needs the name or the position of a tier"):
            await engine.run(Policy("p", [spare()]), "hi", start=start)


@pytest.mark.parametrize(
    "error",
    [
        PolicyFileError("wrong", file="p.toml", line=3, key="tiers[0]"),
        MissingExtraError("local models", extra="local"),
        RateLimitError("slow", retry_after=3.0, status=429),
        CascadeExhausted("none", policy="p"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_can_be_copied_and_pickled(error: CascadeError) -> None:
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)


def test_trio_inside_a_running_asyncio_loop() -> None:
    async def call() -> str:
        slow = Policy("p", [Tier(ScriptedModel(Scripted(text="x", delay=0.05)))])
        async with Engine() as engine:
            return (await engine.run(slow, "hi", deadline=5)).text

    async def notebook() -> str:
        return trio.run(call)

    assert asyncio.run(notebook()) == "x"


def test_loops_are_not_kept_alive() -> None:
    loops: list[weakref.ref[Any]] = []

    async def main() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await cascade(Policy("p", [spare()]), "hi")

    for _ in range(5):
        asyncio.run(main())
    gc.collect()
    assert not any(loop() for loop in loops)


def test_a_loop_can_be_used_again_after_its_generators_were_closed() -> None:
    loop = asyncio.new_event_loop()
    try:
        assert loop.run_until_complete(cascade(Policy("p", [spare()]), "hi")).accepted
        loop.run_until_complete(loop.shutdown_asyncgens())
        with pytest.warns(ResourceWarning, match="shutdown_asyncgens"):  # asyncio's own
            assert loop.run_until_complete(cascade(Policy("p", [spare()]), "hi")).accepted
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


def script(body: str, *, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    prelude = (
        "import os, signal, sys, threading, time, anyio\n"
        "from cascade import *\n"
        "from cascade.testing import *\n"
        "p = Policy('p', [Tier(ScriptedModel('hello'))])\n"
        "slow = Policy('s', [Tier(ScriptedModel(Scripted(text='x', delay=60)))])\n"
    )
    return subprocess.run(
        [sys.executable, "-c", prelude + body],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("again", ["pass", "assert cascade_sync(p, 'hi').text == 'hello'"])
def test_a_forked_process_neither_hangs_nor_shares(again: str) -> None:
    done = script(
        "cascade_sync(p, 'hi')\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    signal.alarm(20)\n"
        f"    {again}\n"
        "    sys.exit(0)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    assert done.stdout == "0\n", done.stderr


def test_a_daemon_thread_does_not_hold_up_the_exit() -> None:
    done = script(
        "threading.Thread(target=cascade_sync, args=(slow, 'hi'), daemon=True).start()\n"
        "cascade_sync(p, 'hi')\n"
    )
    assert done.returncode == 0


def test_an_interrupt_is_raised_once_the_call_has_ended() -> None:
    done = script(
        "class Tidy(ScriptedModel):\n"
        "    async def complete(self, call):\n"
        "        try:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "            await anyio.sleep_forever()\n"
        "        finally:\n"
        "            with anyio.CancelScope(shield=True):\n"
        "                await anyio.sleep(0.1)\n"
        "                print('closed')\n"
        "try:\n"
        "    cascade_sync(Policy('p', [Tier(Tidy())]), 'hi')\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    assert done.stdout == "closed\ninterrupted\n", done.stderr


def test_waiting_for_oneself_is_refused() -> None:
    inner = Policy("inner", [spare()])

    def ask(answer: Answer) -> bool:
        return cascade_sync(inner, "hi").accepted

    with pytest.raises(CascadeExhausted, match="would wait for itself here"):
        cascade_sync(Policy("p", [Tier(ScriptedModel("x"), verify=ask)]), "hi")


async def test_a_native_cancellation_that_a_provider_turns_into_an_error_stays_one() -> None:
    if running_loop() is None:
        pytest.skip("trio has no other cancellation than its own")
    begun = anyio.Event()

    async def breaks(request: Request) -> str:
        begun.set()
        try:
            await anyio.sleep_forever()
        except asyncio.CancelledError:
            raise OSError("the socket is gone") from None
        raise AssertionError

    spare = ScriptedModel("never asked")
    policy = Policy("p", [Tier(breaks, retries=0), Tier(spare)])
    async with Engine() as engine:
        task = asyncio.create_task(engine.run(policy, "hi"))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert spare.calls == []
