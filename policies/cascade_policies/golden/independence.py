"""Seeing that what gates answers does not know what scores them.

A verifier that has seen the reference is never wrong: its false accepts and rejects are zero by
construction, and a policy certified with it is certified for nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

from cascade.policy import Policy
from cascade.verify import FunctionVerifier, as_verifier, verifier_name
from cascade_policies.golden.functions import FunctionScorer
from cascade_policies.golden.golden_set import GoldenRow, GoldenSet
from cascade_policies.golden.judged import Judged
from cascade_policies.golden.scorer import GateSeesReferenceError, Scorer
from cascade_verifiers.judge import Judge

_MOST: Final = 10_000


def check_independent(policy: Policy, scorer: Scorer) -> None:
    """Refuse a policy one of whose verifiers knows what the scorer knows.

    Such is a verifier, or a part of one, that has a ``reference`` (a `Judge` that is shown it);
    that holds a golden set or a row of one (an attribute, a closure, a default, a bound argument,
    or a global that its function names); that is the scorer, its function, or an object of its
    class with the same settings; or a judge with the model and the rubric of a judging scorer.
    What reads the references in other ways, from a file or a database, cannot be seen.

    Raises:
        GateSeesReferenceError: there is one; it names the tier.
    """
    for tier in policy.tiers:
        if tier.verify is None:
            continue
        verifier = as_verifier(tier.verify)
        for part in _parts(verifier):
            why = _why(part, scorer)
            if why is not None:
                raise GateSeesReferenceError(
                    f"{verifier_name(verifier)} {why}: a gate must not know what the scorer "
                    "knows; give the tier another verifier, or score otherwise",
                    policy=policy.name,
                    tier=tier.name,
                )


def _why(part: object, scorer: Scorer) -> str | None:
    if getattr(part, "reference", None) is not None:
        return "is shown a reference"
    if any(isinstance(value, GoldenSet | GoldenRow) for value in _held(part)):
        return "holds a golden set"
    function = scorer.function if isinstance(scorer, FunctionScorer) else None
    if part is scorer or (function is not None and _bare(part) is _bare(function)):
        return "is the scorer too"
    if type(part) is type(scorer) and _same_settings(part, scorer):
        return f"is a {type(part).__name__} with the settings of the scorer"
    if isinstance(scorer, Judged) and isinstance(part, Judge):
        judge = scorer.judge
        same = (part.models, part.rubric) == (judge.models, judge.rubric)
        return "asks the scorer's judge by the scorer's rubric" if same else None
    return None


def _same_settings(one: Any, other: Any) -> bool:
    return bool(getattr(one, "__dict__", None) == getattr(other, "__dict__", None))


def _bare(target: Any) -> Any:
    """The function within wrappers, bindings and decorators."""
    for _ in range(_MOST):
        if isinstance(target, FunctionVerifier | FunctionScorer):
            target = target.function
        elif isinstance(target, partial):
            target = target.func
        elif inspect.ismethod(target):
            target = target.__func__
        elif hasattr(target, "__wrapped__"):
            target = target.__wrapped__
        else:
            break
    return target


def _parts(verifier: Any) -> Iterator[Any]:
    """The verifier, and the verifiers it is made of, in whatever attribute it keeps them."""
    seen: set[int] = set()
    stack = [verifier]
    while stack and len(seen) < _MOST:
        part = stack.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        for value in _values(part):
            if callable(getattr(value, "verify", None)) or isinstance(value, partial):
                stack.append(value)


def _held(part: Any) -> Iterator[Any]:
    """What a verifier can reach without being given it."""
    yield from _values(part)
    function = _bare(part)
    bound = getattr(part, "function", part)
    while isinstance(bound, partial):
        for value in (*bound.args, *bound.keywords.values()):
            yield from _inside(value)
        bound = bound.func
    yield getattr(bound, "__self__", None)
    yield from _values(getattr(bound, "__self__", None))
    if not inspect.isfunction(function):
        function = getattr(type(part), "verify", None)
    if inspect.isfunction(function):
        yield from _reached(function)


def _reached(function: Any) -> Iterator[Any]:
    defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    try:
        reached = inspect.getclosurevars(function)
    except ValueError:  # a name that its scope has not set yet
        return
    for value in (*reached.nonlocals.values(), *reached.globals.values(), *defaults):
        yield from _inside(value)


def _values(part: Any) -> Iterator[Any]:
    for value in getattr(part, "__dict__", {}).values():
        yield from _inside(value)


def _inside(value: Any) -> Iterator[Any]:
    """The value; of a small collection also what is in it."""
    yield value
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        yield from list(value)[:_MOST]
