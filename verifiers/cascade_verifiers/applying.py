"""`when`: a check that applies to some answers only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from msgspec.structs import replace

from cascade.cost import Cost
from cascade.types import Answer, Request
from cascade.verdict import Verdict, Verifier
from cascade.verify import Check, FunctionVerifier, as_verifier, verifier_name
from cascade_verifiers.asking import ask, ask_group, settle
from cascade_verifiers.composable import (
    NOT_APPLICABLE,
    Composable,
    cost_class,
    having,
    not_applicable,
    rewrites,
    thorough,
)


class When(Composable):
    """Asks a part only about answers to which it applies. Made by `when`."""

    def __init__(self, predicate: Check, check: Check) -> None:
        self.part: Verifier = as_verifier(check)
        self.predicate: Verifier
        if callable(getattr(predicate, "verify", None)) or not callable(predicate):
            self.predicate = as_verifier(predicate)
        else:
            self.predicate = as_verifier(_Predicate(predicate))
        self.cost_class = cost_class(self.part, self.predicate)
        self.rewrites = rewrites(self.part)
        # The predicate is asked about the answer, so what the part wants is asked for always.
        prepare: Callable[[Request], Request] | None = getattr(self.part, "prepare", None)
        if prepare is not None:
            self.prepare = prepare
        if having([self.part], "with_threshold"):
            self.with_threshold = self._with_threshold
        if having([self.part], "verify_group"):
            self.verify_group = self._verify_group

    def verify(self, request: Request, answer: Answer, /) -> Verdict | Awaitable[Verdict]:
        """The part's verdict, or that it does not apply."""
        asked = ask(self.predicate, request, answer)
        if not isinstance(asked, Verdict):
            return self._later(asked, request, answer)
        settled = self._without(asked)
        if settled is not None:
            return settled
        found = ask(self.part, request, answer)
        if isinstance(found, Verdict):
            return _with_cost(found, asked.cost)
        return self._charged(found, asked.cost)

    async def _later(self, asked: Awaitable[Verdict], request: Request, answer: Answer) -> Verdict:
        verdict = await settle(self.predicate, asked)
        settled = self._without(verdict)
        if settled is not None:
            return settled
        return await self._charged(ask(self.part, request, answer), verdict.cost)

    async def _charged(self, found: Verdict | Awaitable[Verdict], cost: Cost) -> Verdict:
        return _with_cost(await settle(self.part, found), cost)

    async def _verify_group(self, request: Request, answers: Sequence[Answer]) -> Sequence[Verdict]:
        predicates = [
            await settle(self.predicate, ask(self.predicate, request, answer)) for answer in answers
        ]
        settled = [self._without(verdict) for verdict in predicates]
        known = [verdict for verdict in settled if verdict is not None]
        if len(known) == len(answers):
            return known
        found = await ask_group(self.part, request, answers)
        return [
            _with_cost(verdict, asked.cost) if without is None else without
            for verdict, asked, without in zip(found, predicates, settled, strict=True)
        ]

    def thorough(self) -> When:
        """Of a thorough part; the predicate's score does not count."""
        return When(self.predicate, thorough(self.part))

    def _without(self, asked: Verdict) -> Verdict | None:
        """The verdict that the predicate alone gives; None where the part has to be asked."""
        if asked.outcome == "abstained":
            return replace(asked, parsed=None, text=None)
        if asked.accepted and not not_applicable(asked):
            return None
        return Verdict("accepted", code=NOT_APPLICABLE, cost=asked.cost)

    def _with_threshold(self, threshold: float) -> When:
        part: Any = self.part
        return When(self.predicate, part.with_threshold(threshold))

    def __repr__(self) -> str:
        return f"when({verifier_name(self.predicate)}, {self.part!r})"


def when(predicate: Check, check: Check) -> When:
    """The check, for the answers to which it applies; others neither pass nor fail it.

    In ``&``, ``|``, `at_least` and `weighted`, a part that does not apply is left out as if it had
    not been written; ``~`` of it does not apply either. Where nothing else is left, the answer
    passes. (Neither truth value would do: "accepted" would let ``a | when(p, b)`` accept what
    ``a`` rejects, "unknown" would keep ``a & when(p, b)`` from accepting.)

    Args:
        predicate: when the check applies: a function of ``(answer)`` or ``(request, answer)``
            whose result is true or not, sync or async; or a verifier, which accepts what the
            check applies to. Where it crashes or abstains, the whole abstains.
        check: the check.

    Raises:
        ConfigError: one of them is no check.
    """
    return When(predicate, check)


class _Predicate(FunctionVerifier):
    """A function whose result is true or not, rather than a reason or a score."""

    def _verdict(self, result: Any) -> Verdict:
        return Verdict.accept() if result else Verdict.reject("does not apply")


def _with_cost(verdict: Verdict, cost: Cost) -> Verdict:
    return replace(verdict, cost=verdict.cost + cost)
