"""Drives one call in virtual time: the same state machine, over answers that were recorded.

No model is called and no verifier is run. What an attempt answered, how long that took, what the
check said and what both cost is looked up; when it happens, and what comes of it, is decided by
`cascade.state.State`, as in a live call. Of events at the same instant, those of the lower tier
come first.

A cancelled attempt costs an interval, by the rules of `cascade.billing`, but nearer to the truth,
as the recording knows what the whole would have cost:

- at the least what had been streamed: nothing until the first token, then the prompt and the share
  of the output that was written since, at an even pace to the end;
- at the most, where closing the stream stops the billing, the prompt and the share of the output
  that an even pace from the very start would have written; else the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from random import Random
from typing import Literal

from msgspec import Struct

from cascade.backoff import full_jitter
from cascade.errors import ConfigError
from cascade.events import (
    Action,
    Answered,
    Begin,
    Cancel,
    Declined,
    Elapsed,
    Event,
    Failed,
    Finish,
    Judge,
    Judged,
    Outcome,
    Plan,
    Start,
    Streamed,
)
from cascade.result import Kind
from cascade.standing import AttemptState, Phase
from cascade.state import State
from cascade.verdict import Verdict

NAN = float("nan")


class Recorded(Struct, frozen=True, kw_only=True):
    """One attempt as it was recorded. Seconds and US dollars; NaN where they are not known.

    Attributes:
        latency: of the call alone, to its answer or failure.
        low, high: what it cost whole, its check included.
        verdict: what the check said, the tier's threshold applied; None where nothing was checked.
        ended: ``failed`` is an error; ``declined`` is a function's "not mine".
        retryable: whether the failure may pass.
        first_token: seconds to the first piece of the answer.
        check_latency: of the check alone.
        check_cost: the part of the cost that is the check's.
        prompt_cost: the part of the cost that is the prompt's.
        stops: whether closing the stream stops the billing; None for not known.
        quality: what the answer is worth, by whatever scored it.
        repair: the answer that followed when this one's rejection was fed back.
    """

    latency: float
    low: float
    high: float
    verdict: Verdict | None = None
    ended: Literal["answered", "failed", "declined"] = "answered"
    retryable: bool = False
    first_token: float = NAN
    check_latency: float = 0.0
    check_cost: float = 0.0
    prompt_cost: float = NAN
    stops: bool | None = None
    quality: float = NAN
    repair: Recorded | None = None

    def cut_short(self, elapsed: float) -> tuple[float, float]:
        """What the call costs, at the least and at the most, when cancelled after so long."""
        low, high = self.low - self.check_cost, self.high - self.check_cost
        prompt, first = self.prompt_cost, self.first_token
        known = prompt == prompt
        if self.stops and known and elapsed < self.latency:
            most = min(high, prompt + elapsed * (high - prompt) / self.latency)
        else:
            most = high
        if elapsed > first:
            base = prompt if known else 0.0
            return min(low, base + (elapsed - first) * (low - base) / (self.latency - first)), most
        return 0.0 * low, most  # an unknown cost stays one


Row = Sequence[Sequence[Sequence[Sequence[Recorded]]]]
"""What was recorded for one prompt: ``row[tier][member][choice]`` are the samples of that model,
in the order in which they are drawn: the first answer, then those of retries and replicas."""


class ReplayedAttempt(Struct, frozen=True):
    """One attempt of a replayed call; times are seconds after the call began, or long."""

    tier: int
    member: int
    choice: int
    kind: Kind
    outcome: Phase
    started: float
    latency: float
    low: float
    high: float


class Replayed(Struct, frozen=True, kw_only=True):
    """What a call comes to.

    Attributes:
        outcome: ``accepted``, ``exhausted`` or ``deadline``.
        tier: of the answer that is given; None when there is none.
        quality: of that answer; 0 when there is none.
        low, high: US dollars, losers included; NaN when something's cost is not known.
        latency: seconds; NaN when that of an attempt is not known.
        escalations: how many tiers were started because those before were out.
        attempts: in the order they were started.
    """

    outcome: Outcome
    tier: int | None
    quality: float
    low: float
    high: float
    latency: float
    escalations: int
    attempts: tuple[ReplayedAttempt, ...]


class NotRecordedError(ConfigError):
    """The policy needs what the recording does not have.

    Attributes:
        needs: what is missing, in a few words.
        at: index of the tier that needs it.
    """

    def __init__(self, needs: str, at: int, *, tier: str | None = None) -> None:
        super().__init__(f"needs {needs}, which the recording does not have", tier=tier)
        self.needs = needs
        self.at = at


class MeanJitter(Random):
    """A source of jitter that always draws the mean: retries wait as long as they do on average."""

    def uniform(self, a: float, b: float) -> float:
        """The middle."""
        return (a + b) / 2


MEAN = MeanJitter()


def replay(
    plan: Plan,
    row: Row,
    *,
    best: bool = False,
    extra: Callable[[], bool] = lambda: True,
    random: Random = MEAN,
) -> Replayed:
    """What a call under the plan comes to, given what was recorded for its prompt.

    Args:
        plan: the policy as the state machine sees it.
        row: what was recorded, from the tier at ``plan.first`` on at the least.
        best: whether the best rejected answer is given when none is accepted.
        extra: asked before each retry, repair, replica and hedge, as the retry budget is.
        random: the source of jitter.

    Raises:
        NotRecordedError: the plan needs a sample, a repair, a verdict or a time that is not there.
    """
    call = _Call(plan, row, State(plan, extra), random)
    finish = call.run()
    attempts = tuple(map(call.attempt, call.state.attempts))
    low = high = 0.0
    for attempt in attempts:
        low += attempt.low
        high += attempt.high
    chosen = finish.attempt if best or finish.outcome == "accepted" else None
    return Replayed(
        outcome=finish.outcome,
        tier=None if chosen is None else attempts[chosen].tier,
        quality=0.0 if chosen is None else call.drawn[chosen].quality,
        low=low,
        high=high,
        latency=call.now if call.timed else NAN,
        escalations=call.state.escalations,
        attempts=attempts,
    )


class _Call(Struct, eq=False):
    plan: Plan
    row: Row
    state: State
    random: Random
    now: float = 0.0
    timed: bool = True
    drawn: list[Recorded] = []  # by attempt
    cancels: list[str] = []  # by attempt: why it was cancelled, "" if it was not
    checked: list[bool] = []  # by attempt: whether its check was begun
    heap: list[tuple[float, int, int, int, Event]] = []
    pushed: int = 0

    def run(self) -> Finish:
        state, heap = self.state, self.heap
        self._carry_out(state.handle(Begin(0.0)))
        while state.finish is None:
            # A timer that is due at the time of an event counts first: the state sees to that.
            if heap and heap[0][0] <= state.wake:
                self.now, _, _, _, event = heappop(heap)
                self._carry_out(state.handle(event))
                if type(event) is Streamed:
                    self._stream_on(event)
            else:
                self.now = state.wake
                self._carry_out(state.handle(Elapsed(self.now)))
        return state.finish

    def _carry_out(self, actions: list[Action]) -> None:
        for action in actions:
            if type(action) is Start:
                self._start(action)
            elif type(action) is Judge:
                self._judge(action)
            elif type(action) is Cancel:
                self.cancels[action.attempt] = action.reason

    def _push(self, at: float, tier: int, id_: int, event: Event) -> None:
        self.pushed += 1
        heappush(self.heap, (at, tier, id_, self.pushed, event))

    def _seconds(self, seconds: float, tier: int) -> float:
        """The recorded time; one that is not known is none where nothing hangs on it."""
        if seconds == seconds:
            return seconds
        if self.plan.overlaps or self.plan.deadline is not None:
            raise NotRecordedError("how long the answer and its check took", tier)
        self.timed = False
        return 0.0

    def _start(self, start: Start) -> None:
        recorded, tries = self._draw(start)
        self.drawn.append(recorded)
        self.cancels.append("")
        self.checked.append(False)
        id_, at = start.attempt, self.now + self._seconds(recorded.latency, start.tier)
        done: Event
        if recorded.ended == "answered":
            done = Answered(at, id_)
        elif recorded.ended == "declined":
            done = Declined(at, id_)
        elif recorded.retryable:
            done = Failed(at, id_, True, full_jitter(self.random, tries + 1, None))
        else:
            done = Failed(at, id_)
        self._push(at, start.tier, id_, done)
        patience = self.plan.tiers[start.tier].replica_after
        if patience is not None and start.kind != "replica" and recorded.latency > patience:
            if recorded.first_token != recorded.first_token:
                raise NotRecordedError("the time to the first token", start.tier)
            first = self.now + recorded.first_token
            self._push(first, start.tier, id_, Streamed(first, id_))

    def _stream_on(self, event: Streamed) -> None:
        """From its first token on an answer is taken to flow without a pause."""
        attempt = self.state.attempts[event.attempt]
        patience = self.plan.tiers[attempt.tier].replica_after
        if patience and attempt.phase == "running" and self.state.finish is None:
            at = event.at + patience / 2
            self._push(at, attempt.tier, attempt.id, Streamed(at, attempt.id))

    def _draw(self, start: Start) -> tuple[Recorded, int]:
        """What answers the attempt, and how many were made before it in its place."""
        samples = self.row[start.tier][start.member][start.choice]
        if start.kind == "first":
            return _sample(samples, 0, start), 0
        place = (start.tier, start.member, start.choice)
        before = [
            each
            for each in self.state.attempts[: start.attempt]
            if (each.tier, each.member, each.choice) == place
        ]
        if start.kind == "repair":
            assert start.repairs is not None
            repair = self.drawn[start.repairs].repair
            if repair is None:
                raise NotRecordedError("the answer to a repair", start.tier)
            return repair, len(before)
        if start.repairs is not None:
            raise NotRecordedError(f"a repair once more (for a {start.kind})", start.tier)
        index = sum(each.repairs is None for each in before)
        return _sample(samples, index, start), len(before)

    def _judge(self, judge: Judge) -> None:
        for id_ in judge.attempts:
            recorded = self.drawn[id_]
            if recorded.verdict is None:
                raise NotRecordedError("the check's verdict", judge.tier)
            self.checked[id_] = True
            at = self.now + self._seconds(recorded.check_latency, judge.tier)
            self._push(at, judge.tier, id_, Judged(at, (id_,), (recorded.verdict,)))

    def attempt(self, state: AttemptState) -> ReplayedAttempt:
        """The record of an attempt that has ended."""
        recorded, id_ = self.drawn[state.id], state.id
        assert state.ended is not None
        low, high, reason = recorded.low, recorded.high, self.cancels[id_]
        latency = state.ended - state.started
        if not self.checked[id_]:
            if reason:
                low, high = recorded.cut_short(latency)
            else:
                low, high = low - recorded.check_cost, high - recorded.check_cost
        elif reason:  # in the midst of its check
            low -= recorded.check_cost
        return ReplayedAttempt(
            state.tier,
            state.member,
            state.choice,
            state.kind,
            state.phase,
            state.started,
            latency,
            low,
            high,
        )


def _sample(samples: Sequence[Recorded], index: int, start: Start) -> Recorded:
    if index < len(samples):
        return samples[index]
    if index == 0:
        raise NotRecordedError("an answer", start.tier)
    raise NotRecordedError(f"{index + 1} samples of a model (for a {start.kind})", start.tier)
