"""Running the parts of a composite: in which order, on which text, and when to stop."""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Mapping, Sequence
from contextlib import suppress
from typing import Any as Anything
from typing import cast

from msgspec.structs import replace

from cascade.cost import FREE, total
from cascade.errors import ConfigError
from cascade.types import Answer, Request
from cascade.verdict import Outcome, Verdict, Verifier
from cascade.verify import Check, as_verifier, verifier_name
from cascade_verifiers.asking import ask, ask_group, settle
from cascade_verifiers.composable import (
    NOT_APPLICABLE,
    Composable,
    cost_class,
    cost_rank,
    having,
    not_applicable,
    rewrites,
    stage,
    thorough,
    tightest,
)

Found = Mapping[int, Verdict]
"""The verdicts so far, by the position of the part as written."""

Steps = Generator[tuple[int, Answer], Verdict, Verdict]


class Composite(Composable):
    """Parts asked one after the other until they settle the matter.

    Parts that take something off the answer run first, so that all others judge what the user
    will get; otherwise the cheap ones do. The optional methods of the contract are instance
    attributes, set only where a part has them: the engine looks for them by name.
    """

    _thorough = False

    def __init__(self, *checks: Check) -> None:
        if not checks:
            raise ConfigError(f"{self._title}() needs at least one verifier")
        parts = self._flat(checks)
        self.parts: tuple[Verifier, ...] = parts
        self.cost_class = cost_class(*parts)
        self.models = tuple(model for part in parts for model in getattr(part, "models", ()))
        self.rewrites = rewrites(*parts)
        self._stages = [stage(part) for part in parts]
        self._order = sorted(
            range(len(parts)), key=lambda index: (self._stages[index], cost_rank(parts[index]))
        )
        # What is still being written is what only the parts of the first stage get to see.
        earliest = min(self._stages)
        self._watching = {
            index: part
            for index, part in enumerate(parts)
            if self._stages[index] == earliest and having([part], "prefix")
        }
        if self._watching:
            self.prefix = self._prefix
        if having(parts, "prepare"):
            self.prepare = self._prepare
        if having(parts, "with_threshold"):
            self.with_threshold = self._with_threshold
        if having(parts, "verify_group"):
            self.verify_group = self._verify_group

    @property
    def _title(self) -> str:
        return type(self).__name__

    def verify(self, request: Request, answer: Answer, /) -> Verdict | Awaitable[Verdict]:
        """The verdict; awaitable from the first part on whose verdict is awaitable."""
        steps = self._steps(answer)
        index, seen = next(steps)
        while True:
            found = ask(self.parts[index], request, seen)
            if not isinstance(found, Verdict):
                return self._await_rest(steps, index, found, request)
            try:
                index, seen = steps.send(found)
            except StopIteration as stop:
                return _verdict(stop)

    async def _await_rest(
        self, steps: Steps, index: int, found: Verdict | Awaitable[Verdict], request: Request
    ) -> Verdict:
        while True:
            verdict = await settle(self.parts[index], found)
            try:
                index, seen = steps.send(verdict)
            except StopIteration as stop:
                return _verdict(stop)
            found = ask(self.parts[index], request, seen)

    async def _verify_group(self, request: Request, answers: Sequence[Answer]) -> Sequence[Verdict]:
        """Parts that judge an ensemble together see all of it; others skip what is settled."""
        rows = [self._steps(answer) for answer in answers]
        seen = [next(row)[1] for row in rows]
        done: dict[int, Verdict] = {}
        for index in self._order:
            part = self.parts[index]
            waiting = [n for n in range(len(rows)) if n not in done]
            if not waiting:
                break
            verdicts: Mapping[int, Verdict]
            if hasattr(part, "verify_group"):
                verdicts = dict(enumerate(await ask_group(part, request, seen)))
            else:
                verdicts = {n: await settle(part, ask(part, request, seen[n])) for n in waiting}
            for n in waiting:
                try:
                    seen[n] = rows[n].send(verdicts[n])[1]
                except StopIteration as stop:
                    done[n] = _verdict(stop)
        return [done[n] for n in range(len(rows))]

    def _steps(self, answer: Answer) -> Steps:
        """Asks for one verdict after the other, and returns the whole's."""
        found: dict[int, Verdict] = {}
        current = self._stages[self._order[0]]
        for index in self._order:
            if self._stages[index] != current:
                text = tightest([v for at, v in found.items() if self._stages[at] == current])
                current = self._stages[index]
                answer = answer if text is None else replace(answer, text=text)
            found[index] = yield index, answer
            if self._done(found):
                break
        return self._combine(found)

    def _done(self, found: Found) -> bool:
        settled = self._fixed if self._thorough else self._settled
        return settled(_applicable(found), self._unasked(found))

    def _settled(self, found: Found, unasked: Sequence[int]) -> bool:
        """Whether the outcome is known, whatever the unasked parts would say."""
        raise NotImplementedError

    def _fixed(self, found: Found, unasked: Sequence[int]) -> bool:
        """Whether the score is known as well."""
        raise NotImplementedError

    def _judge(self, found: Found, unasked: Sequence[int]) -> Verdict:
        """Outcome, score, reason, code and repairability, from the verdicts of parts that apply."""
        raise NotImplementedError

    def _unasked(self, found: Found) -> list[int]:
        return [index for index in range(len(self.parts)) if index not in found]

    def _combine(self, found: Found) -> Verdict:
        # In the order the user wrote, whichever ran first.
        found = {index: found[index] for index in sorted(found)}
        # A sum of what costs nothing takes longer than most checks.
        costs = [verdict.cost for verdict in found.values() if verdict.cost is not FREE]
        cost = total(costs) if costs else FREE
        applicable = _applicable(found)
        if not applicable:
            return Verdict("accepted", code=NOT_APPLICABLE, cost=cost)
        verdicts = list(applicable.values())
        whole = self._judge(applicable, self._unasked(found))
        # The value comes from a part that accepted it, never from one that did not.
        sources = [v for v in verdicts if v.accepted] if whole.accepted else verdicts
        values = [verdict.parsed for verdict in sources if verdict.parsed is not None]
        text = self._text(applicable, whole.outcome)
        if not values and text is None and cost is FREE:
            return whole
        return replace(whole, parsed=values[0] if values else None, text=text, cost=cost)

    def _text(self, found: Found, outcome: Outcome) -> str | None:
        """The text after the last stage that changed it."""
        if not [verdict for verdict in found.values() if verdict.text is not None]:
            return None
        accepted = {index: v for index, v in found.items() if v.accepted}
        for some in (accepted, found) if outcome == "accepted" else (found,):
            for at in (2, 1, 0):
                text = tightest([v for index, v in some.items() if self._stages[index] == at])
                if text is not None:
                    return text
        return None

    def _prefix(self, text: str) -> Verdict | None:
        """A rejection of an answer that is still being written, when it is hopeless already."""
        found: dict[int, Verdict] = {}
        for index, part in self._watching.items():
            # What crashes on half an answer will be asked again about the whole one.
            with suppress(Exception):
                verdict = cast("Anything", part).prefix(text)
                if isinstance(verdict, Verdict) and verdict.outcome == "rejected":
                    found[index] = verdict
        if not found or not self._done(found):
            return None
        verdict = self._combine(found)
        return verdict if verdict.outcome == "rejected" else None

    def _prepare(self, request: Request) -> Request:
        for part in having(self.parts, "prepare"):
            request = part.prepare(request)
        return request

    def _with_threshold(self, threshold: float) -> Verifier:
        takers = having(self.parts, "with_threshold")
        if len(takers) > 1:
            names = ", ".join(verifier_name(part) for part in takers)
            raise ConfigError(f"threshold={threshold}: could go to any of {names}; set it on one")
        changed = takers[0].with_threshold(threshold)
        return self._like([changed if part is takers[0] else part for part in self.parts])

    def thorough(self) -> Composite:
        """The same, of parts that are thorough too; ends early only on a hard check that failed."""
        changed = self._like([thorough(part) for part in self.parts])
        changed._thorough = True
        return changed

    def _like(self, parts: Sequence[Verifier]) -> Composite:
        changed = self._of(parts)
        changed._thorough = self._thorough
        return changed

    def _of(self, parts: Sequence[Verifier]) -> Composite:
        """The same composite of other parts."""
        return type(self)(*parts)

    def _flat(self, checks: Sequence[Check]) -> tuple[Verifier, ...]:
        return tuple(as_verifier(check) for check in checks)


def _verdict(stop: StopIteration) -> Verdict:
    verdict: Anything = stop.value
    assert isinstance(verdict, Verdict)
    return verdict


def _applicable(found: Found) -> dict[int, Verdict]:
    return {index: verdict for index, verdict in found.items() if not not_applicable(verdict)}
