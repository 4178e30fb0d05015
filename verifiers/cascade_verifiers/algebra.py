"""``a & b``, ``a | b``, ``~a``: checks made of checks, in Kleene's three-valued logic.

An abstention is the third truth value, "unknown": ``rejected & unknown`` is rejected, whatever
the unknown would have been; ``accepted & unknown`` is unknown. A part that crashes is unknown
too, so that one broken part cannot hide another's clear rejection, in whichever order they run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any as Anything
from typing import ClassVar, Literal

from cascade.cost import total
from cascade.errors import ConfigError, nearest
from cascade.types import Answer, Request
from cascade.verdict import Outcome, Verdict, Verifier
from cascade.verify import Check, CostClass, as_verifier, verifier_name
from cascade_verifiers.asking import ask, ask_group, group, settle

_COST_ORDER: tuple[CostClass, ...] = ("free", "cpu", "model")


class Composable:
    """What gives a verifier ``&``, ``|`` and ``~``, with other verifiers and plain functions.

    ``cost_class`` says what a check costs: composites run their cheap parts first.
    """

    cost_class: CostClass = "free"

    def verify(self, request: Request, answer: Answer, /) -> Verdict | Awaitable[Verdict]:
        """The verdict on ``answer`` to ``request``."""
        raise NotImplementedError

    def __and__(self, other: Check) -> All:
        return All(self, other)

    def __rand__(self, other: Check) -> All:
        return All(other, self)

    def __or__(self, other: Check) -> Any:
        return Any(self, other)

    def __ror__(self, other: Check) -> Any:
        return Any(other, self)

    def __invert__(self) -> Composable:
        return Not(self)


class _Composite(Composable):
    """Parts asked one after the other, cheap ones first, until one settles the matter.

    The optional methods of the contract are instance attributes, set only where a part has
    them: the engine looks for them by name.
    """

    decisive: ClassVar[Outcome]
    sign: ClassVar[str]

    def __init__(self, *checks: Check) -> None:
        if not checks:
            raise ConfigError(f"{type(self).__name__}() needs at least one verifier")
        parts: list[Verifier] = []
        for check in checks:
            if isinstance(check, _Composite) and check.sign == self.sign:
                parts.extend(check.parts)
            else:
                parts.append(as_verifier(check))
        self.parts: tuple[Verifier, ...] = tuple(parts)
        self.models = tuple(model for part in parts for model in getattr(part, "models", ()))
        costs = [_COST_ORDER.index(_cost_class(part)) for part in parts]
        self.cost_class = _COST_ORDER[max(costs)]
        self._order = sorted(range(len(parts)), key=costs.__getitem__)
        if _having(parts, "prepare"):
            self.prepare = self._prepare
        if _having(parts, "with_threshold"):
            self.with_threshold = self._with_threshold
        if _having(parts, "verify_group"):
            self.verify_group = self._verify_group

    def verify(self, request: Request, answer: Answer, /) -> Verdict | Awaitable[Verdict]:
        """The verdict; awaitable from the first part on whose verdict is awaitable."""
        verdicts: dict[int, Verdict] = {}
        for position, index in enumerate(self._order):
            found = ask(self.parts[index], request, answer)
            if not isinstance(found, Verdict):
                return self._await_rest(position, found, verdicts, request, answer)
            verdicts[index] = found
            if found.outcome == self.decisive:
                break
        return self._combine(verdicts)

    async def _await_rest(
        self,
        position: int,
        pending: Awaitable[Verdict],
        verdicts: dict[int, Verdict],
        request: Request,
        answer: Answer,
    ) -> Verdict:
        part = self.parts[self._order[position]]
        verdicts[self._order[position]] = found = await settle(part, pending)
        for index in self._order[position + 1 :]:
            if found.outcome == self.decisive:
                break
            asked = ask(self.parts[index], request, answer)
            verdicts[index] = found = await settle(self.parts[index], asked)
        return self._combine(verdicts)

    async def _verify_group(self, request: Request, answers: Sequence[Answer]) -> Sequence[Verdict]:
        """Parts that judge an ensemble together see all of it; others skip what is settled."""
        rows: list[dict[int, Verdict]] = [{} for _ in answers]
        for index in self._order:
            part = self.parts[index]
            waiting = [
                n for n, row in enumerate(rows)
                if all(verdict.outcome != self.decisive for verdict in row.values())
            ]  # fmt: skip
            if not waiting:
                break
            if hasattr(part, "verify_group"):
                found = await ask_group(part, request, answers)
                for n in waiting:
                    rows[n][index] = found[n]
            else:
                for n in waiting:
                    rows[n][index] = await settle(part, ask(part, request, answers[n]))
        return [self._combine(row) for row in rows]

    def _combine(self, found: Mapping[int, Verdict]) -> Verdict:
        # In the order the user wrote, whichever ran first.
        verdicts = [found[index] for index in sorted(found)]
        outcomes = {verdict.outcome for verdict in verdicts}
        outcome: Outcome = "rejected" if self.decisive == "accepted" else "accepted"
        for candidate in (self.decisive, "abstained"):
            if candidate in outcomes:
                outcome = candidate
                break
        scores = [verdict.score for verdict in verdicts if verdict.score is not None]
        blamed = [] if outcome == "accepted" else [v for v in verdicts if not v.accepted]
        causes = [v for v in blamed if v.outcome == outcome]
        return Verdict(
            outcome,
            score=self._score(scores) if scores else None,
            reason="; ".join(dict.fromkeys(v.reason for v in blamed if v.reason)),
            code=next((v.code for v in causes if v.code), ""),
            repairable=outcome == "rejected" and self._repairable(causes),
            parsed=next((v.parsed for v in verdicts if v.parsed is not None), None),
            text=next((v.text for v in verdicts if v.text is not None), None),
            cost=total(verdict.cost for verdict in verdicts),
        )

    def _score(self, scores: Sequence[float]) -> float:
        raise NotImplementedError

    def _repairable(self, rejections: Sequence[Verdict]) -> bool:
        raise NotImplementedError

    def _prepare(self, request: Request) -> Request:
        for part in _having(self.parts, "prepare"):
            request = part.prepare(request)
        return request

    def _with_threshold(self, threshold: float) -> Verifier:
        takers = _having(self.parts, "with_threshold")
        if len(takers) > 1:
            names = ", ".join(verifier_name(part) for part in takers)
            raise ConfigError(f"threshold={threshold}: could go to any of {names}; set it on one")
        changed = takers[0].with_threshold(threshold)
        return type(self)(*(changed if part is takers[0] else part for part in self.parts))

    def __repr__(self) -> str:
        inner = f" {self.sign} ".join(repr(part) for part in self.parts)
        return f"({inner})" if len(self.parts) > 1 else inner


class All(_Composite):
    """``a & b``: accepted when every part accepts; the first rejection ends it.

    Its score is the lowest of its parts'. A rejection is repairable when every rejection in it is.
    """

    decisive = "rejected"
    sign = "&"

    def __init__(self, *checks: Check) -> None:
        super().__init__(*checks)
        # Not for `|`: a model held to the form of one part could never satisfy another.
        if _having(self.parts, "response_format"):
            self.response_format = self._response_format

    def _score(self, scores: Sequence[float]) -> float:
        return min(scores)

    def _repairable(self, rejections: Sequence[Verdict]) -> bool:
        return all(verdict.repairable for verdict in rejections)

    def _response_format(self) -> Mapping[str, Anything]:
        givers = _having(self.parts, "response_format")
        if len(givers) > 1:
            names = ", ".join(verifier_name(part) for part in givers)
            raise ConfigError(f"constrain=true: {names} each ask for a form of their own")
        wanted: Mapping[str, Anything] = givers[0].response_format()
        return wanted


class Any(_Composite):
    """``a | b``: accepted when one part accepts; the first acceptance ends it.

    Its score is the highest of its parts'. A rejection is repairable when one of its parts' is.
    """

    decisive = "accepted"
    sign = "|"

    def _score(self, scores: Sequence[float]) -> float:
        return max(scores)

    def _repairable(self, rejections: Sequence[Verdict]) -> bool:
        return any(verdict.repairable for verdict in rejections)

    def _combine(self, found: Mapping[int, Verdict]) -> Verdict:
        accepted = {index: v for index, v in found.items() if v.accepted}
        whole = super()._combine(found)
        if not accepted:
            return whole
        # The value comes from a part that accepted it, never from one that did not.
        chosen = super()._combine(accepted)
        text = whole.text if chosen.text is None else chosen.text
        return Verdict.accept(score=whole.score, parsed=chosen.parsed, text=text, cost=whole.cost)


class Not(Composable):
    """``~a``: accepted when the part rejects; an abstention stays one.

    A score turns into one minus it. What the part parsed is dropped, as it is what was not wanted.
    """

    def __init__(self, check: Check) -> None:
        self.part = as_verifier(check)
        self.cost_class = _cost_class(self.part)
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

    async def _later(self, pending: Awaitable[Verdict]) -> Verdict:
        return self._turn(await pending)

    async def _verify_group(self, request: Request, answers: Sequence[Answer]) -> Sequence[Verdict]:
        return [self._turn(verdict) for verdict in await group(self.part, request, answers)]

    def _turn(self, verdict: Verdict) -> Verdict:
        if verdict.outcome == "abstained":
            return verdict
        name = verifier_name(self.part)
        score = None if verdict.score is None else 1.0 - verdict.score
        if not verdict.accepted:
            return Verdict.accept(score=score, text=verdict.text, cost=verdict.cost)
        return Verdict.reject(
            f"the check {name!r} passed, and must not",
            code=f"not.{name}",
            score=score,
            text=verdict.text,
            cost=verdict.cost,
        )

    def __repr__(self) -> str:
        return f"~{self.part!r}"


def _cost_class(part: Verifier) -> CostClass:
    cost: CostClass = getattr(part, "cost_class", "cpu")
    if cost not in _COST_ORDER:
        raise ConfigError(
            f"{verifier_name(part)}: cost_class={cost!r}: {nearest(cost, _COST_ORDER)}"
        )
    return cost


def _having(
    parts: Sequence[Verifier],
    method: Literal["prepare", "with_threshold", "response_format", "verify_group"],
) -> list[Anything]:
    return [part for part in parts if callable(getattr(part, method, None))]
