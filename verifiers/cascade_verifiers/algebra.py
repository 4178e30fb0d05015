"""``a & b``, ``a | b``, ``~a``, ``at_least(k, …)``: Kleene's three-valued logic.

An abstention is the third truth value, "unknown": ``rejected & unknown`` is rejected, whatever
the unknown would have been; ``accepted & unknown`` is unknown. A part that crashes is unknown
too, so that one broken part cannot hide another's clear rejection, in whichever order they run.

All three are one rule of counting: accepted when ``k`` parts accept, rejected when so many reject
that ``k`` cannot accept any more, else unknown. ``&`` needs all of its parts, ``|`` one. A part
that does not apply (see `when`) is left out as if it had not been written; where fewer than ``k``
are left, all of these are needed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any as Anything
from typing import ClassVar

from cascade.errors import ConfigError
from cascade.types import Answer, Request
from cascade.verdict import Outcome, Verdict, Verifier
from cascade.verify import Check, as_verifier, verifier_name
from cascade_verifiers.asking import group
from cascade_verifiers.composable import (
    Composable,
    cost_class,
    having,
    not_applicable,
    rewrites,
    thorough,
)
from cascade_verifiers.composite import Composite, Found

__all__ = ["All", "Any", "AtLeast", "Composable", "Not", "at_least"]


class _Counting(Composite):
    """Accepted when enough parts accept. Its score is that of the part which decides it."""

    @property
    def _needed(self) -> int:
        raise NotImplementedError

    def _settled(self, found: Found, unasked: Sequence[int]) -> bool:
        accepted, unknown, rejected = _count(found)
        return accepted >= self._needed or (
            # Of what is not asked yet, all may accept, or not apply, which lowers what is needed.
            rejected > 0 and accepted + unknown + len(unasked) < self._needed
        )

    def _fixed(self, found: Found, unasked: Sequence[int]) -> bool:
        hard = sum(v.outcome == "rejected" and v.score is None for v in found.values())
        most = len(found) + len(unasked)
        return hard > 0 and most - hard < min(self._needed, most)

    def _judge(self, found: Found, unasked: Sequence[int]) -> Verdict:
        verdicts = list(found.values())
        accepted, unknown, _ = _count(found)
        most = len(found) + len(unasked)
        needed = min(self._needed, most)
        outcome: Outcome = "abstained"
        if accepted >= needed:
            outcome = "accepted"
        elif accepted + unknown + len(unasked) < needed:
            outcome = "rejected"
        scores = sorted([v.score for v in verdicts if v.score is not None], reverse=True)
        if outcome == "accepted":
            return Verdict(outcome, scores[min(self._needed, len(scores)) - 1] if scores else None)
        blamed = [v for v in verdicts if not v.accepted]
        causes = [v for v in blamed if v.outcome == outcome]
        rejections = [v for v in verdicts if v.outcome == "rejected"]
        hard = sum(v.score is None for v in rejections)
        beyond_repair = sum(not v.repairable for v in rejections)
        # No score can make up for parts that reject without one.
        scored = scores and not (outcome == "rejected" and most - hard < needed)
        return Verdict(
            outcome,
            score=scores[min(self._needed, len(scores)) - 1] if scored else None,
            reason="; ".join(dict.fromkeys(v.reason for v in blamed if v.reason)),
            code=next((v.code for v in causes if v.code), ""),
            repairable=outcome == "rejected" and most - beyond_repair >= needed,
        )


class All(_Counting):
    """``a & b``: accepted when every part accepts; the first rejection ends it.

    Its score is the lowest of its parts', and none where a part without a score rejects. A
    rejection is repairable when every rejection in it is.
    """

    sign: ClassVar[str] = "&"

    def __init__(self, *checks: Check) -> None:
        super().__init__(*checks)
        # Not for `|`: a model held to the form of one part could never satisfy another.
        if having(self.parts, "response_format"):
            self.response_format = self._response_format

    @property
    def _needed(self) -> int:
        return len(self.parts)

    def _flat(self, checks: Sequence[Check]) -> tuple[Verifier, ...]:
        return _flat(checks, All)

    def _response_format(self) -> Mapping[str, Anything]:
        givers = having(self.parts, "response_format")
        if len(givers) > 1:
            names = ", ".join(verifier_name(part) for part in givers)
            raise ConfigError(f"constrain=true: {names} each ask for a form of their own")
        wanted: Mapping[str, Anything] = givers[0].response_format()
        return wanted

    def __repr__(self) -> str:
        return _joined(self.parts, self.sign)


class Any(_Counting):
    """``a | b``: accepted when one part accepts; the first acceptance ends it.

    Its score is the highest of its parts'. A rejection is repairable when one of its parts' is.
    """

    sign: ClassVar[str] = "|"

    @property
    def _needed(self) -> int:
        return 1

    def _flat(self, checks: Sequence[Check]) -> tuple[Verifier, ...]:
        return _flat(checks, Any)

    def __repr__(self) -> str:
        return _joined(self.parts, self.sign)


class AtLeast(_Counting):
    """``at_least(k, …)``: accepted when ``k`` of the parts accept. Made by `at_least`."""

    def __init__(self, k: int, /, *checks: Check) -> None:
        given: object = k
        if isinstance(given, bool) or not isinstance(given, int) or not 1 <= k <= len(checks):
            raise ConfigError(f"at_least={k!r}: needs a whole number from 1 to {len(checks)}")
        self.k = k
        super().__init__(*checks)

    @property
    def _needed(self) -> int:
        return self.k

    def _of(self, parts: Sequence[Verifier]) -> AtLeast:
        return AtLeast(self.k, *parts)

    def __repr__(self) -> str:
        return f"at_least({self.k}, {', '.join(map(repr, self.parts))})"


def at_least(k: int, *checks: Check) -> AtLeast:
    """Accepted when ``k`` of the checks accept, rejected when ``k`` cannot accept any more.

    ``at_least(1, …)`` is ``|`` and ``at_least(n, …)`` of ``n`` is ``&``. Its score is the ``k``-th
    highest. A rejection is repairable when enough of its parts' are.

    Raises:
        ConfigError: ``k`` is not from 1 to the number of checks.
    """
    return AtLeast(k, *checks)


class Not(Composable):
    """``~a``: accepted when the part rejects; what abstains or does not apply stays so.

    A score turns into one minus it. What the part parsed is dropped, as it is what was not wanted.
    """

    def __init__(self, check: Check) -> None:
        self.part = as_verifier(check)
        self.cost_class = cost_class(self.part)
        # A wrapping taken off something unwanted is of no use to anyone.
        self.rewrites = "addition" if rewrites(self.part) == "addition" else None
        prepare: Callable[[Request], Request] | None = getattr(self.part, "prepare", None)
        if prepare is not None:
            self.prepare = prepare
        if hasattr(self.part, "verify_group"):
            self.verify_group = self._verify_group

    def verify(self, request: Request, answer: Answer, /) -> Verdict | Awaitable[Verdict]:
        """The part's verdict, turned round."""
        found = self.part.verify(request, answer)
        return self._turn(found) if isinstance(found, Verdict) else self._later(found)

    def __invert__(self) -> Composable:
        return self.part if isinstance(self.part, Composable) else All(self.part)

    def thorough(self) -> Not:
        """Of a thorough part."""
        return Not(thorough(self.part))

    async def _later(self, pending: Awaitable[Verdict]) -> Verdict:
        return self._turn(await pending)

    async def _verify_group(self, request: Request, answers: Sequence[Answer]) -> Sequence[Verdict]:
        return [self._turn(verdict) for verdict in await group(self.part, request, answers)]

    def _turn(self, verdict: Verdict) -> Verdict:
        if verdict.outcome == "abstained" or not_applicable(verdict):
            return verdict
        name = verifier_name(self.part)
        score = None if verdict.score is None else 1.0 - verdict.score
        text = verdict.text if self.rewrites else None
        if not verdict.accepted:
            return Verdict.accept(score=score, text=text, cost=verdict.cost)
        return Verdict.reject(
            f"the check {name!r} passed, and must not",
            code=f"not.{name}",
            score=score,
            text=text,
            cost=verdict.cost,
        )

    def __repr__(self) -> str:
        return f"~{self.part!r}"


def _count(found: Found) -> tuple[int, int, int]:
    outcomes = [verdict.outcome for verdict in found.values()]
    return outcomes.count("accepted"), outcomes.count("abstained"), outcomes.count("rejected")


def _flat(checks: Sequence[Check], kind: type[All] | type[Any]) -> tuple[Verifier, ...]:
    parts: list[Verifier] = []
    for check in checks:
        parts.extend(check.parts if isinstance(check, kind) else [as_verifier(check)])
    return tuple(parts)


def _joined(parts: Sequence[Verifier], sign: str) -> str:
    inner = f" {sign} ".join(map(repr, parts))
    return f"({inner})" if len(parts) > 1 else inner
