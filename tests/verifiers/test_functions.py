"""Plain functions as verifiers."""

from __future__ import annotations

import threading
from collections.abc import Awaitable
from functools import partial
from typing import Any, cast

import numpy as np
import pytest

from cascade.errors import ConfigError
from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade.verify import as_verifier

REQUEST = Request.of("a question")
ANSWER = Answer("an answer")


def check(function: Any, **options: Any) -> Verdict:
    verdict = as_verifier(function, **options).verify(REQUEST, ANSWER)
    assert isinstance(verdict, Verdict)
    return verdict


@pytest.mark.parametrize(
    ("returned", "outcome", "score"),
    [
        (True, "accepted", None),
        (False, "rejected", None),
        (np.bool_(True), "accepted", None),
        (np.bool_(False), "rejected", None),
        (0.7, "accepted", 0.7),
        (0.3, "rejected", 0.3),
        (1, "accepted", 1.0),
        (np.float32(0.25), "rejected", 0.25),
        (None, "abstained", None),
        ("", "abstained", None),
        ("too vague", "rejected", None),
    ],
)
def test_what_a_function_may_return(returned: Any, outcome: str, score: float | None) -> None:
    verdict = check(lambda answer: returned)
    assert (verdict.outcome, verdict.score) == (outcome, score)


def test_a_string_is_a_repairable_reason() -> None:
    def polite(answer: Answer) -> str:
        return "say please"

    verdict = check(polite)
    assert (verdict.reason, verdict.code, verdict.repairable) == ("say please", "polite", True)


def test_a_verdict_is_passed_on() -> None:
    wanted = Verdict.accept(parsed={"a": 1})
    assert check(lambda answer: wanted) is wanted


@pytest.mark.parametrize("wrong", [[], {}, object(), b"x", 1 + 2j])
def test_anything_else_is_a_type_error_that_names_the_function(wrong: Any) -> None:
    def odd(answer: Answer) -> Any:
        return wrong

    with pytest.raises(TypeError, match="odd returned"):
        check(odd)


@pytest.mark.parametrize("wrong", [1.5, -0.1, float("nan"), 7])
def test_a_score_outside_its_range_is_an_error(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"a score is in \[0, 1\]"):
        check(lambda answer: wrong)


def test_the_signature_says_what_is_passed() -> None:
    def one(answer: Answer) -> bool:
        return answer is ANSWER

    def two(request: Request, answer: Answer) -> bool:
        return request is REQUEST and answer is ANSWER

    def one_with_default(answer: Answer, most: int = 3) -> bool:
        return answer is ANSWER and most == 3

    def two_with_default(request: Request, answer: Answer | None = None) -> bool:
        return request is REQUEST and answer is ANSWER

    def two_partial(limit: int, request: Request, answer: Answer) -> bool:
        return limit == 5 and request is REQUEST and answer is ANSWER

    def spread(*given: Any) -> bool:
        return given == (REQUEST, ANSWER)

    for function in (one, two, one_with_default, two_with_default, partial(two_partial, 5), spread):
        assert check(function).accepted


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: True, "takes"),
        (lambda a, b, c: True, "takes"),
        (3, "got int"),
        ("json_schema", "got str"),
        (Verdict, "is a class"),
    ],
)
def test_what_is_no_verifier_is_refused(wrong: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        as_verifier(wrong)


def test_a_keyword_only_argument_without_default_is_refused() -> None:
    def needs(answer: Answer, *, limit: int) -> bool:
        return True

    with pytest.raises(ConfigError, match="'limit'"):
        as_verifier(needs)


def test_an_object_with_verify_is_passed_through() -> None:
    class Mine:
        def verify(self, request: Request, answer: Answer, /) -> Verdict:
            return Verdict.accept()

    mine = Mine()
    assert as_verifier(mine) is mine
    with pytest.raises(ConfigError, match="plain functions"):
        as_verifier(mine, blocking=True)


def test_a_threshold_is_offered_only_where_there_may_be_scores() -> None:
    def yes_or_no(answer: Answer) -> bool | None:
        return True

    def scored(answer: Answer) -> float:
        return 0.6

    assert not hasattr(as_verifier(yes_or_no), "with_threshold")
    loose: Any = as_verifier(scored)
    assert loose.verify(REQUEST, ANSWER).accepted
    assert not loose.with_threshold(0.7).verify(REQUEST, ANSWER).accepted
    assert hasattr(as_verifier(lambda answer: 0.5), "with_threshold")
    with pytest.raises(ConfigError, match="no score"):
        as_verifier(yes_or_no, threshold=0.5)
    with pytest.raises(ConfigError, match="threshold"):
        as_verifier(scored, threshold=1.5)


@pytest.mark.anyio
async def test_async_functions_are_awaited() -> None:
    async def slow(answer: Answer) -> float:
        return 0.9

    verdict = await cast("Awaitable[Verdict]", as_verifier(slow).verify(REQUEST, ANSWER))
    assert verdict.score == 0.9


@pytest.mark.anyio
async def test_a_blocking_function_runs_in_a_thread() -> None:
    threads = []

    def heavy(answer: Answer) -> bool:
        threads.append(threading.get_ident())
        return True

    pending = as_verifier(heavy, blocking=True).verify(REQUEST, ANSWER)
    assert (await cast("Awaitable[Verdict]", pending)).accepted
    assert threads != [threading.get_ident()]


def test_blocking_is_for_sync_functions() -> None:
    async def slow(answer: Answer) -> bool:
        return True

    with pytest.raises(ConfigError, match="async"):
        as_verifier(slow, blocking=True)
