"""What a scorer is: it says how good an answer is, knowing the right one."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol, runtime_checkable

from msgspec import Struct

from cascade.cost import FREE, Cost
from cascade.errors import ConfigError
from cascade.types import Answer
from cascade_policies.golden.golden_set import GoldenRow

MAX_ANSWER = 1_000_000
"""Characters of an answer that is looked at; a longer one is wrong."""


class ScorerError(ConfigError):
    """A scorer cannot be used: its arguments, what it returned, or what it was given to score."""


class GateSeesReferenceError(ScorerError):
    """A verifier of the policy knows what the scorer knows, so it would look better than it is."""


class Score(Struct, frozen=True):
    """How good an answer is.

    Attributes:
        quality: in [0, 1]; None where the answer cannot be scored, which is not its fault: the
            row has no reference, or a database is not there. A wrong, broken or hostile answer
            is 0.
        reason: why it is not 1, in a sentence.
        cost: what scoring cost, where a model was asked.
    """

    quality: float | None
    reason: str = ""
    cost: Cost = FREE

    def __post_init__(self) -> None:
        if self.quality is not None and not 0.0 <= self.quality <= 1.0:  # NaN too
            raise ScorerError(f"a score is in [0, 1] or None; got {self.quality!r}")


RIGHT = Score(1.0)


def wrong(reason: str) -> Score:
    """Quality 0, for this reason."""
    return Score(0.0, reason[:300])


def unscorable(reason: str) -> Score:
    """No quality, for this reason."""
    return Score(None, reason[:300])


@runtime_checkable
class Scorer(Protocol):
    """Says how good an answer is. The one method may be sync or async.

    A scorer sees the reference; a verifier never may.
    """

    def score(self, row: GoldenRow, answer: Answer, /) -> Score | Awaitable[Score]:
        """How good ``answer`` is for ``row``."""
        ...
