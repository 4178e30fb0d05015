"""The words between the state machine and its drivers: a plan, events in, actions out.

Times are absolute seconds on the driver's clock, whatever its zero.
"""

from __future__ import annotations

from typing import Literal, final

from msgspec import Struct

from cascade.policy import OnAbstain, Prefer
from cascade.result import Kind
from cascade.verdict import Verdict

CancelReason = Literal[
    "timeout", "check_timeout", "outrun", "replica", "settled", "deadline", "aborted"
]
Outcome = Literal["accepted", "exhausted", "deadline", "aborted"]


class TierPlan(Struct, frozen=True, kw_only=True):
    """What the state machine needs to know of a tier; see `cascade.policy.Tier`.

    Attributes:
        members: attempts that are judged together.
        judged: whether it has a verifier; without one a whole answer is accepted.
        fallbacks: how many stand-in models there are.
    """

    members: int = 1
    judged: bool = True
    timeout: float | None = None
    verify_timeout: float | None = None
    retries: int = 0
    repairs: int = 0
    replica_after: float | None = None
    fallbacks: int = 0
    on_abstain: OnAbstain = "escalate"


class Plan(Struct, frozen=True, kw_only=True):
    """A policy as the state machine sees it.

    Attributes:
        delays: when each tier starts, in seconds after the start of the tier before it; None
            for not until every started tier is out. The first is not looked at.
        first: the tier to begin at.
        overlaps: whether anything may ever run beside something else; True is always safe.
    """

    tiers: tuple[TierPlan, ...]
    delays: tuple[float | None, ...]
    prefer: Prefer = "cheapest"
    grace: float | None = None
    deadline: float | None = None
    first: int = 0
    overlaps: bool = True


# Events


@final
class Begin(Struct, frozen=True):
    """The call begins; its deadline counts from ``since``."""

    at: float
    since: float | None = None


@final
class Held(Struct, frozen=True):
    """The attempt waits for something that is not its own doing; its timeout does not run."""

    at: float
    attempt: int


@final
class Began(Struct, frozen=True):
    """The attempt waits no longer; its timeout runs from now."""

    at: float
    attempt: int


@final
class Streamed(Struct, frozen=True):
    """The model had sent something by then: the event's own time, which may be past."""

    at: float
    attempt: int


@final
class Answered(Struct, frozen=True):
    """The model answered.

    ``enough`` says that the tier can be judged without the answers of its other members.
    """

    at: float
    attempt: int
    enough: bool = False


@final
class Declined(Struct, frozen=True):
    """The tier says "not mine": it is out, and nothing went wrong."""

    at: float
    attempt: int


@final
class Refused(Struct, frozen=True):
    """The answer was rejected while it was still being generated."""

    at: float
    attempt: int
    verdict: Verdict


@final
class Failed(Struct, frozen=True):
    """The attempt failed; ``delay`` is how long to wait before a retry."""

    at: float
    attempt: int
    retryable: bool = False
    delay: float = 0.0


@final
class Judged(Struct, frozen=True):
    """Verdicts on attempts of one `Judge`: on all of them at once, or as they come."""

    at: float
    attempts: tuple[int, ...]
    verdicts: tuple[Verdict, ...]


@final
class Elapsed(Struct, frozen=True):
    """The state's ``wake`` has come."""

    at: float


@final
class Aborted(Struct, frozen=True):
    """The caller was cancelled."""

    at: float


Event = (
    Begin
    | Held
    | Began
    | Streamed
    | Answered
    | Declined
    | Refused
    | Failed
    | Judged
    | Elapsed
    | Aborted
)


# Actions


@final
class Start(Struct, frozen=True):
    """Call a model.

    Attributes:
        attempt: the new attempt's id: its position in ``State.attempts``.
        tier: index of the tier.
        member: position in the tier's ensemble.
        choice: 0 for the member's own model, k for the k-th stand-in.
        kind: why.
        repairs: id of the rejected attempt whose reason is fed back, or None.
        deadline: when the attempt is given up; infinite without a limit.
    """

    attempt: int
    tier: int
    member: int
    choice: int
    kind: Kind
    repairs: int | None
    deadline: float


@final
class Judge(Struct, frozen=True):
    """Judge these answers of one tier together."""

    tier: int
    attempts: tuple[int, ...]


@final
class Cancel(Struct, frozen=True):
    """Stop what runs for this attempt, its call or its check."""

    attempt: int
    reason: CancelReason


@final
class Finish(Struct, frozen=True):
    """The call is over.

    ``attempt`` is the id of the accepted attempt; of the best rejected one when nothing was
    accepted; None when there is no answer at all.
    """

    outcome: Outcome
    attempt: int | None


Action = Start | Judge | Cancel | Finish
