"""`SelfConfidence`: every form of stating it, and which tokens are the answer's."""

from __future__ import annotations

import inspect
import json
import math
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import Engine, Policy, Tier
from cascade.errors import ConfigError
from cascade.testing import Scripted, ScriptedModel
from cascade.types import Answer, Request, TokenLogprob
from cascade.verdict import Verdict
from cascade_verifiers.answer_tokens import answer_span, logs_between
from cascade_verifiers.calibration import Platt
from cascade_verifiers.json_schema import JsonSchema
from cascade_verifiers.self_confidence import SelfConfidence
from cascade_verifiers.stated import FORMS, JSON_FORMAT, WORDS

REQUEST = Request.of("a question")


def judged(verifier: Any, answer: Answer) -> Verdict:
    async def run() -> Any:
        found = verifier.verify(REQUEST, answer)
        return await found if inspect.isawaitable(found) else found

    verdict = anyio.run(run)
    assert isinstance(verdict, Verdict)
    return verdict


@pytest.mark.parametrize(
    ("form", "text", "score"),
    [
        ("fraction", "Paris\nConfidence: 0.85", 0.85),
        ("fraction", "Paris\n**Confidence:** 1", 1.0),
        ("fraction", "Paris\nConfidence: .5", 0.5),
        ("fraction", "Paris\nConfidence: 85%", None),
        ("fraction", "Paris\nConfidence: 1.5", None),
        ("fraction", "Paris\nConfidence: 85", None),
        ("words", "Paris\nConfidence: very likely", 0.9),
        ("words", "Paris\nCONFIDENCE: Almost certainly.", 0.95),
        ("words", "Paris\nConfidence: almost certainly not", 0.05),
        ("words", "Paris\nConfidence: quite likely", None),
        ("words", "Paris\nConfidence: likely or not", None),
        ("words", "Paris\nConfidence: 85%", None),
        ("json", '{"answer": "Paris", "confidence": 85}', 0.85),
        ("json", '```json\n{"answer": "Paris", "confidence": 0}\n```', 0.0),
        ("json", '{"answer": "Paris", "confidence": "85"}', None),
        ("json", '{"answer": "Paris", "confidence": true}', None),
        ("json", '{"answer": "Paris", "confidence": 101}', None),
        ("json", '{"answer": "Paris", "confidence": 85, "note": 1}', None),
        ("json", '{"answer": "Paris"}', None),
        ("json", '{"answer": " ", "confidence": 85}', None),
        ("json", 'Here: {"answer": "Paris", "confidence": 85}', None),
        ("json", "[85]", None),
        ("json", "[" * 100_000, None),
    ],
)
def test_forms(form: Any, text: str, score: float | None) -> None:
    verdict = judged(SelfConfidence(form=form), Answer(text))
    assert verdict.score == score
    assert verdict.text == (None if score is None else "Paris")
    if score is None:
        assert (verdict.outcome, verdict.code) == ("abstained", "self_confidence.not_stated")


@pytest.mark.parametrize("form", FORMS)
def test_each_form_asks_for_what_it_reads(form: Any) -> None:
    verifier = SelfConfidence(form=form)
    prepare: Any = verifier.prepare
    assert prepare(REQUEST).text == f"a question\n\n{FORMS[form].instruction}"
    example = FORMS[form].instruction.splitlines()[-1]
    for place, value in (("<number>", "1"), ("<words>", "likely"), ("<your answer>", "Paris")):
        example = example.replace(place, value)
    if form == "json":
        example = example[example.index("{") : example.index("<")] + "1}"
    else:
        example = f"Paris\n{example}"
    verdict = judged(verifier, Answer(example))
    assert verdict.score is not None
    assert verdict.text == "Paris"


def test_words_are_in_their_order() -> None:
    assert list(WORDS.values()) == sorted(WORDS.values())
    for word, score in WORDS.items():
        verdict = judged(SelfConfidence(form="words"), Answer(f"Paris\nConfidence: {word}"))
        assert verdict.score == score


def test_a_json_answer_that_is_no_text_stays_json() -> None:
    verdict = judged(SelfConfidence(form="json"), Answer('{"answer": {"a": "é"}, "confidence": 9}'))
    assert verdict.text == '{"a": "é"}'


def test_only_the_json_form_can_be_constrained_to() -> None:
    respond: Any = SelfConfidence(form="json").response_format
    assert respond() == JSON_FORMAT
    assert not hasattr(SelfConfidence(), "response_format")


@given(st.text(max_size=200), st.sampled_from(sorted(FORMS)))
def test_any_text_gets_a_verdict(text: str, form: Any) -> None:
    verdict = judged(SelfConfidence(form=form), Answer(text))
    assert verdict.outcome in ("accepted", "rejected", "abstained")


def tokens(*pieces: tuple[str, float]) -> Answer:
    found = tuple(TokenLogprob(text, math.log(p)) for text, p in pieces)
    return Answer("".join(text for text, _ in pieces), logprobs=found)


PROSE = tokens(
    ("Sure", 0.1), (":\n", 0.1), ("```", 0.1), ("json\n", 0.1), ('{"a"', 0.8), (": 1}", 0.5),
    ("\n```", 0.1), ("\nHope", 0.1), (" so", 0.1),
)  # fmt: skip


