"""`OneOf`, `Regex` and `Length`."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from time import perf_counter
from typing import Any, cast

import anyio
import pytest

from cascade.errors import ConfigError
from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers.length import Length
from cascade_verifiers.one_of import OneOf
from cascade_verifiers.regex import Regex

REQUEST = Request.of("a question")


def ask(verifier: Any, text: str) -> Verdict:
    verdict = verifier.verify(REQUEST, Answer(text))
    if inspect.isawaitable(verdict):

        async def run() -> Any:
            return await verdict

        verdict = anyio.run(run)
    assert isinstance(verdict, Verdict)
    return verdict


@pytest.mark.parametrize(
    "text", ["Positive", "positive", " POSITIVE.\n", '"positive"', "**Positive**", "`positive`"]
)
def test_one_of_gives_the_label_as_written(text: str) -> None:
    verdict = ask(OneOf("Positive", "Negative"), text)
    assert verdict.accepted
    assert verdict.parsed == "Positive"
    assert verdict.text == (None if text == "Positive" else "Positive")


@pytest.mark.parametrize("text", ["", "It is positive", "positive, negative", "posit", "x" * 10**7])
def test_one_of_rejects_and_lists_the_labels(text: str) -> None:
    verdict = ask(OneOf(["Positive", "Negative"]), text)
    assert (verdict.outcome, verdict.code, verdict.repairable) == (
        "rejected", "one_of.unknown", True,
    )  # fmt: skip
    assert "'Positive', 'Negative'" in verdict.reason


def test_one_of_case_and_punctuation() -> None:
    assert not ask(OneOf("Yes", case_sensitive=True), "yes").accepted
    assert ask(OneOf("A", "a", case_sensitive=True), "a").parsed == "a"
    assert ask(OneOf("+", "-", "*"), "*").parsed == "*"
    assert len(ask(OneOf(*(f"label {n}" for n in range(1000))), "x").reason) <= 500


@pytest.mark.parametrize("labels", [(), ("a", "A"), ("a", ""), (["a", 3],)])
def test_one_of_refuses_labels_that_make_no_sense(labels: Any) -> None:
    with pytest.raises(ConfigError, match="labels"):
        OneOf(*labels)


@pytest.mark.parametrize(
    ("pattern", "options", "text", "accepted"),
    [
        ("[0-9]{4}", {}, "in 2024", True),
        ("[0-9]{4}", {"full": True}, "in 2024", False),
        ("[0-9]{4}", {"full": True}, " 2024\n", True),
        ("yes|no", {"full": True}, "yes or no", False),
        ("YES", {"ignore_case": True}, "oh yes", True),
        ("^b$", {}, "a\nb", False),
        (r"^\d$", {}, "१", False),
        (r"^\p{L}+$", {}, "é", True),
        ("a", {}, "\ud800", False),
        ("a", {}, "\0a", True),
    ],
)
def test_regex(pattern: str, options: Any, text: str, accepted: bool) -> None:
    assert ask(Regex(pattern, **options), text).accepted is accepted


@pytest.mark.parametrize("pattern", ["(?=a)", r"(a)\1", "(", "a)|(b", "(a{1000}){1000}", "", 3])
def test_regex_refuses_what_is_not_linear(pattern: Any) -> None:
    with pytest.raises(ConfigError, match=r"^pattern="):
        Regex(pattern, full=True)


def test_regex_reason() -> None:
    verdict = ask(Regex("^a", reason="begin with a"), "b")
    assert (verdict.reason, verdict.code) == ("begin with a", "regex.no_match")


@pytest.mark.anyio
async def test_regex_is_linear_and_leaves_the_loop_for_long_answers() -> None:
    began = perf_counter()
    for pattern in ("^(a+)+$", "(x+x+)+y", "(a|aa)*b", "([a-z]+)*[0-9]$"):
        pending = Regex(pattern).verify(REQUEST, Answer("a" * 900_000 + "!"))
        assert not (await cast("Awaitable[Verdict]", pending)).accepted
    assert ask(Regex("a"), "a" * 10**7).code == "regex.too_long"
    assert perf_counter() - began < 5


@pytest.mark.parametrize(
    ("limits", "text", "code"),
    [
        ({"max_chars": 3}, " abc ", ""),
        ({"max_chars": 3}, "abcd", "length.too_long"),
        ({"min_chars": 1}, "  ", "length.too_short"),
        ({"max_words": 2}, "a  b\n", ""),
        ({"max_words": 2}, "a b c", "length.too_long"),
        ({"min_words": 3}, "a b", "length.too_short"),
        ({"min_words": 3}, "a b c d e f", ""),
        ({"max_lines": 2}, "a\n\nb", ""),
        ({"max_lines": 1}, "a\nb", "length.too_long"),
        ({"min_lines": 2, "max_lines": 2}, "a\nb", ""),
        ({"max_words": 0}, "", ""),
        ({"max_words": 0}, "a", "length.too_long"),
    ],
)
def test_length(limits: Any, text: str, code: str) -> None:
    verdict = ask(Length(**limits), text)
    assert verdict.code == code
    assert verdict.accepted is not bool(code)


def test_length_says_everything_that_is_wrong() -> None:
    verdict = ask(Length(max_chars=3, min_lines=2), "abcd")
    assert verdict.reason == (
        "the answer has more than 3 characters; it has 1 lines, and needs at least 2"
    )


@pytest.mark.parametrize(
    "limits", [{}, {"min_words": 3, "max_words": 2}, {"max_chars": -1}, {"max_chars": True}]
)
def test_length_refuses_limits_that_make_no_sense(limits: Any) -> None:
    with pytest.raises(ConfigError):
        Length(**limits)


def test_length_counts_no_further_than_needed() -> None:
    began = perf_counter()
    for text in ("a " * 5_000_000, "a\n" * 5_000_000, "\n" * 10_000_000):
        ask(Length(max_words=5, max_lines=5), text)
    assert perf_counter() - began < 2
