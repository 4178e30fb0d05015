"""Log events go where the application reads them, and nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
import structlog
from structlog.testing import LogCapture

from cascade import (
    Answer,
    APIConnectionError,
    Call,
    CascadeExhausted,
    Engine,
    Policy,
    Price,
    Tier,
    Usage,
)
from cascade.testing import Scripted, ScriptedModel

pytestmark = pytest.mark.anyio

USAGE = Usage(input_tokens=1000, output_tokens=10)


def policy(**settings: Any) -> Policy:
    price = Price(input=1.0, output=10.0)
    bad = ScriptedModel(Scripted(text="bad", usage=USAGE), name="a")
    good = ScriptedModel(Scripted(text="good", usage=USAGE), name="b")
    return Policy(
        "p",
        [
            Tier(bad, verify=lambda a: a.text == "good", price=price),
            Tier(good, verify=lambda a: a.text == "good", price=price),
        ],
        **settings,
    )


async def run(policy: Policy, **overrides: Any) -> None:
    async with Engine() as engine:
        await engine.run(policy, "hello", **overrides)


@pytest.fixture
def events() -> Iterator[list[Any]]:
    capture = LogCapture()
    structlog.configure(processors=[capture])
    yield capture.entries
    structlog.reset_defaults()


async def test_one_event_an_attempt_and_one_a_call(events: list[dict[str, Any]]) -> None:
    await run(policy())
    names = [event["event"] for event in events]
    assert names == [
        "cascade.attempt_rejected",
        "cascade.attempt_accepted",
        "cascade.call_finished",
    ]
    assert len({event["call_id"] for event in events}) == 1
    call = events[-1]
    assert (call["policy"], call["outcome"], call["tier"]) == ("p", "accepted", "b")
    assert (call["escalations"], call["tiers_tried"]) == (1, 2)
    assert call["cost_low"] == call["cost_high"] == pytest.approx(2 * 0.0011)
    assert call["waste_low"] == call["waste_high"] == pytest.approx(0.0011)
    assert events[0]["input_tokens"] == 1000
    assert events[0]["check_s"] >= 0
    assert events[0]["reason"]


async def test_a_call_that_raises_is_logged_too(events: list[dict[str, Any]]) -> None:
    bad = Policy("p", [Tier(ScriptedModel("bad", name="a"), verify=lambda a: False)])
    with pytest.raises(CascadeExhausted):
        await run(bad)
    assert events[-1]["event"] == "cascade.call_finished"
    assert (events[-1]["outcome"], events[-1]["tier"]) == ("exhausted", None)
    assert {key: events[-1][key] for key in ("cost_low", "waste_low")} == dict.fromkeys(
        ("cost_low", "waste_low")
    )


async def test_a_cancelled_call_is_logged_too(events: list[dict[str, Any]]) -> None:
    slow = Policy("p", [Tier(ScriptedModel(Scripted(text="x", delay=60)), name="slow")])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, slow)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert [event["event"] for event in events] == [
        "cascade.attempt_cancelled",
        "cascade.call_finished",
    ]
    assert events[-1]["outcome"] == "cancelled"


async def test_the_standard_logger_is_used_without_structlog(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="cascade")
    await run(policy())
    last = caplog.records[-1]
    assert last.name == "cascade"
    assert last.getMessage().startswith("cascade.call_finished call_id=")
    assert last.__dict__["cascade"]["outcome"] == "accepted"


async def test_silent_by_default(capfd: pytest.CaptureFixture[str]) -> None:
    await run(policy())
    assert capfd.readouterr() == ("", "")


async def test_nothing_is_rendered_that_nobody_reads(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("rendered")

    caplog.set_level(logging.WARNING)
    monkeypatch.setattr("cascade.logs.attempt_record", fail)
    await run(policy())


async def test_a_check_that_crashes_is_a_warning_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def crash(answer: object) -> bool:
        raise ZeroDivisionError("in the check")

    caplog.set_level(logging.WARNING)
    broken = Tier(ScriptedModel("x", name="a"), verify=crash)
    await run(Policy("p", [broken, Tier(ScriptedModel("y", name="b"))]))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "the verifier crashed: ZeroDivisionError: in the check" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


@pytest.mark.parametrize("late", ["answer", "text", "error"])
async def test_what_comes_after_the_cancellation_changes_no_record(
    events: list[dict[str, Any]], late: str
) -> None:
    class Stubborn:
        name = "stubborn"

        async def complete(self, call: Call, /) -> Answer | None:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.05)
            if late == "text":
                call.on_delta("much more text than there was")
            if late == "error":
                raise APIConnectionError("never sent")
            return Answer("late", usage=USAGE)

    price = Price(input=1.0, output=10.0)
    quick = ScriptedModel(Scripted(text="good", delay=0.01), name="quick")
    tiers = [Tier(Stubborn(), price=price), Tier(quick, price=price)]
    async with Engine() as engine:
        result = await engine.run(Policy("p", tiers, start_after=0), "hello")
    told = next(event for event in events if event["event"] == "cascade.attempt_cancelled")
    record = result.attempts[0]
    assert record.outcome == "cancelled"
    assert record.answer is None
    assert (told["cost_low"], told["cost_high"]) == (record.cost.low, record.cost.high)
