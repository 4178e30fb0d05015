"""How a plain function becomes a verifier.

The engine takes anything with a ``verify`` method, and any function. `as_verifier` is the one
place where the second is made into the first.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from functools import partial
from numbers import Real
from typing import Any, Literal

from cascade.errors import ConfigError
from cascade.types import Answer, Request
from cascade.verdict import Verdict, Verifier

CostClass = Literal["free", "cpu", "model"]
"""What a check costs, so that composites run the cheap ones first: nothing worth counting,
milliseconds of a core, or a call to a model. A verifier says so in an attribute ``cost_class``."""

Check = Verifier | Callable[..., Any]

DEFAULT_THRESHOLD = 0.5

# Words that an annotation may have while promising that no score comes back.
_SCORELESS = frozenset(
    {"bool", "str", "None", "Verdict", "Optional", "Union", "Awaitable", "Coroutine"}
    | {"cascade", "verdict", "typing", "collections", "abc"}
)


def as_verifier(
    check: Check, *, threshold: float | None = None, blocking: bool = False
) -> Verifier:
    """``check`` as a verifier: an object with ``verify`` as it is, a plain function wrapped.

    The function takes ``(answer)`` or ``(request, answer)``, is sync or async, and returns

    ========= ==============================================================================
    bool      accepted or rejected
    float     a score in [0, 1], accepted from ``threshold`` (0.5) on
    str       the reason of a rejection, fed back on a repair
    Verdict   as it is
    None      no opinion: an abstention; so is an empty string, which is no reason to reject
              and too easily returned by accident to accept on
    ========= ==============================================================================

    and anything else is a `TypeError` that names the function. A sync function is run where it
    stands and must be quick; ``blocking=True`` runs it in a worker thread. A thread cannot be
    killed: when the check times out its result is dropped, and it may still run on for a while.

    Raises:
        ConfigError: ``check`` is neither, takes other arguments, or an option would do nothing.
    """
    if isinstance(check, type):
        raise ConfigError(f"{check.__name__} is a class: give an instance, {check.__name__}(...)")
    if isinstance(check, FunctionVerifier):
        check.require_arguments()
    if callable(getattr(check, "verify", None)):
        if threshold is not None or blocking:
            raise ConfigError("threshold= and blocking= are for plain functions")
        return check  # type: ignore[return-value]  # a callable `verify` is the whole protocol
    if callable(check):
        wrapped = FunctionVerifier(check, threshold=threshold, blocking=blocking)
        wrapped.require_arguments()
        return wrapped
    raise ConfigError(
        "a verifier is a function or has a method verify(request, answer); "
        f"got {type(check).__name__}"
    )


def verifier_name(check: object) -> str:
    """What to call a verifier in messages and records."""
    return str(getattr(check, "name", None) or type(check).__name__)


class FunctionVerifier:
    """A plain function as a verifier. Made by `as_verifier`.

    ``with_threshold`` is there only when the function may return a score.
    """

    cost_class: CostClass = "free"

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        threshold: float | None = None,
        blocking: bool = False,
    ) -> None:
        self.function = function
        self.name = name or _function_name(function)
        self.threshold = DEFAULT_THRESHOLD if threshold is None else threshold
        self.blocking = blocking
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"{self.name}: threshold={threshold!r}: give a number in [0, 1]")
        if blocking:
            self.cost_class = "cpu"
            if inspect.iscoroutinefunction(function):
                raise ConfigError(f"{self.name} is async: blocking=True is for sync functions")
        shape = _Shape(self.name, function)
        self._takes_request = shape.takes_request
        self._missing = shape.missing
        if shape.scored:
            self.with_threshold = self._with_threshold
        elif threshold is not None:
            raise ConfigError(f"{self.name} returns no score: threshold= would do nothing")

    def verify(self, request: Request, answer: Answer, /) -> Verdict | Awaitable[Verdict]:
        """The function's verdict; awaitable only when the function is async or blocking."""
        if self.blocking:
            return self._in_thread(request, answer)
        arguments = (request, answer) if self._takes_request else (answer,)
        result = self.function(*arguments)
        if isinstance(result, Verdict):
            return result
        if inspect.isawaitable(result):
            return self._later(result)
        return self._verdict(result)

    def require_arguments(self) -> None:
        """Refuse a function that still waits for keyword arguments.

        Raises:
            ConfigError: it does; the message names the first.
        """
        if self._missing:
            raise ConfigError(f"verifier {self.name!r} needs the argument {self._missing[0]!r}")

    def _with_threshold(self, threshold: float) -> Verifier:
        return type(self)(
            self.function, name=self.name, threshold=threshold, blocking=self.blocking
        )

    async def _in_thread(self, request: Request, answer: Answer) -> Verdict:
        from anyio import to_thread

        arguments = (request, answer) if self._takes_request else (answer,)
        result = await to_thread.run_sync(
            partial(self.function, *arguments), abandon_on_cancel=True
        )
        return await self._later(result) if inspect.isawaitable(result) else self._verdict(result)

    async def _later(self, result: Awaitable[Any]) -> Verdict:
        return self._verdict(await result)

    def _verdict(self, result: Any) -> Verdict:
        if isinstance(result, Verdict):
            return result
        if result is None:
            return Verdict.abstain(f"{self.name} has no opinion", code=self.name)
        if isinstance(result, bool) or _is_numpy_bool(result):
            if result:
                return Verdict.accept()
            return Verdict.reject(f"the check {self.name!r} failed", code=self.name)
        if isinstance(result, str):
            if not result.strip():
                return Verdict.abstain(f"{self.name} returned an empty reason", code=self.name)
            return Verdict.reject(result, code=self.name, repairable=True)
        if isinstance(result, Real):
            return self._judge(float(result))
        raise TypeError(
            f"{self.name} returned {type(result).__name__}; a check returns "
            "bool, float, str, Verdict or None"
        )

    def _judge(self, score: float) -> Verdict:
        if not 0 <= score <= 1:
            raise ValueError(f"{self.name} returned {score!r}; a score is in [0, 1]")
        if score >= self.threshold:
            return Verdict.accept(score=score)
        reason = f"{self.name} scored {score:.3g}, below {self.threshold:.3g}"
        return Verdict.reject(reason, code=self.name, score=score)

    def __repr__(self) -> str:
        return self.name


class _Shape:
    """What a function's signature says, read once."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.takes_request = False
        self.scored = True
        self.missing: list[str] = []
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):
            return  # a builtin without a signature: called with the answer
        parameters = list(signature.parameters.values())
        positional = [
            p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        required = [p for p in positional if p.default is p.empty]
        spreads = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        named = [p.name for p in positional[:2]] == ["request", "answer"]
        self.takes_request = named or len(required) == 2 or (spreads and len(positional) != 1)
        if len(required) > 2 or not (positional or spreads):
            raise ConfigError(f"{name}: a check takes (answer) or (request, answer)")
        self.missing = [
            p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty
        ]
        self.scored = _may_score(signature.return_annotation)


def _may_score(annotation: Any) -> bool:
    if annotation is inspect.Signature.empty:
        return True
    words = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return not set(re.findall(r"\w+", words)) <= _SCORELESS


def _function_name(function: Callable[..., Any]) -> str:
    while isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__name__", None) or type(function).__name__)


def _is_numpy_bool(value: object) -> bool:
    # numpy registers its numbers with `numbers`, and its bool nowhere.
    kind = type(value)
    return kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_")
