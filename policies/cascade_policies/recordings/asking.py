"""Asking one tier, alone: its answer, and what every verifier says of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final

import anyio
from msgspec.structs import asdict, replace

from cascade.bind import BoundTier
from cascade.context import Check, current_check
from cascade.cost import Cost
from cascade.engine import Engine
from cascade.errors import CallError, CascadeError
from cascade.policy import Policy, Tier
from cascade.provider import Call, Provider
from cascade.purse import Purse
from cascade.result import Attempt
from cascade.targets import Target
from cascade.types import Answer, Request
from cascade.verdict import Verdict, Verifier
from cascade_policies.recordings.header import RecordedModel
from cascade_policies.recordings.rows import RecordedAnswer, RecordedVerdict
from cascade_verifiers.asking import ask, settle

_POINTS: Final = 32

_streams: ContextVar[list[tuple[Answer, list[tuple[float, int]]]] | None] = ContextVar(
    "cascade_recording_streams", default=None
)


class _Timed:
    """A provider whose pieces are timed; all else of it stays with the target it is put into."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def complete(self, call: Call, /) -> Answer | None:
        """The provider's answer."""
        streams = _streams.get()
        if streams is None:
            return await self._provider.complete(call)
        began, pieces = anyio.current_time(), list[tuple[float, int]]()

        def on_delta(text: str) -> None:
            pieces.append((anyio.current_time() - began, len(text)))
            call.on_delta(text)

        answer = await self._provider.complete(replace(call, on_delta=on_delta))
        if answer is not None:
            streams.append((answer, pieces))
        return answer


class Booth:
    """One tier, to be asked alone, whole answers, without stand-ins and replicas.

    A prefix check does not cut answers off here: what they would have been is to be known.

    Args:
        engine: what runs the calls.
        policy: whose tier it is.
        tier: of it.
        key: of its verifier, in the recording.
        others: verifiers of other tiers that cost nothing to ask, by their keys.
    """

    def __init__(
        self,
        engine: Engine,
        policy: Policy,
        tier: Tier,
        key: str | None,
        others: Mapping[str, tuple[Verifier, float | None]],
    ) -> None:
        self.name = tier.name
        self._engine = engine
        self._key = key
        self._others = {k: check for k, check in others.items() if k != key}
        self._policy = Policy(policy.name, [_alone(tier)], exhausted="best")
        self.bound: BoundTier = engine.bind(self._policy).tiers[0]
        self.bound.prefix = None
        self.bound.targets = tuple((_timed(own), *rest) for own, *rest in self.bound.targets)

    def identity(self, said: RecordedModel, samples: int) -> RecordedModel:
        """What the header says of it, with the price and the billing that are in force."""
        target = self.bound.targets[0][0]
        price = said.price if target.price is None else asdict(target.price)
        alone = len({choices[0].name for choices in self.bound.targets}) == 1
        return replace(
            said,
            price=price if alone else None,
            samples=samples,
            stops_billing=target.cancel_stops_billing,
        )

    async def ask(self, request: Request, values: Mapping[str, str]) -> RecordedAnswer:
        """What the tier answers, with the verdicts.

        Raises:
            ConfigError, PromptError: it cannot be asked.
        """
        known = {name: text for name, text in values.items() if name in self.bound.variables}
        streams: list[tuple[Answer, list[tuple[float, int]]]] = []
        token = _streams.set(streams)
        try:
            result = await self._engine.run(self._policy, request, variables=known)
            attempts, winner = result.attempts, result.winner
        except CallError as error:
            attempts, winner = error.attempts, None
        finally:
            _streams.reset(token)
        first, repairs = _chosen(attempts, winner)
        if first is None:
            return RecordedAnswer(error="CascadeError: no model was asked")
        told = await self._recorded(first, request, streams)
        later = [await self._recorded(attempt, request, streams) for attempt in repairs]
        extra = dict(told.extra)
        if len(self.bound.targets) > 1:
            extra["members"] = [_member(a) for a in attempts if a.kind == "first"]
        failures = [_named(a.error) for a in attempts if a.error is not None and a is not first]
        if failures:
            extra["failures"] = failures
        return replace(told, repairs=tuple(later), extra=extra)

    async def _recorded(
        self,
        attempt: Attempt,
        request: Request,
        streams: list[tuple[Answer, list[tuple[float, int]]]],
    ) -> RecordedAnswer:
        answer, verdict = attempt.answer, attempt.verdict
        declined = verdict is not None and verdict.code == "declined"
        if answer is None or declined:
            error = "Declined: the function has no answer" if declined else _named(attempt.error)
            low, high = _dollars(attempt.cost, None)
            return RecordedAnswer(
                error=error,
                latency=max(0.0, attempt.latency - attempt.waited),
                cost_usd=high,
                cost_low_usd=None if low == high else low,
            )
        verdicts = {}
        if self._key is not None and verdict is not None:
            verdicts[self._key] = _said(verdict)
        for key, (verifier, timeout) in self._others.items():
            verdicts[key] = await self._other(verifier, timeout, request, answer)
        usage = answer.usage
        low, high = _dollars(attempt.cost, verdict)
        return RecordedAnswer(
            output=answer.text,
            input_tokens=None if usage is None else usage.input_tokens,
            output_tokens=None if usage is None else usage.output_tokens,
            latency=answer.latency,
            time_to_first_token=answer.time_to_first_token,
            cost_usd=high,
            cost_low_usd=None if low == high else low,
            finish_reason=answer.finish_reason,
            error=None if attempt.error is None else _named(attempt.error),
            verdicts=verdicts,
            extra=_extra(answer, attempt, streams),
        )

    async def _other(
        self, verifier: Verifier, timeout: float | None, request: Request, answer: Answer
    ) -> RecordedVerdict:
        target = self.bound.targets[0][0]
        purse = Purse(self._policy.name, self._engine.budget, None)
        token = current_check.set(Check(self._engine, makers=((answer, target),), purse=purse))
        began = anyio.current_time()
        found = Verdict.abstain("the check took too long", code="check.timeout")
        try:
            with anyio.move_on_after(timeout):
                found = await settle(verifier, ask(verifier, request, answer))
        finally:
            current_check.reset(token)
        return _said(found.timed(anyio.current_time() - began))