@pytest.mark.parametrize(("which", "score"), [("answer", 0.5), ("all", 0.1), (None, 0.5)])
def test_prose_and_fence_are_not_the_answer(which: Any, score: float) -> None:
    verdict = judged(SelfConfidence("logprob", aggregate="min", tokens=which), PROSE)
    assert verdict.score == pytest.approx(score)


def test_a_stated_confidence_is_not_the_answer() -> None:
    answer = tokens(("Pa", 0.9), ("ris", 0.8), ("\nConfidence", 0.1), (": 90", 0.2), ("%", 0.1))
    verdict = judged(SelfConfidence("logprob", aggregate="min"), answer)
    assert verdict.score == pytest.approx(0.8)
    both = SelfConfidence(threshold=0.5) & SelfConfidence("logprob", aggregate="min")
    verdict = judged(both, answer)
    assert verdict.score == pytest.approx(0.8)
    assert verdict.text == "Paris"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Paris", "Paris"),
        ("  Paris\n", "Paris"),
        ('It is {"a": 1}, I think.', '{"a": 1}'),
        ("```sql\nSELECT 1\n```\nThis selects 1.", "SELECT 1"),
        ("SELECT 1:\n```sql\nSELECT 1\n```", "SELECT 1"),
        ('{"a": 1} or {"a": 2}', '{"a": 1} or {"a": 2}'),
        ("Paris\nConfidence: likely", "Paris"),
        ("Paris\n\n**Confidence:** 90%\n", "Paris"),
        ("", ""),
        ("```\n\n```", "```\n\n```"),
    ],
)
def test_where_the_answer_stands(text: str, answer: str) -> None:
    start, end = answer_span(text)
    assert text[start:end] == answer
    if text.startswith("SELECT 1:"):
        assert start > 10


@given(st.text(max_size=100))
def test_the_answer_is_inside_the_text(text: str) -> None:
    start, end = answer_span(text)
    assert 0 <= start <= end <= len(text)


def test_a_quantile_is_a_probability_that_a_token_has() -> None:
    answer = tokens(*(("t", p / 10) for p in range(1, 11)))
    for quantile, score in ((None, 0.1), (0.1, 0.1), (0.11, 0.2), (0.5, 0.5), (0.99, 1.0)):
        verifier = SelfConfidence("logprob", aggregate="quantile", quantile=quantile)
        assert judged(verifier, answer).score == pytest.approx(score)


def test_the_length_normalised_score_does_not_punish_length() -> None:
    for count in (1, 100):
        verdict = judged(SelfConfidence("logprob"), tokens(*[("t", 0.9)] * count))
        assert verdict.score == pytest.approx(0.9)


def test_tokens_that_are_not_the_text() -> None:
    found = (TokenLogprob("\ufffd", -1.0), TokenLogprob("x", -2.0))
    fenced = Answer("é\n```\n1\n```", logprobs=found)
    verdict = judged(SelfConfidence("logprob"), fenced)
    assert (verdict.outcome, verdict.code) == ("abstained", "self_confidence.not_aligned")
    # Where everything counts, it does not matter how it falls into tokens.
    assert judged(SelfConfidence("logprob"), Answer("éx", logprobs=found)).score is not None


def test_tokens_around_the_text_are_left_out() -> None:
    found = [TokenLogprob(t, -1.0) for t in ("<s>", "Pa", "ris", "</s>")]
    assert logs_between(found, "Paris", 0, 5) == [-1.0, -1.0]
    assert logs_between(found, "Lyon", 0, 4) == []


def test_a_calibrator_needs_a_threshold_of_its_own_kind() -> None:
    with pytest.raises(ConfigError, match="min_logprob"):
        SelfConfidence("logprob", min_logprob=-1, calibrator=Platt(1, 0, 10, ""))


@pytest.mark.anyio
@pytest.mark.parametrize("form", ["percent", "json"])
async def test_in_a_call_the_user_sees_no_confidence(form: Any) -> None:
    said = '{"a": 1}'
    sure = (
        json.dumps({"answer": said, "confidence": 90})
        if form == "json"
        else f"{said}\nConfidence: 90%"
    )
    model = ScriptedModel(sure)
    check = SelfConfidence(form=form) & JsonSchema({"type": "object"})
    async with Engine() as engine:
        result = await engine.run(Policy("p", [Tier(model, verify=check)]), "question")
    assert (result.text, result.parsed) == (said, {"a": 1})
    assert model.calls[0].call.request.text.endswith(FORMS[form].instruction)


@pytest.mark.anyio
async def test_in_a_call_logprobs_are_asked_for() -> None:
    found = (TokenLogprob("Pa", -0.1), TokenLogprob("ris", -3.0))
    model = ScriptedModel(Scripted(text="Paris", logprobs=found))
    tier = Tier(model, verify=SelfConfidence("logprob", aggregate="min"), name="small")
    async with Engine() as engine:
        result = await engine.run(Policy("p", [tier, Tier(lambda _: "Lyon")]), "question")
    assert model.calls[0].call.request.params["logprobs"] is True
    assert result.text == "Lyon"
    assert "confidence of 0.0498" in result.attempts[0].reason
