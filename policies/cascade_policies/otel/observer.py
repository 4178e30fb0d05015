"""`OpenTelemetry`: spans and metrics of every call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cascade.errors import MissingExtraError
from cascade.records import CallRecord
from cascade.result import Attempt
from cascade_policies.otel import names
from cascade_policies.otel.instruments import Instruments
from cascade_policies.otel.spans import Describer, call_error, clean

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

_NANO = 1_000_000_000


class OpenTelemetry:
    """An `Observer` that makes spans and metrics of finished calls.

    A call is a span ``invoke_workflow POLICY``, child of the span that is current in the caller's
    task, and each attempt a span ``chat MODEL`` within it, both with their true times although
    they are made when the call is over. A verdict is the event ``gen_ai.evaluation.result`` of its
    attempt. Where no SDK is set up, or the sampler leaves a call out, no attribute is put together.

    Args:
        tracer_provider: by default the global one, even when that is set later.
        meter_provider: likewise.
        content: whether prompts and answers are told, and what may quote them: the reasons of
            verdicts and the messages of errors. What looks like a secret is cut out of them.

    Raises:
        MissingExtraError: opentelemetry-api is not installed.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        *,
        content: bool = False,
    ) -> None:
        try:
            from opentelemetry import context, metrics, trace
        except ImportError:
            raise MissingExtraError("OpenTelemetry", extra="otel") from None
        self._trace = trace
        self._current = context.get_current
        self._tracer = trace.get_tracer(names.SCOPE, tracer_provider=tracer_provider)
        self._instruments = Instruments(
            metrics.get_meter(names.SCOPE, meter_provider=meter_provider)
        )
        self._describe = Describer(content=content)

    def call_finished(self, record: CallRecord, /) -> None:
        """Take note of a call; see `Observer`."""
        self._instruments.call(record)
        around = self._current()
        span = self._tracer.start_span(
            f"{names.CALL} {clean(record.policy)}",
            context=around,
            kind=self._trace.SpanKind.INTERNAL,
            start_time=int(record.began * _NANO),
        )
        if not span.is_recording():
            return
        span.set_attributes(self._describe.call(record))
        inside = self._trace.set_span_in_context(span, around)
        for attempt in record.attempts:
            self._attempt(record, attempt, inside)
        if call_error(record) is not None:
            words = self._describe.words(record.error or "")
            span.set_status(self._trace.StatusCode.ERROR, words or None)
        span.end(int((record.began + record.latency) * _NANO))

    def _attempt(self, record: CallRecord, attempt: Attempt, inside: Context) -> None:
        began = record.began + attempt.started
        ended = int((began + attempt.latency) * _NANO)
        kind = self._trace.SpanKind
        span = self._tracer.start_span(
            f"{names.ATTEMPT} {clean(names.provider_and_model(attempt.model)[1])}",
            context=inside,
            kind=kind.INTERNAL if names.runs_here(attempt.model) else kind.CLIENT,
            attributes=self._describe.attempt(record, attempt),
            start_time=int(began * _NANO),
        )
        evaluation = self._describe.evaluation(attempt)
        if evaluation is not None:
            span.add_event(names.EVALUATION, evaluation, timestamp=ended)
        if attempt.error is not None:
            words = self._describe.words(attempt.error.message)
            span.set_status(self._trace.StatusCode.ERROR, words or None)
        span.end(ended)
