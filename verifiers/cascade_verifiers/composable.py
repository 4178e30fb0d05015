"""What every built-in verifier inherits: ``&``, ``|`` and ``~``, and what composites ask of it."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Final, Literal
from typing import Any as Anything

from cascade.errors import ConfigError, nearest
from cascade.types import Answer, Request
from cascade.verdict import Verdict, Verifier
from cascade.verify import Check, CostClass, verifier_name

if TYPE_CHECKING:
    from cascade_verifiers.algebra import All, Any

Rewrites = Literal["addition", "wrapping"]
"""How a verifier's ``text`` differs from what the model wrote: without an addition that its own
``prepare`` asked for (a line of confidence), or without what stands around the answer (a code
fence, prose)."""

Method = Literal["prefix", "prepare", "response_format", "verify_group", "with_threshold"]

NOT_APPLICABLE: Final = "check.not_applicable"
"""The code of an acceptance that says nothing: the check does not apply. Composites leave such a
part out; see `when`."""

_COSTS: tuple[CostClass, ...] = ("free", "cpu", "model")
_STAGES: tuple[Rewrites | None, ...] = ("addition", "wrapping", None)


class Composable:
    """What gives a verifier ``&``, ``|`` and ``~``, with other verifiers and plain functions.

    ``cost_class`` says what a check costs: composites run their cheap parts first. ``rewrites``
    says that the verdict's ``text`` is not what the model wrote: composites run such parts
    before all others, and show these the text that the user will get.
    """

    cost_class: CostClass = "free"
    rewrites: Rewrites | None = None

    def verify(self, request: Request, answer: Answer, /) -> Verdict | Awaitable[Verdict]:
        """The verdict on ``answer`` to ``request``."""
        raise NotImplementedError

    def __and__(self, other: Check) -> All:
        from cascade_verifiers.algebra import All

        return All(self, other)

    def __rand__(self, other: Check) -> All:
        from cascade_verifiers.algebra import All

        return All(other, self)

    def __or__(self, other: Check) -> Any:
        from cascade_verifiers.algebra import Any

        return Any(self, other)

    def __ror__(self, other: Check) -> Any:
        from cascade_verifiers.algebra import Any

        return Any(other, self)

    def __invert__(self) -> Composable:
        from cascade_verifiers.algebra import Not

        return Not(self)

    def thorough(self) -> Composable:
        """The same check, which asks all of its parts that have a say in its score.

        A composite that ends early has the outcome that it would have had, and another score; where
        the score decides, as in `weighted`, the outcome would hang on the order of its parts.
        """
        return self


def not_applicable(verdict: Verdict) -> bool:
    """Whether the verdict is that the check does not apply."""
    return verdict.accepted and verdict.code == NOT_APPLICABLE


def cost_rank(part: Verifier) -> int:
    """Where the part's cost class stands, the cheapest at 0.

    Raises:
        ConfigError: there is no such class.
    """
    cost: CostClass = getattr(part, "cost_class", "cpu")
    if cost not in _COSTS:
        raise ConfigError(f"{verifier_name(part)}: cost_class={cost!r}: {nearest(cost, _COSTS)}")
    return _COSTS.index(cost)


def cost_class(*parts: Verifier) -> CostClass:
    """The class of the dearest part."""
    return _COSTS[max(map(cost_rank, parts))]


def stage(part: Verifier) -> int:
    """When a composite runs the part: 0 takes an addition off, 1 a wrapping, 2 only reads.

    Raises:
        ConfigError: ``rewrites`` says something else.
    """
    rewrites: Rewrites | None = getattr(part, "rewrites", None)
    if rewrites not in _STAGES:
        known = ("addition", "wrapping")
        raise ConfigError(
            f"{verifier_name(part)}: rewrites={rewrites!r}: {nearest(str(rewrites), known)}"
        )
    return _STAGES.index(rewrites)


def rewrites(*parts: Verifier) -> Rewrites | None:
    """What a composite of these rewrites: what the first part of it to run does."""
    return _STAGES[min(map(stage, parts))]


def thorough(part: Verifier) -> Verifier:
    """The part, if need be as one that asks all of its own parts; see `Composable.thorough`."""
    return part.thorough() if isinstance(part, Composable) else part


def tightest(verdicts: Sequence[Verdict]) -> str | None:
    """The text that most was taken off of; the same in any order."""
    texts = [verdict.text for verdict in verdicts if verdict.text is not None]
    return min(texts, key=lambda text: (len(text), text), default=None)


def having(parts: Sequence[Verifier], method: Method) -> list[Anything]:
    """The parts that have an optional method of the contract."""
    return [part for part in parts if callable(getattr(part, method, None))]
