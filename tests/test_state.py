"""The state machine under arbitrary interleavings of events."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.events import (
    Aborted,
    Action,
    Answered,
    Began,
    Begin,
    Cancel,
    Declined,
    Elapsed,
    Event,
    Failed,
    Finish,
    Held,
    Judge,
    Judged,
    Plan,
    Refused,
    Start,
    Streamed,
    TierPlan,
)
from cascade.standing import ALIVE
from cascade.state import State
from cascade.verdict import Verdict

seconds = st.integers(1, 6).map(float)
delays = st.one_of(st.none(), st.integers(0, 5).map(float))
tier_plans = st.builds(
    TierPlan,
    members=st.integers(1, 3),
    judged=st.booleans(),
    timeout=st.one_of(st.none(), seconds),
    verify_timeout=st.one_of(st.none(), seconds),
    retries=st.integers(0, 2),
    repairs=st.integers(0, 2),
    replica_after=st.one_of(st.none(), st.integers(0, 3).map(float)),
    fallbacks=st.integers(0, 2),
    on_abstain=st.sampled_from(["escalate", "accept"]),
)
verdicts = st.one_of(
    st.builds(Verdict.accept, score=st.one_of(st.none(), st.sampled_from([0.2, 0.5, 0.9]))),
    st.builds(
        Verdict.reject,
        st.just("no"),
        repairable=st.booleans(),
        score=st.one_of(st.none(), st.sampled_from([0.1, 0.4])),
    ),
    st.builds(Verdict.abstain, st.just("perhaps")),
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    tiers = tuple(draw(st.lists(tier_plans, min_size=1, max_size=6)))
    return Plan(
        tiers=tiers,
        delays=tuple(draw(delays) for _ in tiers),
        prefer=draw(st.sampled_from(["cheapest", "fastest"])),
        grace=draw(st.one_of(st.none(), st.integers(0, 4).map(float))),
        deadline=draw(st.one_of(st.none(), st.integers(1, 30).map(float))),
        first=draw(st.integers(0, len(tiers) - 1)),
    )


@dataclass
class World:
    """A driver that does whatever the test draws, and checks what it is told to do."""

    plan: Plan
    broke: bool = False  # whether the retry budget is empty
    now: float = 0.0
    running: set[int] = field(default_factory=set)
    judging: set[int] = field(default_factory=set)
    ended: dict[int, str] = field(default_factory=dict)
    tier_started: dict[int, float] = field(default_factory=dict)
    accepted_order: list[int] = field(default_factory=list)
    finish: Finish | None = None

    def __post_init__(self) -> None:
        self.state = State(self.plan, lambda: not self.broke)

    def send(self, event: Event) -> None:
        self.now = event.at
        self._stop_what_reported(event)
        actions = self.state.handle(event)
        for index, action in enumerate(actions):
            assert self.finish is None, "an action after Finish"
            self._carry_out(action)
            assert not isinstance(action, Finish) or index == len(actions) - 1
        self._check()

    def _stop_what_reported(self, event: Event) -> None:
        if isinstance(event, Answered | Failed | Declined | Refused):
            self.running.discard(event.attempt)
        elif isinstance(event, Judged):
            self.judging.difference_update(event.attempts)

    def _carry_out(self, action: Action) -> None:
        match action:
            case Start():
                self._started(action)
            case Judge():
                assert all(self.state.attempts[a].tier == action.tier for a in action.attempts)
                self.judging.update(action.attempts)
            case Cancel():
                self.running.discard(action.attempt)
                self.judging.discard(action.attempt)
            case Finish():
                self.finish = action

    def _started(self, start: Start) -> None:
        tier = self.plan.tiers[start.tier]
        assert start.tier >= self.plan.first
        assert start.attempt not in self.running
        assert start.deadline > self.now
        if tier.timeout is not None:
            assert start.deadline <= self.now + tier.timeout
        if self.plan.deadline is not None:
            assert start.deadline <= self.plan.deadline
        if self.broke:
            assert start.kind in ("first", "fallback") or (
                start.kind == "replica" and tier.replica_after == 0
            )
        if start.tier not in self.tier_started:
            self._check_tier_start(start.tier)
            self.tier_started[start.tier] = self.now
        self.running.add(start.attempt)

    def _check_tier_start(self, tier: int) -> None:
        assert len(self.tier_started) == tier - self.plan.first, "tiers start in order"
        if tier == self.plan.first:
            assert self.now == 0.0
            return
        delay = self.plan.delays[tier]
        due = math.inf if delay is None else self.tier_started[tier - 1] + delay
        assert self.now <= due or self.broke
        if self.now < due or (self.broke and delay):
            # Pulled forward: then nothing that was started is undecided or accepted.
            phases = {a.phase for a in self.state.attempts if a.tier < tier}
            assert phases <= {"rejected", "failed", "cancelled"}

    def _check(self) -> None:
        for attempt in self.state.attempts:
            if attempt.id in self.ended:
                assert attempt.phase == self.ended[attempt.id], "a terminal state changed"
            elif attempt.phase not in ALIVE:
                self.ended[attempt.id] = attempt.phase
                assert attempt.ended == self.now
                if attempt.phase == "accepted" and attempt.tier not in self.accepted_order:
                    self.accepted_order.append(attempt.tier)
            else:
                assert attempt.ended is None
                assert attempt.phase not in ("running",) or attempt.deadline > self.now
        if self.finish is None:
            assert self.state.wake > self.now
            assert self.running or self.judging or self.state.wake < math.inf, "stuck"
        else:
            self._check_finish(self.finish)

    def _check_finish(self, finish: Finish) -> None:
        assert not self.running
        assert not self.judging
        assert len(self.ended) == len(self.state.attempts)
        assert (finish.outcome == "accepted") == (
            bool(self.accepted_order) and finish.outcome != "aborted"
        )
        if finish.outcome == "accepted":
            assert finish.attempt is not None
            winner = self.state.attempts[finish.attempt]
            assert winner.phase == "accepted"
            wanted = min if self.plan.prefer == "cheapest" else (lambda order: order[0])
            assert winner.tier == wanted(self.accepted_order)
            peers = [
                a.verdict.score or -1.0
                for a in self.state.attempts
                if a.tier == winner.tier and a.phase == "accepted" and a.verdict is not None
            ]
            assert not peers or (winner.verdict is not None)
            assert not peers or (winner.verdict.score or -1.0) == max(peers)  # type: ignore[union-attr]


@st.composite
def _event(draw: st.DrawFn, world: World) -> Event:
    """Any event that a driver could send next, late and repeated ones included."""
    wake = world.state.wake
    jobs = sorted(world.running)
    checks = sorted(world.judging)
    kinds = ["answer", "fail", "decline", "refuse", "hold", "begin", "stream"] if jobs else []
    kinds += ["judge", "judge"] if checks else []
    kinds += ["elapse", "elapse"] if wake < math.inf else []
    if world.state.attempts:
        kinds += ["stale"]
    kind = draw(st.sampled_from(kinds))
    if kind == "elapse":
        return Elapsed(wake)
    latest = min(wake, world.now + 4)
    at = draw(st.sampled_from(sorted({world.now, (world.now + latest) / 2, latest})))
    if kind == "judge":
        tier = world.state.attempts[draw(st.sampled_from(checks))].tier
        group = tuple(id_ for id_ in checks if world.state.attempts[id_].tier == tier)
        told = draw(st.sampled_from([group, group[:1]]))  # all at once, or one by one
        return Judged(at, told, tuple(draw(verdicts) for _ in told))
    if kind == "stale":
        return Answered(at, draw(st.sampled_from(sorted(world.ended) or [0])))
    attempt = draw(st.sampled_from(jobs))
    if kind == "fail":
        delay = draw(st.integers(0, 3).map(float))
        return Failed(at, attempt, draw(st.booleans()), delay)
    if kind == "decline":
        return Declined(at, attempt)
    if kind == "refuse":
        return Refused(at, attempt, Verdict.reject("hopeless", repairable=draw(st.booleans())))
    if kind == "hold":
        return Held(at, attempt)
    if kind == "stream":
        return Streamed(at, attempt)
    if kind == "begin":
        return Began(at, attempt)
    return Answered(at, attempt, enough=draw(st.booleans()))


@settings(max_examples=600, deadline=None)
@given(st.data(), plans(), st.booleans())
def test_invariants_hold_under_any_interleaving(
    data: st.DataObject, plan: Plan, broke: bool
) -> None:
    world = World(plan, broke)
    world.send(Begin(0.0))
    for _ in range(60):
        if world.finish is not None:
            break
        if data.draw(st.integers(0, 60)) == 0:
            world.send(Aborted(world.now))
        else:
            world.send(data.draw(_event(world)))
    if world.finish is None:
        world.send(Aborted(world.now))
    assert world.finish is not None
    assert world.state.handle(Elapsed(world.now + 100)) == []


def plan_of(*tiers: TierPlan, delays: tuple[float | None, ...] | None = None, **kw: object) -> Plan:
    return Plan(tiers=tiers, delays=delays or (None,) * len(tiers), **kw)  # type: ignore[arg-type]


def test_an_answer_in_the_instant_of_its_deadline_is_late() -> None:
    state = State(plan_of(TierPlan(timeout=2.0)))
    state.handle(Begin(0.0))
    actions = state.handle(Answered(2.0, 0))
    assert actions == [Cancel(0, "timeout"), Finish("exhausted", None)]
    assert state.attempts[0].phase == "failed"


def test_a_tier_may_begin_in_the_middle() -> None:
    state = State(plan_of(TierPlan(), TierPlan(), TierPlan(), first=1))
    (start,) = state.handle(Begin(0.0))
    assert isinstance(start, Start)
    assert start.tier == 1
    assert state.handle(Failed(1.0, 0))[0] == Start(1, 2, 0, 0, "first", None, math.inf)
    assert state.escalations == 1


def test_stand_ins_come_after_the_retries_of_each_model() -> None:
    state = State(plan_of(TierPlan(retries=1, fallbacks=1)))
    state.handle(Begin(0.0))
    kinds = []
    for attempt in range(4):
        for action in state.handle(Failed(0.0, attempt, retryable=True)):
            if isinstance(action, Start):
                kinds.append((action.kind, action.choice))
    assert kinds == [("retry", 0), ("fallback", 1), ("retry", 1)]
    assert state.finish == Finish("exhausted", None)


def test_a_failure_that_will_not_pass_goes_to_the_stand_in_at_once() -> None:
    state = State(plan_of(TierPlan(retries=5, fallbacks=1)))
    state.handle(Begin(0.0))
    (start,) = state.handle(Failed(0.0, 0, retryable=False))
    assert isinstance(start, Start)
    assert (start.kind, start.choice) == ("fallback", 1)


def test_a_retry_that_would_begin_after_the_deadline_is_not_waited_for() -> None:
    state = State(plan_of(TierPlan(retries=5), TierPlan(), deadline=10.0))
    state.handle(Begin(0.0))
    (start,) = state.handle(Failed(4.0, 0, retryable=True, delay=6.0))
    assert isinstance(start, Start)
    assert start.tier == 1


def test_members_are_judged_together_and_the_best_score_wins() -> None:
    state = State(plan_of(TierPlan(members=3)))
    assert [type(a) for a in state.handle(Begin(0.0))] == [Start] * 3
    assert state.handle(Answered(1.0, 2)) == []
    assert state.handle(Failed(2.0, 0)) == []
    assert state.handle(Answered(3.0, 1)) == [Judge(0, (1, 2))]
    verdicts = (Verdict.accept(score=0.6), Verdict.accept(score=0.8))
    assert state.handle(Judged(4.0, (1, 2), verdicts)) == [Finish("accepted", 2)]


def test_a_repair_asks_again_only_those_whose_rejection_can_be_repaired() -> None:
    state = State(plan_of(TierPlan(members=2, repairs=1)))
    state.handle(Begin(0.0))
    state.handle(Answered(1.0, 0))
    state.handle(Answered(1.0, 1))
    hopeless, fixable = Verdict.reject("no"), Verdict.reject("nearly", repairable=True)
    actions = state.handle(Judged(2.0, (0, 1), (hopeless, fixable)))
    assert actions == [Start(2, 0, 1, 0, "repair", 1, math.inf)]
    assert state.handle(Answered(3.0, 2)) == [Judge(0, (2,))]
    assert state.handle(Judged(3.0, (2,), (fixable,))) == [Finish("exhausted", 2)]


def test_a_replica_starts_when_due_and_the_slower_twin_is_cancelled() -> None:
    state = State(plan_of(TierPlan(replica_after=1.0)))
    state.handle(Begin(0.0))
    assert state.wake == 1.0
    assert state.handle(Elapsed(1.0))[0] == Start(1, 0, 0, 0, "replica", None, math.inf)
    assert state.handle(Answered(1.5, 1)) == [Cancel(0, "replica"), Judge(0, (1,))]


def test_a_stream_that_goes_on_puts_its_replica_off() -> None:
    state = State(plan_of(TierPlan(replica_after=2.0)))
    state.handle(Begin(0.0))
    assert state.handle(Streamed(1.5, 0)) == []
    assert state.wake == 3.5
    assert state.handle(Streamed(1.0, 0)) == []  # news that is older changes nothing
    assert state.wake == 3.5
    assert state.handle(Elapsed(3.5)) == [Start(1, 0, 0, 0, "replica", None, math.inf)]


def test_a_held_attempt_is_not_timed() -> None:
    state = State(plan_of(TierPlan(timeout=1.0)))
    state.handle(Begin(0.0))
    assert state.handle(Held(0.0, 0)) == []
    assert state.wake == math.inf
    assert state.handle(Began(60.0, 0)) == []
    assert state.wake == 61.0
    assert state.handle(Elapsed(61.0))[0] == Cancel(0, "timeout")


@pytest.mark.parametrize("prefer", ["cheapest", "fastest"])
def test_the_best_rejected_answer_is_named_when_exhausted(prefer: str) -> None:
    state = State(plan_of(TierPlan(), TierPlan(), delays=(None, 0.0), prefer=prefer))
    state.handle(Begin(0.0))
    for attempt, score in ((1, 0.3), (0, 0.4)):
        state.handle(Answered(1.0, attempt))
        actions = state.handle(Judged(2.0, (attempt,), (Verdict.reject("no", score=score),)))
    assert actions == [Finish("exhausted", 0)]
