"""Decides. Events in, actions out: no await, no clock, no I/O.

One rule starts the tiers: tier k starts at the earlier of its ``start_after`` since the start of
tier k-1, or the moment every started tier is out. None everywhere is a cascade, 0 everywhere a
race, seconds a hedge; RFC 8305 ("happy eyeballs", section 5) staggers connection attempts by the
same rule.

Time comes with the events. Before an event counts, every timer due by its time does: an answer
that arrives in the very instant of its deadline is late, whatever order a driver delivers the two
in. That is what makes the live engine and a replay in virtual time agree exactly.

`docs/states.md` draws the life of an attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from cascade.events import (
    Aborted,
    Action,
    Answered,
    Began,
    Begin,
    Cancel,
    CancelReason,
    Declined,
    Elapsed,
    Event,
    Failed,
    Finish,
    Held,
    Judge,
    Judged,
    Outcome,
    Plan,
    Refused,
    Start,
    Streamed,
    TierPlan,
)
from cascade.result import Kind
from cascade.standing import ALIVE, NEVER, AttemptState, Phase, Slot, TierState
from cascade.verdict import TOO_LATE, Verdict


class State(Struct, eq=False):
    """One call under one plan.

    A driver sends `Begin`, carries out the actions it gets back, and sends what comes of them,
    until a `Finish` comes: always exactly one, and nothing after it. Events about attempts that
    are over are ignored, so a driver need not guard against them.

    Args:
        plan: what to do.
        extra: asked before each retry, repair, replica and hedge whether it may be made; an
            escalation is none of these, nor is what a race starts.

    Attributes:
        attempts: every attempt started so far; an attempt's id is its position here.
        finish: the `Finish` action once it was given, else None.
        escalations: how many tiers were started because those before were out.
        wake: when to send `Elapsed`; infinite for never. Look again after each event.
        deadline: the call's; infinite without one.
    """

    plan: Plan
    _extra: Callable[[], bool] = lambda: True
    attempts: list[AttemptState] = []
    finish: Finish | None = None
    escalations: int = 0
    wake: float = NEVER
    deadline: float = NEVER
    _tiers: list[TierState] = []  # those that were started
    _next: int = 0
    _next_at: float = NEVER
    _winner: TierState | None = None
    _grace_at: float = NEVER
    _now: float = 0.0
    _actions: list[Action] = []

    def handle(self, event: Event) -> list[Action]:
        """Take in what happened; the actions to carry out now, in order."""
        if self.finish is not None:
            return []
        self._now = event.at
        self._actions = []
        if self.wake <= event.at and type(event) is not Aborted:
            self._expire()
        if self.finish is None:
            # By type: `match` asks with `isinstance`, which takes four times as long on a Struct.
            _TAKE[type(event)](self, event)
            if self.finish is None:
                self._set_wake()
        return self._actions

    def alone(self, id_: int) -> bool:
        """Whether the attempt runs, and nothing else that was started may win instead of it."""
        attempt = self.attempts[id_]
        if attempt.phase != "running" or self._winner is not None:
            return False
        home, own = self.place(attempt)
        for tier in self._tiers:
            if tier is not home and tier.status == "open":
                return False
        for slot in home.slots:
            if slot.live != [attempt] if slot is own else not slot.out:
                return False
        return True

    def commit(self, id_: int) -> None:
        """Let nothing replace the attempt: its text was given out, never to be taken back.

        If it fails, its member is out. What has started already is not touched.
        """
        tier, slot = self.place(self.attempts[id_])
        slot.retries, slot.choice, slot.replica_at = 0, tier.plan.fallbacks, NEVER

    def place(self, attempt: AttemptState) -> tuple[TierState, Slot]:
        """Where an attempt belongs.

        By position: an attempt that held its place would make a cycle, for the garbage collector.
        """
        tier = self._tiers[attempt.tier - self.plan.first]
        return tier, tier.slots[attempt.member]

    # Events

    def _begin(self, event: Begin) -> None:
        self._next = self.plan.first
        if self.plan.deadline is not None:
            since = event.at if event.since is None else event.since
            self.deadline = since + self.plan.deadline
        if self.deadline <= event.at:
            self._conclude("deadline")
        else:
            self._start_tier()

    def _aborted(self, event: Aborted) -> None:
        del event
        self._conclude("aborted")

    def _elapsed(self, event: Elapsed) -> None:
        """The timers have been looked at."""

    def _held(self, event: Held) -> None:
        attempt = self.attempts[event.attempt]
        if attempt.phase == "running":
            attempt.phase = "waiting"
            attempt.deadline = self.deadline
            self.place(attempt)[1].replica_at = NEVER

    def _began(self, event: Began) -> None:
        attempt = self.attempts[event.attempt]
        if attempt.phase == "waiting":
            tier, slot = self.place(attempt)
            attempt.phase = "running"
            attempt.deadline = self._until(tier.plan.timeout)
            self._plan_replica(tier, slot, attempt.kind)

    def _streamed(self, event: Streamed) -> None:
        attempt = self.attempts[event.attempt]
        tier, slot = self.place(attempt)
        patience = tier.plan.replica_after
        if attempt.phase == "running" and patience is not None and slot.replica_at < NEVER:
            slot.replica_at = max(slot.replica_at, event.at + patience)

    def _answered(self, event: Answered) -> None:
        attempt = self.attempts[event.attempt]
        if attempt.phase in ("running", "waiting"):
            if event.enough:
                self._spare(attempt)
            self._take(attempt)

    def _spare(self, attempt: AttemptState) -> None:
        """Go without the tier's other members that have not answered yet."""
        tier, own = self.place(attempt)
        for slot in tier.slots:
            if slot is not own and slot.answer is None:
                self._cancel_slot(slot, "settled")
                slot.out = True

    def _refused(self, event: Refused) -> None:
        attempt = self.attempts[event.attempt]
        if attempt.phase in ("running", "waiting"):
            attempt.verdict = event.verdict
            attempt.whole = False
            self._take(attempt)

    def _take(self, attempt: AttemptState) -> None:
        """Take the attempt's answer as its member's."""
        tier, slot = self.place(attempt)
        attempt.phase = "answered"
        slot.live.remove(attempt)
        slot.answer = attempt
        self._cancel_slot(slot, "replica")
        self._settle(tier)

    def _declined(self, event: Declined) -> None:
        attempt = self.attempts[event.attempt]
        if attempt.phase in ("running", "waiting"):
            tier, slot = self.place(attempt)
            self._end(attempt, "rejected")
            slot.live.remove(attempt)
            self._cancel_slot(slot, "replica")
            slot.out = True
            self._settle(tier)

    def _failed(self, event: Failed) -> None:
        attempt = self.attempts[event.attempt]
        if attempt.phase in ("running", "waiting"):
            self._fail(attempt, event.retryable, event.delay)

    def _judged(self, event: Judged) -> None:
        for id_, verdict in zip(event.attempts, event.verdicts, strict=True):
            attempt = self.attempts[id_]
            if attempt.phase == "judging" and attempt.verdict is None:
                attempt.verdict = verdict
        tier, _ = self.place(self.attempts[event.attempts[0]])
        for attempt in tier.judging:
            if attempt.verdict is None:
                return
        if tier.judging:
            self._decide(tier)

    # Timers

    def _until(self, seconds: float | None) -> float:
        """When that many seconds are over, at most the call's deadline."""
        return self.deadline if seconds is None else min(self._now + seconds, self.deadline)

    def _set_wake(self) -> None:
        wake = self.deadline
        if self._grace_at < wake:
            wake = self._grace_at
        if self._next_at < wake:
            wake = self._next_at
        for tier in self._tiers:
            if tier.status == "open":
                if tier.judge_by < wake:
                    wake = tier.judge_by
                for slot in tier.slots:
                    wake = min(wake, slot.retry_at, slot.replica_at)
                    for attempt in slot.live:
                        if attempt.deadline < wake:
                            wake = attempt.deadline
        self.wake = wake

    def _expire(self) -> None:
        """Let every timer that is due count, the ones that end things first."""
        now = self._now
        if self.deadline <= now:
            self._conclude("deadline")
        elif self._grace_at <= now:
            self._conclude("accepted")
        for tier in self._tiers:
            if tier.status == "open" and self.finish is None:
                self._expire_tier(tier)
        if self._next_at <= now and self.finish is None:
            self._next_at = NEVER  # without leave, it starts when those before it are out
            if self._extra():
                self._start_tier()

    def _expire_tier(self, tier: TierState) -> None:
        if tier.judge_by <= self._now:
            for attempt in tier.judging:
                if attempt.verdict is None:
                    attempt.verdict = _too_late(tier.plan)
                    self._actions.append(Cancel(attempt.id, "check_timeout"))
            self._decide(tier)
            return
        for slot in tier.slots:
            for attempt in tuple(slot.live):
                if attempt.deadline <= self._now:
                    self._actions.append(Cancel(attempt.id, "timeout"))
                    self._fail(attempt, retryable=True, delay=0.0)
            if slot.retry_at <= self._now:
                slot.retry_at = NEVER
                self._start(tier, slot, "retry")
            elif slot.replica_at <= self._now:
                slot.replica_at = NEVER
                if self._extra():
                    self._start(tier, slot, "replica")

    # Tiers and attempts

    def _start_tier(self) -> None:
        plan = self.plan.tiers[self._next]
        slots = [Slot(member, plan.retries) for member in range(plan.members)]
        tier = TierState(self._next, plan, plan.repairs, slots)
        self._tiers.append(tier)
        self._next += 1
        self._next_at = NEVER
        if self._next < len(self.plan.tiers):
            delay = self.plan.delays[self._next]
            if delay is not None:
                self._next_at = self._now + delay
        for slot in tier.slots:
            self._start(tier, slot, "first")
        if self._next_at <= self._now:
            self._start_tier()

    def _start(self, tier: TierState, slot: Slot, kind: Kind) -> None:
        id_, deadline = len(self.attempts), self._until(tier.plan.timeout)
        action = Start(id_, tier.index, slot.member, slot.choice, kind, slot.repairs, deadline)
        attempt = AttemptState(
            id_,
            tier.index,
            slot.member,
            slot.choice,
            kind,
            slot.repairs,
            deadline,
            self._now,
        )
        self.attempts.append(attempt)
        slot.live.append(attempt)
        self._actions.append(action)
        if tier.plan.replica_after is not None:
            self._plan_replica(tier, slot, kind)

    def _plan_replica(self, tier: TierState, slot: Slot, kind: Kind) -> None:
        """Every call but a replica may get one, ``replica_after`` it began to run."""
        if tier.plan.replica_after is None or kind == "replica" or len(slot.live) > 1:
            return
        slot.replica_at = self._now + tier.plan.replica_after
        if slot.replica_at <= self._now:
            slot.replica_at = NEVER
            if self._extra():
                self._start(tier, slot, "replica")

    def _fail(self, attempt: AttemptState, retryable: bool, delay: float) -> None:
        """End the attempt; then a replica still in flight, a retry, a stand-in, or give up."""
        tier, slot = self.place(attempt)
        self._end(attempt, "failed")
        slot.live.remove(attempt)
        if slot.live:
            return
        slot.replica_at = NEVER
        in_time = self._now + delay < self.deadline
        if retryable and slot.retries > 0 and in_time and self._extra():
            slot.retries -= 1
            slot.retry_at = self._now + delay
            if delay <= 0:
                slot.retry_at = NEVER
                self._start(tier, slot, "retry")
        elif slot.choice < tier.plan.fallbacks:
            slot.choice += 1
            slot.retries = tier.plan.retries
            self._start(tier, slot, "fallback")
        else:
            slot.out = True
            self._settle(tier)

    def _settle(self, tier: TierState) -> None:
        """Once every member has an answer or is out: judge what there is."""
        answered = []
        for slot in tier.slots:
            if slot.answer is not None:
                answered.append(slot.answer)
            elif not slot.out:
                return
        if not answered:
            self._out(tier)
        elif tier.plan.judged:
            for attempt in answered:
                attempt.phase = "judging"
            tier.judging = answered
            unjudged = tuple([attempt.id for attempt in answered if attempt.verdict is None])
            if unjudged:
                tier.judge_by = self._until(tier.plan.verify_timeout)
                self._actions.append(Judge(tier.index, unjudged))
            else:
                self._decide(tier)
        else:
            for spare in answered[1:]:
                self._cancel(spare, "outrun")
            self._end(answered[0], "accepted")
            self._accept(tier, answered[0])

    def _decide(self, tier: TierState) -> None:
        """End the attempts by their verdicts; the best-scored accepted one is the tier's."""
        judged, tier.judging, tier.judge_by = tier.judging, [], NEVER
        best: tuple[float, AttemptState] | None = None
        repairable = []
        for attempt in judged:
            verdict = attempt.verdict
            assert verdict is not None
            abstained = verdict.outcome == "abstained"
            if verdict.accepted or (abstained and tier.plan.on_abstain == "accept"):
                self._end(attempt, "accepted")
                score = _score(verdict)
                if best is None or score > best[0]:
                    best = (score, attempt)
            else:
                self._end(attempt, "rejected")
                if verdict.repairable:
                    repairable.append(attempt)
        if best is not None:
            self._accept(tier, best[1])
        elif tier.repairs > 0 and (paid := [each for each in repairable if self._extra()]):
            self._repair(tier, paid)
        else:
            self._out(tier)

    def _repair(self, tier: TierState, rejected: list[AttemptState]) -> None:
        tier.repairs -= 1
        again = {attempt.member: attempt for attempt in rejected}
        for slot in tier.slots:
            slot.answer = None
            if slot.member in again:
                slot.repairs = again[slot.member].id
                slot.retries = tier.plan.retries
                self._start(tier, slot, "repair")
            else:
                slot.out = True

    def _out(self, tier: TierState) -> None:
        tier.status = "out"
        if self._winner is not None:
            if not self._contested(self._winner):
                self._conclude("accepted")
        elif any(other.status == "open" for other in self._tiers):
            pass  # one that was started is still undecided
        elif self._next < len(self.plan.tiers):
            self.escalations += 1
            self._start_tier()
        else:
            self._conclude("exhausted")

    def _accept(self, tier: TierState, attempt: AttemptState) -> None:
        tier.status = "accepted"
        tier.chosen = attempt
        self._winner = tier
        if self.plan.prefer == "fastest" or not self._contested(tier):
            self._conclude("accepted")
            return
        # No higher tier can win any more; the lower ones may, within the grace.
        self._next = len(self.plan.tiers)
        self._next_at = NEVER
        for other in self._tiers:
            if other.index > tier.index:
                self._cancel_tier(other, "outrun")
        if self.plan.grace is not None and self._grace_at == NEVER:
            self._grace_at = self._now + self.plan.grace
            if self._grace_at <= self._now:
                self._conclude("accepted")

    def _contested(self, winner: TierState) -> bool:
        """Whether a tier below the winner may still be accepted."""
        for tier in self._tiers:
            if tier is winner:
                break
            if tier.status == "open":
                return True
        return False

    # Endings

    def _end(self, attempt: AttemptState, phase: Phase) -> None:
        attempt.phase = phase
        attempt.ended = self._now

    def _cancel(self, attempt: AttemptState, reason: CancelReason) -> None:
        if attempt.phase != "answered":  # an answer waiting for its peers has nothing running
            self._actions.append(Cancel(attempt.id, reason))
        self._end(attempt, "cancelled")

    def _cancel_slot(self, slot: Slot, reason: CancelReason) -> None:
        for attempt in slot.live:
            self._cancel(attempt, reason)
        slot.live = []
        slot.retry_at = slot.replica_at = NEVER

    def _cancel_tier(self, tier: TierState, reason: CancelReason) -> None:
        if tier.status != "open":
            return
        tier.status = "cancelled"
        tier.judge_by = NEVER
        for slot in tier.slots:
            self._cancel_slot(slot, reason)
            if slot.answer is not None and slot.answer.phase in ALIVE:
                self._cancel(slot.answer, reason)

    def _conclude(self, outcome: Outcome) -> None:
        """Cancel what still runs and finish; an accepted answer beats the call's deadline."""
        chosen = None
        if self._winner is not None and outcome != "aborted":
            outcome, chosen = "accepted", self._winner.chosen
        reason: CancelReason = (
            "deadline" if outcome == "deadline" else "aborted" if outcome == "aborted" else "outrun"
        )
        for tier in self._tiers:
            self._cancel_tier(tier, reason)
        if chosen is None and outcome != "aborted":
            chosen = self.best_rejected()
        self.finish = Finish(outcome, None if chosen is None else chosen.id)
        self._actions.append(self.finish)

    def best_rejected(self) -> AttemptState | None:
        """The best-scored rejected answer; among equals the strongest tier's latest."""
        rejected = [a for a in self.attempts if a.phase == "rejected" and a.verdict and a.whole]
        return max(rejected, key=lambda a: (_score(a.verdict), a.tier, a.id), default=None)


_TAKE: Mapping[type[Event], Callable[[State, Any], None]] = {
    Begin: State._begin,
    Held: State._held,
    Began: State._began,
    Streamed: State._streamed,
    Answered: State._answered,
    Declined: State._declined,
    Refused: State._refused,
    Failed: State._failed,
    Judged: State._judged,
    Elapsed: State._elapsed,
    Aborted: State._aborted,
}


def _too_late(plan: TierPlan) -> Verdict:
    return Verdict.abstain(f"the check took longer than {plan.verify_timeout:g} s", code=TOO_LATE)


def _score(verdict: Verdict | None) -> float:
    """The score for comparing; an answer without one comes after all that have one."""
    return -1.0 if verdict is None or verdict.score is None else verdict.score
