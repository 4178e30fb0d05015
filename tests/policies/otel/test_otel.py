"""What OpenTelemetry is told of calls, on both event loops."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from benchmarks.ledger_calls import call
from cascade import (
    Answer,
    CascadeExhausted,
    Cost,
    Engine,
    MissingExtraError,
    Policy,
    Price,
    RateLimitError,
    Tier,
    Usage,
    Verdict,
)
from cascade.records import CallRecord
from cascade.testing import Scripted, ScriptedModel
from cascade_policies.otel import OpenTelemetry
from cascade_policies.otel.names import provider_and_model, runs_here

SECRET = "sk-abcdefghijklmnop1234"


class Told:
    """An observer, and what it told."""

    def __init__(self, **settings: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.observer = OpenTelemetry(self.tracers, MeterProvider([self.reader]), **settings)
        self.records: list[CallRecord] = []

    def call_finished(self, record: CallRecord, /) -> None:
        self.records.append(record)
        self.observer.call_finished(record)

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        """In the order in which they ended: attempts before their call."""
        return self.exporter.get_finished_spans()

    def points(self) -> dict[str, list[tuple[dict[str, Any], float]]]:
        """By metric: attributes, and the sum."""
        data = self.reader.get_metrics_data()
        assert data is not None
        return {
            metric.name: [
                (dict(point.attributes or {}), getattr(point, "sum", None) or point.value)  # type: ignore[union-attr]  # a histogram has a sum, a counter a value
                for point in metric.data.data_points
            ]
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def check(answer: Answer) -> Verdict:
    if answer.text == "right":
        return Verdict.accept(score=0.9)
    return Verdict.reject(f"{answer.text!r} is wrong", code="test.wrong", score=0.2)


def tier(name: str, *steps: Scripted, **settings: Any) -> Tier:
    price = Price(input=0.0, output=1_000.0)
    model = ScriptedModel(*steps, name=name)
    return Tier(model, name=name, verify=check, price=price, retries=0, **settings)


def step(text: str, **settings: Any) -> Scripted:
    return Scripted(text=text, usage=Usage(7, 4), **settings)


def ladder(*, last: str = "right") -> Policy:
    return Policy("ladder", [tier("small", step("wrong")), tier("large", step(last))])


async def run(told: Told, policy: Policy, prompt: str = "which?") -> None:
    async with Engine(observers=[told]) as engine:
        await engine.run(policy, prompt)


@pytest.mark.anyio
class TestSpans:
    async def test_a_call_and_its_attempts(self) -> None:
        told = Told()
        await run(told, ladder())
        small, large, whole = told.spans
        [record] = told.records
        assert [span.name for span in told.spans] == [
            "chat small",
            "chat large",
            "invoke_workflow ladder",
        ]
        assert whole.context is not None
        for span in (small, large):
            assert span.parent is not None
            assert span.parent.span_id == whole.context.span_id
        assert whole.parent is None
        expected = {
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.workflow.name": "ladder",
            "cascade.policy": "ladder",
            "cascade.call.id": record.id,
            "cascade.outcome": "accepted",
            "cascade.escalations": 1,
            "cascade.attempts": 2,
            "cascade.tier": "large",
            "cascade.cost.low": pytest.approx(0.008),
            "cascade.cost.high": pytest.approx(0.008),
            "cascade.cost.basis": "reported",
            "cascade.waste.low": pytest.approx(0.004),
            "cascade.waste.high": pytest.approx(0.004),
        }
        assert attributes(whole) == expected
        said = attributes(small)
        assert said["gen_ai.operation.name"] == "chat"
        assert said["gen_ai.request.model"] == "small"
        assert (said["gen_ai.usage.input_tokens"], said["gen_ai.usage.output_tokens"]) == (7, 4)
        assert (said["cascade.tier"], said["cascade.outcome"]) == ("small", "rejected")
        assert said["cascade.attempt.kind"] == "first"
        assert small.status.status_code is StatusCode.UNSET, "a rejection is no error"

    async def test_times_are_those_of_the_call(self) -> None:
        told = Told()
        await run(told, ladder())
        small, large, whole = told.spans
        [record] = told.records
        for span, began, latency in (
            (whole, 0.0, record.latency),
            *(
                (s, a.started, a.latency)
                for s, a in zip((small, large), record.attempts, strict=True)
            ),
        ):
            assert span.start_time is not None
            assert span.end_time is not None
            assert abs(span.start_time / 1e9 - record.began - began) < 1e-5
            assert abs((span.end_time - span.start_time) / 1e9 - latency) < 1e-5
        assert whole.start_time is not None
        assert small.end_time is not None
        assert large.start_time is not None
        assert whole.start_time <= small.end_time <= large.start_time + 10_000

    async def test_the_span_around_the_call_is_the_parent(self) -> None:
        told = Told()
        tracer = told.tracers.get_tracer("application")

        async def handle(name: str) -> None:
            with tracer.start_as_current_span(name):
                await engine.run(ladder(), "which?")

        async with Engine(observers=[told]) as engine, anyio.create_task_group() as group:
            group.start_soon(handle, "one")
            group.start_soon(handle, "two")
        by_id = {span.context.span_id: span for span in told.spans if span.context is not None}
        calls = [span for span in told.spans if span.name.startswith("invoke_workflow")]
        parents = [by_id[span.parent.span_id].name for span in calls if span.parent is not None]
        assert sorted(parents) == ["one", "two"]

    async def test_a_verdict_is_an_event(self) -> None:
        told = Told()
        await run(told, ladder())
        small, large, _ = told.spans
        [event] = small.events
        assert event.name == "gen_ai.evaluation.result"
        assert dict(event.attributes or {}) == {
            "gen_ai.evaluation.name": "check",
            "gen_ai.evaluation.score.label": "rejected",
            "gen_ai.evaluation.score.value": 0.2,
            "cascade.verdict.code": "test.wrong",
        }
        assert event.timestamp == small.end_time
        assert dict(large.events[0].attributes or {})["gen_ai.evaluation.score.label"] == "accepted"

    async def test_errors(self) -> None:
        told = Told()
        failing = tier("small", Scripted(error=RateLimitError("slow down", status=429)))
        with pytest.raises(CascadeExhausted):
            await run(told, Policy("p", [failing]))
        attempt, whole = told.spans
        for span, error in ((attempt, "RateLimitError"), (whole, "CascadeExhausted")):
            assert span.status.status_code is StatusCode.ERROR
            assert span.status.description is None, "its message may quote the prompt"
            assert attributes(span)["error.type"] == error
        assert attributes(whole)["cascade.outcome"] == "exhausted"

    async def test_a_cancelled_call_is_no_error(self) -> None:
        told = Told()
        async with Engine(observers=[told]) as engine:
            with anyio.CancelScope() as scope:
                slow = tier("small", step("right", delay=60.0))
                scope.deadline = anyio.current_time() + 0.01
                await engine.run(Policy("p", [slow]), "which?")
        whole = told.spans[-1]
        assert attributes(whole)["cascade.outcome"] == "cancelled"
        assert "error.type" not in attributes(whole)
        assert whole.status.status_code is StatusCode.UNSET


@pytest.mark.anyio
class TestContent:
    async def test_no_text_unless_asked_for(self) -> None:
        told = Told()
        with pytest.raises(CascadeExhausted):
            await run(told, ladder(last="abracadabra"), "hocus pocus")
        shown = " ".join(span.to_json() for span in told.spans)
        assert "abracadabra" not in shown
        assert "hocus" not in shown

    async def test_texts_without_secrets(self) -> None:
        told = Told(content=True)
        await run(told, ladder(), f"my key is {SECRET}")
        small, _, whole = told.spans
        assert json.loads(attributes(whole)["gen_ai.input.messages"]) == [
            {"role": "user", "parts": [{"type": "text", "content": "my key is [redacted]"}]}
        ]
        [answer] = json.loads(attributes(whole)["gen_ai.output.messages"])
        assert answer["parts"] == [{"type": "text", "content": "right"}]
        [event] = small.events
        assert dict(event.attributes or {})["gen_ai.evaluation.explanation"] == "'wrong' is wrong"
        assert SECRET not in "".join(span.to_json() for span in told.spans)

    async def test_long_texts_are_cut(self) -> None:
        told = Told(content=True)
        await run(told, ladder(), "x" * 1_000_000)
        assert len(attributes(told.spans[-1])["gen_ai.input.messages"]) < 30_000


@pytest.mark.anyio
async def test_metrics() -> None:
    told = Told()
    await run(told, ladder())
    points = told.points()
    assert set(points) == {
        "gen_ai.client.token.usage",
        "gen_ai.client.operation.duration",
        "gen_ai.client.operation.time_to_first_chunk",
        "gen_ai.workflow.duration",
        "cascade.call.cost",
        "cascade.call.escalations",
    }
    tokens = {
        (said["gen_ai.request.model"], said["gen_ai.token.type"]): count
        for said, count in points["gen_ai.client.token.usage"]
    }
    assert tokens == {
        ("small", "input"): 7,
        ("small", "output"): 4,
        ("large", "input"): 7,
        ("large", "output"): 4,
    }
    assert points["cascade.call.escalations"] == [({"cascade.policy": "ladder"}, 1)]
    [(_, cost)] = points["cascade.call.cost"]
    assert cost == pytest.approx(0.008)
    outcomes = {said["cascade.outcome"] for said, _ in points["gen_ai.client.operation.duration"]}
    assert outcomes == {"rejected", "accepted"}


def test_first_chunk_and_provider_of_a_streamed_answer() -> None:
    told = Told()
    told.call_finished(call(1))
    [(said, seconds)] = told.points()["gen_ai.client.operation.time_to_first_chunk"]
    assert seconds == pytest.approx(0.1)
    assert said["gen_ai.provider.name"] == "openai"
    attempt = told.spans[0]
    assert attempt.kind is SpanKind.CLIENT
    assert attributes(attempt) | {
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "small",
        "gen_ai.response.model": "small-2026",
        "gen_ai.response.id": "req_1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": 0.1,
    } == attributes(attempt)


def test_an_unknown_cost_is_left_out() -> None:
    told, record, unknown = Told(), call(1), Cost.unknown()
    [attempt] = record.attempts
    attempts = (replace(attempt, cost=unknown),)
    told.call_finished(replace(record, cost=unknown, waste=unknown, attempts=attempts))
    for span in told.spans:
        assert not {"cascade.cost.low", "cascade.waste.high"} & attributes(span).keys()
    assert "cascade.call.cost" not in told.points()


def test_a_call_that_the_sampler_leaves_out_has_no_spans() -> None:
    exporter = InMemorySpanExporter()
    tracers = TracerProvider(sampler=ALWAYS_OFF)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    OpenTelemetry(tracers).call_finished(call(4))
    assert exporter.get_finished_spans() == ()


def test_without_an_sdk_nothing_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    observer = OpenTelemetry(trace.NoOpTracerProvider())
    monkeypatch.setattr("cascade_policies.otel.spans.Describer.call", None)
    observer.call_finished(call(4))


@given(name=st.text(min_size=1), tokens=st.integers(), reason=st.text())
def test_what_a_server_says_can_be_exported(name: str, tokens: int, reason: str) -> None:
    """Surrogates and numbers beyond 64 bits would lose the whole batch in an exporter."""
    record = call(1)
    [attempt] = record.attempts
    answer = Answer("x", (), name, Usage(tokens, tokens), None, name, request_id=name)
    changed = replace(attempt, answer=answer, verdict=Verdict.reject(reason, code=name))
    told = Told(content=True)
    told.call_finished(replace(record, attempts=(changed,), policy=name))
    for span in told.spans:
        for value in attributes(span).values():
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, str):
                    part.encode()
                if isinstance(part, int):
                    assert 0 <= part < 2**63


@pytest.mark.parametrize(
    ("name", "provider", "model", "here"),
    [
        ("openai:gpt-5", "openai", "gpt-5", False),
        ("openai-responses:gpt-5", "openai", "gpt-5", False),
        ("gemini:gemini-3-pro", "gcp.gemini", "gemini-3-pro", False),
        ("ollama:qwen3:8b", "ollama", "qwen3:8b", False),
        ("local:smollm2-135m", "local", "smollm2-135m", True),
        ("lookup", "cascade", "lookup", True),
    ],
)
def test_providers(name: str, provider: str, model: str, here: bool) -> None:
    assert provider_and_model(name) == (provider, model)
    assert runs_here(name) is here


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cascade-engine\[otel\]'"):
        OpenTelemetry()
