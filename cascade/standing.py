"""Where a call stands: what the state machine remembers of its attempts, members and tiers."""

from __future__ import annotations

from typing import Literal

from cascade.events import Start, TierPlan
from cascade.result import Kind
from cascade.verdict import Verdict

NEVER = float("inf")

Phase = Literal[
    "waiting", "running", "answered", "judging", "accepted", "rejected", "failed", "cancelled"
]
ALIVE: frozenset[Phase] = frozenset(("waiting", "running", "answered", "judging"))


class AttemptState:
    """One attempt as the state machine knows it."""

    __slots__ = (
        "choice",
        "deadline",
        "ended",
        "id",
        "kind",
        "member",
        "phase",
        "repairs",
        "started",
        "tier",
        "verdict",
        "whole",
    )

    def __init__(self, action: Start, started: float) -> None:
        self.id = action.attempt
        self.tier = action.tier
        self.member = action.member
        self.choice = action.choice
        self.kind: Kind = action.kind
        self.repairs = action.repairs
        self.deadline = action.deadline
        self.phase: Phase = "running"
        self.started = started
        self.ended: float | None = None
        self.verdict: Verdict | None = None
        self.whole = True  # False when the answer was rejected before it was all there


class Slot:
    """One member's place in a tier: its calls in flight, and its answer in the end."""

    __slots__ = (
        "answer",
        "choice",
        "live",
        "member",
        "out",
        "repairs",
        "replica_at",
        "retries",
        "retry_at",
    )

    def __init__(self, member: int, retries: int) -> None:
        self.member = member
        self.retries = retries
        self.choice = 0
        self.repairs: int | None = None
        self.live: list[AttemptState] = []
        self.answer: AttemptState | None = None
        self.out = False
        self.retry_at = NEVER
        self.replica_at = NEVER


class TierState:
    """One tier of the call, from its start."""

    __slots__ = ("chosen", "index", "judge_by", "judging", "plan", "repairs", "slots", "status")

    def __init__(self, index: int, plan: TierPlan) -> None:
        self.index = index
        self.plan = plan
        self.status: Literal["open", "accepted", "out"] = "open"
        self.repairs = plan.repairs
        self.slots = [Slot(member, plan.retries) for member in range(plan.members)]
        self.judging: list[AttemptState] = []
        self.judge_by = NEVER
        self.chosen: AttemptState | None = None
