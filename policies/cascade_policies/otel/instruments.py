"""Metrics of calls and attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cascade.records import CallRecord
from cascade.result import Attempt
from cascade_policies.otel import names
from cascade_policies.otel.spans import call_error, clean, is_count

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter


class Instruments:
    """What is counted and measured."""

    def __init__(self, meter: Meter) -> None:
        make = meter.create_histogram
        self._tokens = make(
            names.TOKEN_USAGE,
            unit="{token}",
            description="Tokens that were read and written.",
            explicit_bucket_boundaries_advisory=names.TOKEN_BOUNDS,
        )
        self._duration = make(
            names.OPERATION_DURATION,
            unit="s",
            description="How long attempts took.",
            explicit_bucket_boundaries_advisory=names.DURATION_BOUNDS,
        )
        self._first_chunk = make(
            names.TIME_TO_FIRST_CHUNK,
            unit="s",
            description="How long the first text took.",
            explicit_bucket_boundaries_advisory=names.FIRST_CHUNK_BOUNDS,
        )
        self._call_duration = make(
            names.WORKFLOW_DURATION,
            unit="s",
            description="How long calls took.",
            explicit_bucket_boundaries_advisory=names.DURATION_BOUNDS,
        )
        self._cost = make(
            names.CALL_COST,
            unit="{USD}",
            description="What calls may have cost, where it is known.",
            explicit_bucket_boundaries_advisory=names.COST_BOUNDS,
        )
        self._escalations = meter.create_counter(
            names.CALL_ESCALATIONS,
            unit="{escalation}",
            description="Tiers that were started because those before were out.",
        )

    def call(self, record: CallRecord) -> None:
        """Take note of a call and of its attempts."""
        policy = clean(record.policy)
        said: dict[str, Any] = {names.POLICY: policy}
        if record.cost.high is not None:
            self._cost.record(record.cost.high, said)
        if record.escalations:
            self._escalations.add(record.escalations, said)
        said = {
            names.OPERATION: names.CALL,
            names.WORKFLOW: policy,
            names.POLICY: policy,
            names.OUTCOME: record.outcome,
        }
        if (error := call_error(record)) is not None:
            said[names.ERROR_TYPE] = error
        self._call_duration.record(record.latency, said)
        for attempt in record.attempts:
            self._attempt(policy, attempt)

    def _attempt(self, policy: str, attempt: Attempt) -> None:
        provider, model = names.provider_and_model(attempt.model)
        said: dict[str, Any] = {
            names.OPERATION: names.ATTEMPT,
            names.PROVIDER: clean(provider),
            names.REQUEST_MODEL: clean(model),
            names.POLICY: policy,
            names.TIER: clean(attempt.tier),
        }
        answer = attempt.answer
        if answer is not None and answer.model:
            said[names.RESPONSE_MODEL] = clean(answer.model)
        if attempt.time_to_first_token is not None:
            self._first_chunk.record(attempt.time_to_first_token, said)
        usage = None if answer is None else answer.usage
        if usage is not None:
            for kind, tokens in (("input", usage.input_tokens), ("output", usage.output_tokens)):
                if tokens is not None and is_count(tokens):
                    self._tokens.record(tokens, {**said, names.TOKEN_TYPE: kind})
        said[names.OUTCOME] = attempt.outcome
        if attempt.error is not None:
            said[names.ERROR_TYPE] = type(attempt.error).__name__
        self._duration.record(attempt.latency, said)
