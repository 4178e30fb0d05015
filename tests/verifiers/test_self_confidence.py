"""`SelfConfidence`: stated, and from log-probabilities."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.errors import ConfigError
from cascade.types import Answer, Message, Request, TokenLogprob
from cascade.verdict import Verdict
from cascade_verifiers.json_schema import JsonSchema
from cascade_verifiers.self_confidence import INSTRUCTION, SelfConfidence

REQUEST = Request.of("a question")


def judged(verifier: SelfConfidence, answer: Answer) -> Verdict:
    verdict = verifier.verify(REQUEST, answer)
    assert isinstance(verdict, Verdict)
    return verdict


def stated(text: str, **options: Any) -> Verdict:
    return judged(SelfConfidence(**options), Answer(text))


def shown(*probabilities: float, **options: Any) -> Verdict:
    tokens = tuple(TokenLogprob("t", math.log(p)) for p in probabilities)
    return judged(SelfConfidence("logprob", **options), Answer("an answer", logprobs=tokens))


@pytest.mark.parametrize(
    ("text", "outcome", "score"),
    [
        ("Paris\nConfidence: 85%", "accepted", 0.85),
        ("Paris\n\nCONFIDENCE: 50%\n", "accepted", 0.5),
        ("Paris\n**Confidence:** 49.5 %.", "rejected", 0.495),
        ("Paris\nConfidence: 0%", "rejected", 0.0),
        ("Paris\nConfidence: 100%", "accepted", 1.0),
        ("Paris\nConfidence: 101%", "abstained", None),
        ("Paris\nConfidence: 0.85", "abstained", None),
        ("Paris\nConfidence: high", "abstained", None),
        ("Paris, Confidence: 85%", "abstained", None),
        ("Confidence: 85%", "abstained", None),
        ("Confidence: 85%\nParis", "abstained", None),
        ("Paris\nConfidence: -5%", "abstained", None),
        ("Paris", "abstained", None),
        ("", "abstained", None),
    ],
)
def test_stated(text: str, outcome: str, score: float | None) -> None:
    verdict = stated(text)
    assert (verdict.outcome, verdict.score) == (outcome, score)
    # The user sees the answer without the line, rejected or not.
    assert verdict.text == (None if score is None else "Paris")


def test_stated_asks_for_the_line_in_the_last_user_message() -> None:
    asked = SelfConfidence().prepare(
        Request.of([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}])
    )
    assert [m.text for m in asked.messages] == ["a", f"b\n\n{INSTRUCTION}"]
    parts = Request((Message("user", [{"type": "text", "text": "a"}]),))
    assert SelfConfidence().prepare(parts).text == f"a\n\n{INSTRUCTION}"
    assert SelfConfidence().prepare(Request((Message("system", "a"),))).text == INSTRUCTION


def test_what_it_asks_for_it_can_read() -> None:
    example = INSTRUCTION.splitlines()[-1].replace("<number>", "70")
    assert stated(f"Paris\n{example}").score == 0.7


def test_it_goes_with_json() -> None:
    both = SelfConfidence() & JsonSchema({"type": "object"})
    verdict = both.verify(REQUEST, Answer('{"a": 1}\nConfidence: 90%'))
    assert isinstance(verdict, Verdict)
    assert (verdict.score, verdict.parsed, verdict.text) == (0.9, {"a": 1}, '{"a": 1}')


@pytest.mark.parametrize(
    ("aggregate", "score"),
    [("geometric", 0.5), ("mean", 0.625), ("min", 0.25), ("product", 0.25), (None, 0.5)],
)
def test_logprob_aggregates(aggregate: Any, score: float) -> None:
    assert shown(1.0, 0.25, aggregate=aggregate).score == pytest.approx(score)


def test_logprob_asks_for_them() -> None:
    assert SelfConfidence("logprob").prepare(REQUEST).params == {"logprobs": True}


@pytest.mark.parametrize("logprobs", [None, (), (TokenLogprob("t", math.nan),)])
def test_without_logprobs_it_abstains(logprobs: Any) -> None:
    verdict = judged(SelfConfidence("logprob"), Answer("a", logprobs=logprobs))
    assert verdict.outcome == "abstained"
    assert "provider" in verdict.reason


def test_odd_logprobs_stay_in_range() -> None:
    for log in (1e-9, -math.inf, -9999.0):
        tokens = (TokenLogprob("t", log),)
        verdict = judged(SelfConfidence("logprob"), Answer("a", logprobs=tokens))
        assert verdict.score in (0.0, 1.0)


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=20))
def test_the_aggregates_are_ordered(probabilities: list[float]) -> None:
    scores = [
        shown(*probabilities, aggregate=a).score for a in ("product", "min", "geometric", "mean")
    ]
    values = [score for score in scores if score is not None]
    assert all(low <= high + 1e-9 for low, high in pairwise(values))
    assert len(values) == 4


def test_thresholds() -> None:
    assert shown(0.5, min_logprob=-0.7).accepted
    assert not shown(0.49, min_logprob=-0.7).accepted
    assert SelfConfidence("logprob", min_logprob=-0.7).threshold == math.exp(-0.7)
    verifier = SelfConfidence("logprob", aggregate="min").with_threshold(0.9)
    assert (verifier.threshold, verifier.aggregate, verifier.source) == (0.9, "min", "logprob")
    assert SelfConfidence().with_threshold(0.9).threshold == 0.9
    assert not stated("Paris\nConfidence: 85%", threshold=0.9).accepted


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "logprobs"}, "did you mean 'logprob'"),
        ({"threshold": 1.5}, "^threshold=1.5"),
        ({"threshold": math.nan}, "^threshold=nan"),
        ({"source": "logprob", "quantile": 0.1}, "^quantile=0.1: does nothing"),
        ({"source": "logprob", "aggregate": "quantile", "quantile": 0.0}, "^quantile=0.0"),
        ({"source": "logprob", "tokens": "some"}, "^tokens='some'"),
        ({"source": "logprob", "form": "words"}, "^form='words': does nothing"),
        ({"form": "word"}, "did you mean 'words'"),
        ({"tokens": "all"}, "^tokens='all': does nothing"),
        ({"timeout": 1.0}, "^timeout=1.0: does nothing"),
        ({"source": "p_true", "timeout": 0.0}, "^timeout=0.0"),
        ({"source": "p_true", "aggregate": "min"}, "^aggregate='min': does nothing"),
        ({"source": "p_true", "params": {"logprobs": True}}, "^params: has logprobs"),
        ({"min_logprob": -1.0}, "^min_logprob=-1.0: does nothing"),
        ({"aggregate": "min"}, "^aggregate='min': does nothing"),
        ({"source": "logprob", "aggregate": "max"}, "^aggregate='max'"),
        ({"source": "logprob", "min_logprob": 0.1}, "^min_logprob=0.1"),
        ({"source": "logprob", "min_logprob": -1.0, "threshold": 0.5}, "not both"),
    ],
)
def test_impossible_values_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SelfConfidence(**arguments)
