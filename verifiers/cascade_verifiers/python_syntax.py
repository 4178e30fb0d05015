"""`PythonSyntax`: the answer is Python that compiles."""

from __future__ import annotations

import shutil
import sys
from typing import Literal

import anyio
import msgspec

from cascade.errors import ConfigError
from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers.composable import Composable
from cascade_verifiers.external import check_limits
from cascade_verifiers.extract import check_extract, fences
from cascade_verifiers.program import run_program

MAX_CHARS = 200_000
_MEMORY = 512 * 2**20

# In a process of its own: some nestings crash CPython's compiler, some take it very long. It is
# compiled, all of it, as some errors ("'return' outside function") show after parsing only; it is
# never run.
_PROGRAM = f"""
import json, sys, warnings
warnings.simplefilter("ignore")
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, ({_MEMORY}, {_MEMORY}))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except (ImportError, ValueError, OSError):
    pass
wrong = None
try:
    compile(sys.stdin.buffer.read().decode("utf-8", "surrogatepass"), "answer", "exec")
except SyntaxError as error:
    wrong = ["line %d: %s" % (error.lineno, error.msg) if error.lineno else str(error.msg), False]
except (RecursionError, MemoryError):
    wrong = ["it is nested too deeply", True]
except Exception as error:
    wrong = [str(error)[:200], False]
sys.stdout.write(json.dumps(wrong))
"""


class PythonSyntax(Composable):
    """Accepts an answer that is Python code, as the Python that runs cascade understands it.

    The code is compiled in a process of its own, and never run. The verdict's ``text`` is the code
    without the fence around it.

    Args:
        extract: ``"fence"`` takes the code from the only code fence where there is one;
            ``"strict"`` takes the whole answer.
        timeout: seconds that compiling may take.
        max_chars: longer code is rejected unread.

    Raises:
        ConfigError: a value is impossible.
    """

    cost_class = "cpu"
    rewrites = "wrapping"

    def __init__(
        self,
        *,
        extract: Literal["fence", "strict"] = "fence",
        timeout: float = 5.0,
        max_chars: int = MAX_CHARS,
    ) -> None:
        check_extract(extract, ("fence", "strict"))
        check_limits(timeout=timeout, max_chars=max_chars)
        python = sys.executable or shutil.which("python3")
        if python is None:
            raise ConfigError("PythonSyntax() needs a Python to compile with, and found none")
        self.extract = extract
        self.timeout = timeout
        self.max_chars = max_chars
        # Isolated and without site-packages: it starts fast, and nothing of the user's runs.
        self._argv = (python, "-I", "-S", "-c", _PROGRAM)

    async def verify(self, request: Request, answer: Answer, /) -> Verdict:
        """The verdict, with the line and the compiler's message in its reason."""
        if len(answer.text) > self.max_chars:
            reason = f"the code is longer than {self.max_chars:,} characters"
            return Verdict.reject(reason, code="python.too_long", repairable=True)
        code = answer.text
        blocks = fences(code) if self.extract == "fence" else []
        if len(blocks) > 1:
            reason = "the answer must have one code block, and has several"
            return Verdict.reject(reason, code="python.several_blocks", repairable=True)
        code = blocks[0] if blocks else code.strip()
        if not code:
            return Verdict.reject("there is no code", code="python.empty", repairable=True)
        with anyio.move_on_after(self.timeout):
            return await self._compile(code, None if code == answer.text else code)
        reason = f"compiling took longer than {self.timeout:g} s"
        return Verdict.abstain(reason, code="check.timeout")

    async def _compile(self, code: str, text: str | None) -> Verdict:
        try:
            ran = await run_program(self._argv, code.encode(errors="surrogatepass"), 10_000)
        except OSError as error:
            reason = f"no Python could be started: {error.strerror}"
            return Verdict.abstain(reason, code="external.not_started")
        if ran.code:
            # The compiler itself crashed: that is no code for anyone.
            reason = "the code is nested too deeply for the compiler"
            return Verdict.reject(reason, code="python.too_deep")
        try:
            wrong = msgspec.json.decode(ran.written, type=tuple[str, bool] | None)
        except msgspec.DecodeError:
            return Verdict.abstain("the compiler said nothing", code="external.unreadable")
        if wrong is None:
            return Verdict.accept(text=text)
        message, deep = wrong
        reason = f"the code is no valid Python: {message}"[:300]
        return Verdict.reject(
            reason, code="python.too_deep" if deep else "python.syntax", repairable=True
        )

    def __repr__(self) -> str:
        return "PythonSyntax()"
