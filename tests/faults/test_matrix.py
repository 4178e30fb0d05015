"""Every fault, in every way to start the tiers, streamed or not, in the first or the last tier.

The fault in the first tier: the last one answers, unless the fault is one that loses nothing. In
the last tier, after a rejected answer: the call ends with one error, whose cause is the fault's.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace

import pytest

from cascade import (
    Answer,
    CallError,
    CascadeExhausted,
    DeadlineExceededError,
    Engine,
    Result,
)
from cascade.providers.http import TIMEOUT
from cascade.testing import Reply
from cascade.transport import make_transport
from tests.faults.cells import PATHS, RUNS, Cell, Stand, cells
from tests.faults.table import BRIEF, FAULTS, NO_ANSWERS, ON_THE_WAY, REFUSALS

pytestmark = pytest.mark.anyio

LATER = 60.0
"""Seconds that an attempt has where the call's deadline comes first."""

MATRIX = [
    *cells(FAULTS, run="asyncio-aiohttp"),
    # The other client, and the other loop, have a part in what happens on the way.
    *cells(ON_THE_WAY, run="asyncio"),
    *cells([*REFUSALS, *NO_ANSWERS], starts=["cascade"], run="asyncio"),
    *cells(ON_THE_WAY, run="trio"),
]
FRAMED = [fault for fault in FAULTS if fault.framed]
OTHER_WIRES = [  # how the tiers start has no part in how an answer is read
    cell for wire in PATHS if wire != "openai"
    for cell in cells(FRAMED, starts=["cascade"], wire=wire)
]  # fmt: skip
HANGS = [fault for fault in FAULTS if fault.timeout is not None]
FLOODS = [fault for fault in FAULTS if fault.name == "1,000,000-chunk stream"]


@pytest.mark.parametrize(("run", "cell"), [*MATRIX, *OTHER_WIRES], indirect=["run"])
async def test_cell(cell: Cell, stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    if cell.fault.place == "full":
        found = await called_in_haste(cell, stand, monkeypatch)
    else:
        found = await stand.call(cell)
    faulty = found.attempts[0 if cell.position == "first" else 1]
    taken = cell.outcome.error is None
    outrun = faulty.outcome == "cancelled"
    if outrun:
        assert (cell.start, cell.position) == ("race", "first"), "it was not waited for"
    else:
        stand.check(cell, faulty)
    if cell.position == "first" or taken:
        assert isinstance(found, Result)
        assert (found.accepted, found.text) == (True, "good")
        assert found.tier == ("faulty" if taken and not outrun else "openai:quick")
    else:
        assert isinstance(found, CascadeExhausted)
        assert found.attempts[0].outcome == "rejected"
        assert found.__cause__ is faulty.error
        assert found.message.endswith(f"faulty failed ({faulty.reason})")


async def called_in_haste(
    cell: Cell, stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> Result | CallError:
    """As usual, with a client that has little patience for a connection to be made."""
    monkeypatch.setitem(TIMEOUT, "connect", BRIEF)
    monkeypatch.setattr("cascade.transports.aiohttp.CONNECT_TIMEOUT", BRIEF)
    async with aclosing(make_transport(RUNS[cell.run])) as transport:
        return await replace(stand, transport=transport).call(cell)


@pytest.mark.parametrize(
    ("run", "cell"),
    [c for run in RUNS for c in cells(HANGS, modes=["stream"], positions=["last"], run=run)],
    indirect=["run"],
)
async def test_no_attempt_outlives_the_deadline(cell: Cell, stand: Stand) -> None:
    found = await stand.call(cell, timeout=LATER, deadline=BRIEF)
    assert isinstance(found, DeadlineExceededError)
    assert found.attempts[-1].outcome == "cancelled"


@pytest.mark.parametrize(
    ("run", "cell"), [c for run in RUNS for c in cells(FLOODS, run=run)], indirect=["run"]
)
async def test_a_flood_does_not_outlive_it_either(cell: Cell, stand: Stand) -> None:
    found = await stand.call(cell, deadline=0.02)
    assert isinstance(found, DeadlineExceededError)


@pytest.mark.parametrize("run", ["asyncio"], indirect=True)
async def test_another_models_name_is_on_record_and_a_check_may_refuse_it(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    def is_its_own(answer: Answer) -> bool:
        return (answer.model or "").startswith("asked")

    stand.server.on("asked", Reply("good", model="asked-2026-01-01"), Reply("good", model="other"))
    policy = stand.policy_of("asked", verify=is_its_own)
    with caplog.at_level("INFO", "cascade"):
        async with Engine(http=stand.transport) as engine:
            assert (await engine.run(policy, "hi")).answer.model == "asked-2026-01-01"
            with pytest.raises(CascadeExhausted):
                await engine.run(policy, "hi")
    logged = [record.__dict__["cascade"] for record in caplog.records]
    names = [event["response_model"] for event in logged if "response_model" in event]
    assert names == ["asked-2026-01-01", "other"]
