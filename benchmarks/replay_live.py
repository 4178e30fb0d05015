"""Recorded answers given once more by the live engine, on trio's virtual clock.

The models are scripted to take as long as recorded, and the checks to take as long and to say the
same; all else is the engine that serves calls, with its tasks, timers and cancellations.

Answers that come in the same instant come in the order of their tiers, as in a replay, and timers
before them: each waits for as many turns of the event loop as its place in the policy demands. In
a real race such a tie is anyone's.

Costs are equal to those of a replay, intervals of cancelled calls included, where the recording
says of a call what the engine assumes of a model: that all its prompt's bytes are tokens as dense
as they may be, that it writes `HIDDEN_TOKENS_PER_SECOND` and shows nothing before it is done.
`recorded_table` makes such tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from math import isnan
from typing import Any

import anyio
import anyio.lowlevel
import numpy as np
import trio
import trio.testing

from cascade import Answer, Engine, Policy, Price, Provider, Request, RetryBudget, Tier
from cascade.billing import HIDDEN_TOKENS_PER_SECOND, prompt_tokens
from cascade.errors import APIResponseError, CallError
from cascade.provider import Call
from cascade.records import CallRecord
from cascade.testing import Scripted, ScriptedModel
from cascade.types import Usage
from cascade.verdict import Verdict
from cascade_policies.replaying import UNCHECKED, Settings, Table

PROMPT = "what was recorded"
TURNS = 8
"""Of the event loop, in which one tier does what its answer leads to."""

PROMPT_TOKENS = prompt_tokens(Request.of(PROMPT))[1]


def price(column: int) -> Price:
    """Powers of two a token, so that no cost is rounded."""
    return Price(input=1e6 / 2**12, output=1e6 * 2.0 ** (column - 16))


def recorded_table(
    latency: Any, score: Any, quality: Any, failed: Any, check_latency: Any, stops: Sequence[Any]
) -> Table:
    """A table of shape (n, K), with the costs that the engine would find.

    Args:
        latency: multiples of 1/4 second, above 0.
        score, quality, failed, check_latency, stops: as in `Table`; the check's seconds too are
            multiples of 1/4, or 0.
    """
    latency, failed = np.asarray(latency, float), np.asarray(failed, bool)
    rows, columns = latency.shape
    prices = [price(column) for column in range(columns)]
    per_token = np.array([each.output for each in prices]) / 1e6
    prompt = np.full((rows, columns), PROMPT_TOKENS / 2**12)
    whole = prompt + latency * HIDDEN_TOKENS_PER_SECOND * per_token
    return Table(
        ids=[str(row) for row in range(rows)],
        tiers=[f"t{column}" for column in range(columns)],
        quality=quality,
        score=score,
        # A stream that breaks before its first word may have been billed for nothing at all.
        cost_low=np.where(failed, 0.0, whole),
        cost_high=whole,
        latency=latency,
        check_latency=check_latency,
        failed=failed,
        stops_billing=stops,
        accepted=np.nan_to_num(np.asarray(score, float)) >= 0.5,
        first_token=np.where(failed, np.nan, latency),
        prompt_cost=prompt,
    )


class InTurn:
    """A scripted model whose answers wait for their turn."""

    def __init__(self, model: ScriptedModel, place: int) -> None:
        self.name = model.name
        self._model = model
        self._place = place

    async def complete(self, call: Call, /) -> Answer | None:
        """What the script says, in turn."""
        pieces: list[str] = []
        try:
            answer = await self._model.complete(Call(call.model, call.request, pieces.append))
        except APIResponseError:
            await _turn(self._place)
            raise
        await _turn(self._place)
        for piece in pieces:
            call.on_delta(piece)
        return answer


class Recalled:
    """A check that says what was recorded."""

    def __init__(self, score: float, seconds: float, place: int, threshold: float = 0.5) -> None:
        self._says = score, seconds, place
        self._threshold = threshold

    def with_threshold(self, threshold: float) -> Recalled:
        """The same with another threshold."""
        return Recalled(*self._says, threshold)

    def verify(self, request: Request, answer: Answer, /) -> Any:
        """At once, or after the recorded time."""
        del request, answer
        return self._late() if self._says[1] else self._verdict()

    async def _late(self) -> Verdict:
        _, seconds, place = self._says
        await anyio.sleep(seconds)
        await _turn(place)
        return self._verdict()

    def _verdict(self) -> Verdict:
        score = self._says[0]
        if isnan(score):
            return Verdict.abstain("cannot tell")
        if score >= self._threshold:
            return Verdict.accept(score=score)
        return Verdict.reject("below the threshold", score=score)


async def _turn(place: int) -> None:
    for _ in range((place + 1) * TURNS):
        await anyio.lowlevel.checkpoint()


def policy_of(table: Table, row: int, settings: Settings) -> Policy:
    """The settings as a policy whose models give the answers of one row."""
    tiers = [_tier(table, row, settings, place) for place in range(len(settings.tiers))]
    delays = settings.start_after[1:]
    overlap = any(delay is not None for delay in delays)
    return Policy(
        "recorded",
        tiers,
        start_after=[None, *delays] if overlap else None,
        prefer=settings.prefer,
        grace=settings.grace if overlap and settings.prefer == "cheapest" else None,
        deadline=settings.deadline,
        exhausted=settings.exhausted,
    )


def _tier(table: Table, row: int, settings: Settings, place: int) -> Tier:
    column, threshold = settings.tiers[place], settings.thresholds[place]
    seconds = float(table.latency[row, column])
    tokens = int(seconds * HIDDEN_TOKENS_PER_SECOND)
    failed = table.failed[row, column]
    script = Scripted(
        text="an answer",
        delay=seconds,
        error=APIResponseError("broke off") if failed else None,
        usage=Usage(PROMPT_TOKENS, tokens),
    )
    model: Provider = InTurn(ScriptedModel(script, name=table.tiers[column]), place)
    score, check = float(table.score[row, column]), float(table.check_latency[row, column])
    checked = threshold != UNCHECKED
    return Tier(
        model,
        verify=Recalled(score, check, place) if checked else None,
        threshold=threshold if checked else None,
        params={"max_tokens": tokens},
        timeout=None,
        verify_timeout=None,
        retries=0,
        on_abstain=settings.abstains[place],
        price=price(column),
        cancel_stops_billing=table.stops_billing[column],
    )


class _Keep:
    def __init__(self) -> None:
        self.records: list[CallRecord] = []

    def call_finished(self, record: CallRecord, /) -> None:
        self.records.append(record)


def run_live(table: Table, candidates: Sequence[Settings]) -> list[list[CallRecord]]:
    """The records of the calls for every row, under each of the candidates."""

    async def main() -> list[list[CallRecord]]:
        kept = _Keep()
        budget = RetryBudget(reserve=1e9)
        async with Engine(observers=[kept], retry_budget=budget) as engine:
            for settings in candidates:
                for row in range(len(table)):
                    with suppress(CallError):  # the record says so
                        await engine.run(policy_of(table, row, settings), PROMPT)
        rows = max(1, len(table))
        return [kept.records[at : at + rows] for at in range(0, len(kept.records), rows)]

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