def _timed(target: Target) -> Target:
    return replace(target, provider=_Timed(target.provider))


def _alone(tier: Tier) -> Tier:
    return dataclasses.replace(tier, fallbacks=(), replica_after=None)


def _chosen(
    attempts: tuple[Attempt, ...], winner: Attempt | None
) -> tuple[Attempt | None, list[Attempt]]:
    """The tier's own answer, and its repairs in their order."""
    answered = [a for a in attempts if a.answer is not None and a.outcome != "cancelled"]
    several = len({a.member for a in attempts}) > 1
    if several:
        best = winner if winner is not None else next(iter(answered), None)
        return best or next(iter(attempts), None), []
    repairs = [a for a in answered if a.kind == "repair"]
    first = next((a for a in answered if a.kind != "repair"), None)
    if first is None:
        return (attempts[-1] if attempts else None), []
    return first, repairs


def _extra(
    answer: Answer, attempt: Attempt, streams: list[tuple[Answer, list[tuple[float, int]]]]
) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    if answer.tool_calls:
        extra["tool_calls"] = [
            {"name": c.name, "arguments": c.arguments} for c in answer.tool_calls
        ]
    if answer.model is not None:
        extra["response_model"] = answer.model
    if attempt.cost.basis != "reported":
        extra["cost_basis"] = attempt.cost.basis
    if answer.usage is not None:
        for name in ("cached_input_tokens", "reasoning_tokens"):
            count = getattr(answer.usage, name)
            if count is not None:
                extra[name] = count
    for made, pieces in streams:
        if made.text == answer.text and made.tool_calls == answer.tool_calls and len(pieces) > 1:
            extra["stream"] = _thinned(pieces)
            break
    return extra


def _thinned(pieces: list[tuple[float, int]]) -> list[list[float]]:
    """Seconds, and how many characters had come by then, at so many points at the most."""
    so_far, points = 0, []
    for seconds, size in pieces:
        so_far += size
        points.append([round(seconds, 6), so_far])
    step = max(1, -(-len(points) // _POINTS))
    return [*points[:-1:step], points[-1]]


def _member(attempt: Attempt) -> dict[str, Any]:
    told: dict[str, Any] = {"model": attempt.model, "member": attempt.member}
    if attempt.answer is not None:
        told["output"] = attempt.answer.text
        told["latency"] = attempt.answer.latency
    if attempt.error is not None:
        told["error"] = _named(attempt.error)
    if attempt.cost.high is not None:
        told["cost_usd"] = attempt.cost.high
    return told


def _said(verdict: Verdict) -> RecordedVerdict:
    low, high = verdict.cost.low, verdict.cost.high
    return RecordedVerdict(
        outcome=verdict.outcome,
        score=verdict.score,
        code=verdict.code,
        reason=verdict.reason,
        latency=verdict.latency,
        cost_usd=high,
        cost_low_usd=None if low == high else low,
    )


def _dollars(cost: Cost, verdict: Verdict | None) -> tuple[float | None, float | None]:
    """What the call cost without its check."""
    if cost.low is None or cost.high is None:
        return None, None
    if verdict is None or verdict.cost.low is None or verdict.cost.high is None:
        return cost.low, cost.high
    return max(0.0, cost.low - verdict.cost.low), max(0.0, cost.high - verdict.cost.high)


def _named(error: CascadeError | None) -> str:
    """An error as the replay reads it: its class, and why."""
    return "ProviderError: no answer" if error is None else f"{type(error).__name__}: {error}"[:500]
