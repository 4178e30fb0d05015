"""`UnitTests`: the answer is Python code that passes the reference's tests, in a process apart."""

from __future__ import annotations

import json
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Any, Final, Literal, get_args

import anyio
from anyio import to_thread

from cascade.errors import nearest
from cascade.types import Answer
from cascade_policies.golden import isolated
from cascade_policies.golden.golden_set import GoldenRow
from cascade_policies.golden.scorer import (
    MAX_ANSWER,
    Score,
    ScorerError,
    unscorable,
    wrong,
)
from cascade_verifiers.extract import fences
from cascade_verifiers.program import run_program

Isolation = Literal["full", "partial"]

_MAX_OUTPUT: Final = 1_000_000
_START: Final = 10.0
_RUNNER: Final = str(Path(isolated.__file__))


class UnitTests:
    """The share of the reference's tests that the answer's code passes.

    The reference is Python source, or a list of such: each is run after the answer's code, in its
    names, and passes when it raises nothing. The code is what stands in the answer's one code
    fence, or else the whole answer. Nothing of it runs in this process; what the process that it
    runs in may do is in docs/golden-sets.md.

    Args:
        timeout: seconds that the code and its tests may take together.
        memory_mb: megabytes that they may take.
        isolation: ``"full"`` gives no score where network, files, and other processes cannot be
            shut off (anywhere but on Linux 5.13 or later, x86-64 or ARM64); ``"partial"`` runs
            the code with what there is of it. Not for answers of models on a machine with
            anything on it.
    """

    def __init__(
        self, *, timeout: float = 10.0, memory_mb: int = 512, isolation: Isolation = "full"
    ) -> None:
        if not 0 < timeout <= 3600:
            raise ScorerError(f"timeout={timeout!r}: needs seconds above 0, at most 3600")
        if memory_mb < 64:
            raise ScorerError(f"memory_mb={memory_mb!r}: needs at least 64")
        if isolation not in get_args(Isolation):
            known = get_args(Isolation)
            raise ScorerError(f"isolation={isolation!r}: {nearest(str(isolation), known)}")
        self.timeout = timeout
        self.memory_mb = memory_mb
        self.isolation: Isolation = isolation

    async def score(self, row: GoldenRow, answer: Answer, /) -> Score:
        """From 0 to 1; no score where the reference is no source or the process cannot be made."""
        tests = [row.reference] if isinstance(row.reference, str) else row.reference
        if not isinstance(tests, list) or not tests or any(not isinstance(t, str) for t in tests):
            return unscorable("the reference is no Python source, nor a list of such")
        if len(answer.text) > MAX_ANSWER:
            return wrong("the answer is too long")
        found = fences(answer.text)
        if len(found) > 1:
            return wrong("the answer has several code fences")
        code = found[0] if found else answer.text
        try:
            for test in tests:
                compile(test, "<tests>", "exec", dont_inherit=True)  # ours: a mistake in it is ours
        except (SyntaxError, ValueError) as error:
            return unscorable(f"the reference: {error}")
        told = await self._run(code, tests)
        if "unisolated" in told:
            return unscorable(f"the code cannot be isolated here: {told['unisolated']}")
        passed: list[bool] = told.get("passed", [])
        if len(passed) != len(tests):
            return wrong(str(told.get("why", "the code ended the process")))
        quality = sum(passed) / len(tests)
        return Score(quality, "" if quality == 1 else str(told.get("why", ""))[:300])

    async def _run(self, code: str, tests: list[str]) -> dict[str, Any]:
        mark = secrets.token_hex(16)
        folder = await to_thread.run_sync(
            lambda: tempfile.TemporaryDirectory(prefix="tests-", ignore_cleanup_errors=True)
        )
        try:
            sent = {
                "mark": mark,
                "code": code,
                "tests": tests,
                "folder": folder.name,
                "seconds": self.timeout,
                "memory": self.memory_mb * 2**20,
                "full": self.isolation == "full",
            }
            payload = json.dumps(sent).encode("utf-8", "surrogatepass")
            argv = [sys.executable, "-I", "-S", "-B", _RUNNER]
            with anyio.move_on_after(self.timeout + _START):
                ran = await run_program(argv, payload, _MAX_OUTPUT)
                return _read(ran.written, mark, ran.code)
            return {"why": f"took longer than {self.timeout:g} s"}
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(folder.cleanup)


def _read(written: bytes, mark: str, code: int | None) -> dict[str, Any]:
    """What the process told behind its mark, which the code it runs is not given."""
    for line in reversed(written.splitlines()):
        if line.startswith(mark.encode()):
            told: dict[str, Any] = json.loads(line[len(mark) :])
            return told
    if code is not None and code < 0:
        return {"why": f"the process was killed (signal {-code})"}
    return {"why": "the code ended the process"}
