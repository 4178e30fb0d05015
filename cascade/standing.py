"""Where a call stands: what the state machine remembers of its attempts, members and tiers."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from cascade.events import TierPlan
from cascade.result import Kind
from cascade.verdict import Verdict

NEVER = float("inf")

Phase = Literal[
    "waiting", "running", "answered", "judging", "accepted", "rejected", "failed", "cancelled"
]
ALIVE: frozenset[Phase] = frozenset(("waiting", "running", "answered", "judging"))


class Slot(Struct, eq=False):
    """One member's place in a tier: its calls in flight, and its answer in the end."""

    member: int
    retries: int
    choice: int = 0
    repairs: int | None = None
    live: list[AttemptState] = []
    answer: AttemptState | None = None
    out: bool = False
    retry_at: float = NEVER
    replica_at: float = NEVER


class TierState(Struct, eq=False):
    """One tier of the call, from its start."""

    index: int
    plan: TierPlan
    repairs: int
    slots: list[Slot]
    status: Literal["open", "accepted", "out", "cancelled"] = "open"
    judging: list[AttemptState] = []
    judge_by: float = NEVER
    chosen: AttemptState | None = None


class AttemptState(Struct, eq=False):
    """One attempt as the state machine knows it.

    Attributes:
        whole: False when the answer was rejected before it was all there.
    """

    id: int
    tier: int
    member: int
    choice: int
    kind: Kind
    repairs: int | None
    deadline: float
    started: float
    phase: Phase = "running"
    ended: float | None = None
    verdict: Verdict | None = None
    whole: bool = True
