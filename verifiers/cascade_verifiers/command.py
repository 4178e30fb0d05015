"""`Command`: a check that is a program, in whatever language."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import Any

import anyio

from cascade.errors import ConfigError
from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade.verify import CostClass
from cascade_verifiers.composable import Composable
from cascade_verifiers.external import (
    MAX_BYTES,
    TIMEOUT,
    check_cost_class,
    check_limits,
    decode,
    encode,
    too_long,
)
from cascade_verifiers.program import run_program


class Command(Composable):
    """Runs a program that reads the request and the answer and writes the verdict, all JSON.

    The program is run for each answer, without a shell, in a process group of its own, which is
    killed when the check is cancelled or takes too long. It has the environment and the folder of
    this process. One that cannot be started, ends with a code other than 0, writes too much or no
    verdict, abstains. See the docs for the JSON.

    Args:
        argv: the program and its arguments.
        timeout: seconds that it may take.
        max_output: bytes that it may write.
        cost_class: what it costs: ``free``, ``cpu`` or ``model``; cheap checks run first.

    Raises:
        ConfigError: there is no such program, or a limit is none.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        timeout: float = TIMEOUT,
        max_output: int = MAX_BYTES,
        cost_class: CostClass = "cpu",
    ) -> None:
        given: list[Any] = [] if isinstance(argv, str) else list(argv)
        words = [word for word in given if isinstance(word, str) and "\0" not in word]
        if not words or len(words) < len(given):
            raise ConfigError(f"argv={argv!r}: needs a list: the program and its arguments")
        if shutil.which(words[0]) is None:
            raise ConfigError(f"argv: there is no program {words[0]!r}")
        check_cost_class(cost_class)
        check_limits(timeout=timeout, max_output=max_output)
        self.argv: tuple[str, ...] = tuple(words)
        self._program = words[0]
        self.timeout = timeout
        self.max_output = max_output
        self.cost_class = cost_class
        self._who = f"the command {os.path.basename(words[0])!r}"  # noqa: PTH119  (a name, no path)

    async def verify(self, request: Request, answer: Answer, /) -> Verdict:
        """The program's verdict; an abstention with the reason when there is none."""
        if (unsent := too_long(answer)) is not None:
            return unsent
        with anyio.move_on_after(self.timeout):
            sent = await encode(request, answer)
            return await self._run(sent)
        reason = f"{self._who} took longer than {self.timeout:g} s"
        return Verdict.abstain(reason, code="check.timeout")

    async def _run(self, sent: bytes) -> Verdict:
        try:
            ran = await run_program(self.argv, sent, self.max_output)
        except OSError as error:
            reason = f"{self._who} could not be started: {error.strerror}"
            return Verdict.abstain(reason, code="external.not_started")
        if ran.code is None:
            reason = f"{self._who} wrote more than {self.max_output:,} bytes"
            return Verdict.abstain(reason, code="external.too_long")
        if ran.code:
            said = " ".join(ran.complaint.decode(errors="replace").split())
            reason = f"{self._who} ended with code {ran.code}"
            return Verdict.abstain(f"{reason}: {said}" if said else reason, code="external.failed")
        return decode(ran.written, self._who)

    def __repr__(self) -> str:
        # Not its arguments: there may be a key among them.
        more = ", …" if len(self.argv) > 1 else ""
        return f"Command([{self._program!r}{more}])"
