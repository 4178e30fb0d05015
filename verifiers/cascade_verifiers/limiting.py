"""`within`: a check that may take so long and no longer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from sys import float_info
from typing import Any

import anyio

from cascade.context import spending
from cascade.cost import FREE, Cost, total
from cascade.errors import ConfigError
from cascade.types import Answer, Request
from cascade.verdict import Verdict, Verifier
from cascade.verify import Check, as_verifier, verifier_name
from cascade_verifiers.asking import ask_group, settle
from cascade_verifiers.composable import Composable, cost_class, having, rewrites, thorough


class Within(Composable):
    """Gives up on its part after some seconds, and abstains. Made by `within`."""

    def __init__(self, seconds: float, check: Check) -> None:
        given: object = seconds
        number = isinstance(given, int | float) and not isinstance(given, bool)
        if not number or not 0 < seconds <= float_info.max:
            raise ConfigError(f"within={seconds!r}: needs seconds above 0")
        self.seconds = seconds
        self.part: Verifier = as_verifier(check)
        self.cost_class = cost_class(self.part)
        self.rewrites = rewrites(self.part)
        part: Any = self.part
        # The engine looks for these by name, and they take no time worth a limit.
        if having([part], "prepare"):
            self.prepare: Callable[[Request], Request] = part.prepare
        if having([part], "prefix"):
            self.prefix: Callable[[str], Verdict | None] = part.prefix
        if having([part], "response_format"):
            self.response_format: Callable[[], Mapping[str, Any]] = part.response_format
        if having([part], "with_threshold"):
            self.with_threshold = self._with_threshold
        if having([part], "verify_group"):
            self.verify_group = self._verify_group

    def verify(self, request: Request, answer: Answer, /) -> Verdict | Awaitable[Verdict]:
        """The part's verdict, if it comes in time."""
        found = self.part.verify(request, answer)
        return found if isinstance(found, Verdict) else self._wait(found)

    async def _wait(self, found: Awaitable[Verdict]) -> Verdict:
        with spending() as spent:
            with anyio.move_on_after(self.seconds):
                return await settle(self.part, found)
            return self._late(total(spent))

    async def _verify_group(self, request: Request, answers: Sequence[Answer]) -> Sequence[Verdict]:
        with spending() as spent:
            with anyio.move_on_after(self.seconds):
                return await ask_group(self.part, request, answers)
            # The check is one, and so is what it cost.
            return [self._late(total(spent)), *[self._late()] * (len(answers) - 1)]

    def thorough(self) -> Within:
        """Of a thorough part."""
        return Within(self.seconds, thorough(self.part))

    def _late(self, cost: Cost = FREE) -> Verdict:
        reason = f"{verifier_name(self.part)} took longer than {self.seconds:g} s"
        return Verdict.abstain(reason, code="check.timeout", cost=cost)

    def _with_threshold(self, threshold: float) -> Within:
        part: Any = self.part
        return Within(self.seconds, part.with_threshold(threshold))

    def __repr__(self) -> str:
        return f"within({self.seconds:g}, {self.part!r})"


def within(seconds: float, check: Check) -> Within:
    """The check, with an abstention (``check.timeout``) where it takes longer than ``seconds``.

    An async check is cancelled. A sync one cannot be interrupted where it stands, and its verdict
    counts however long it took; ``as_verifier(function, blocking=True)`` runs a slow function in a
    thread, which is left to itself when its time is over.

    Raises:
        ConfigError: ``seconds`` is not above 0, or ``check`` is no check.
    """
    return Within(seconds, check)
