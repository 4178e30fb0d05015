"""The attributes of spans: what is said of a call, of an attempt and of a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from cascade.cost import Cost
from cascade.records import CallRecord
from cascade.result import Attempt
from cascade.types import Answer, Message
from cascade_policies.ledger.redaction import secret_redactor
from cascade_policies.otel import names

MAX_TEXT: Final = 20_000
"""Characters of a prompt or an answer; exporters drop what is much longer."""

MAX_NAME: Final = 200
"""Characters of what a server or a user's function calls things."""

Attributes = dict[str, Any]


class Describer:
    """Makes the attributes of spans.

    Args:
        content: whether prompts, answers and what may quote them are told, with all that looks
            like a secret cut out. Else of reasons and errors there are only the names.
    """

    def __init__(self, *, content: bool) -> None:
        self._redact: Callable[[str], str] | None = secret_redactor() if content else None

    def call(self, record: CallRecord) -> Attributes:
        """Of a call."""
        made: Attributes = {
            names.OPERATION: names.CALL,
            names.WORKFLOW: clean(record.policy),
            names.POLICY: clean(record.policy),
            names.CALL_ID: record.id,
            names.OUTCOME: record.outcome,
            names.ESCALATIONS: record.escalations,
            names.ATTEMPTS: len(record.attempts),
        }
        _add_cost(made, record.cost, names.COST_LOW, names.COST_HIGH)
        made[names.COST_BASIS] = record.cost.basis
        _add_cost(made, record.waste, names.WASTE_LOW, names.WASTE_HIGH)
        result, route = record.result, record.route
        if result is not None:
            made[names.TIER] = clean(result.tier)
        if record.variant:
            made[names.VARIANT] = clean(record.variant)
        if route is not None:
            if route.start is not None:
                made[names.ROUTE_START] = clean(route.start)
            if route.label:
                made[names.ROUTE_LABEL] = clean(route.label)
            made[names.ROUTE_SECONDS] = route.latency
        if (error := call_error(record)) is not None:
            made[names.ERROR_TYPE] = error
        if self._redact is not None:
            made[names.INPUT_MESSAGES] = self._messages(record.request.messages)
            if result is not None:
                made[names.OUTPUT_MESSAGES] = self._answer(result.answer, result.text)
        return made

    def attempt(self, record: CallRecord, attempt: Attempt) -> Attributes:
        """Of an attempt."""
        provider, model = names.provider_and_model(attempt.model)
        made: Attributes = {
            names.OPERATION: names.ATTEMPT,
            names.PROVIDER: clean(provider),
            names.REQUEST_MODEL: clean(model),
            names.POLICY: clean(record.policy),
            names.CALL_ID: record.id,
            names.TIER: clean(attempt.tier),
            names.NUMBER: attempt.number,
            names.KIND: attempt.kind,
            names.MEMBER: attempt.member,
            names.OUTCOME: attempt.outcome,
            names.COST_BASIS: attempt.cost.basis,
        }
        _add_cost(made, attempt.cost, names.COST_LOW, names.COST_HIGH)
        if attempt.waited:
            made[names.WAITED] = attempt.waited
        if attempt.time_to_first_token is not None:
            made[names.FIRST_CHUNK] = attempt.time_to_first_token
        if attempt.error is not None:
            made[names.ERROR_TYPE] = type(attempt.error).__name__
        if attempt.answer is not None:
            self._add_answer(made, attempt.answer)
        return made

    def _add_answer(self, made: Attributes, answer: Answer) -> None:
        for name, value in (
            (names.RESPONSE_MODEL, answer.model),
            (names.RESPONSE_ID, answer.request_id),
        ):
            if value:
                made[name] = clean(value)
        if answer.finish_reason:
            made[names.FINISH_REASONS] = (clean(answer.finish_reason),)
        usage = answer.usage
        if usage is not None:
            for name, tokens in (
                (names.INPUT_TOKENS, usage.input_tokens),
                (names.OUTPUT_TOKENS, usage.output_tokens),
                (names.CACHED_TOKENS, usage.cached_input_tokens),
                (names.REASONING_TOKENS, usage.reasoning_tokens),
            ):
                if is_count(tokens):
                    made[name] = tokens
        if self._redact is not None:
            made[names.OUTPUT_MESSAGES] = self._answer(answer, answer.text)

    def evaluation(self, attempt: Attempt) -> Attributes | None:
        """Of the event of the verdict on an attempt, or None without a verdict."""
        verdict = attempt.verdict
        if verdict is None:
            return None
        made: Attributes = {
            names.EVALUATION_NAME: clean(attempt.verifier or ""),
            names.EVALUATION_LABEL: verdict.outcome,
        }
        if verdict.score is not None:
            made[names.EVALUATION_SCORE] = verdict.score
        if verdict.code:
            made[names.VERDICT_CODE] = clean(verdict.code)
        if explanation := self.words(verdict.reason):
            made[names.EVALUATION_EXPLANATION] = explanation
        if attempt.answer is not None and attempt.answer.request_id:
            made[names.RESPONSE_ID] = clean(attempt.answer.request_id)
        return made

    def words(self, text: str) -> str:
        """A reason or the message of an error; empty without content, as it may quote it."""
        return "" if self._redact is None else clean(self._redact(text[:MAX_TEXT]), MAX_TEXT)

    def _messages(self, messages: tuple[Message, ...]) -> str:
        return _json([self._message(message) for message in messages])

    def _message(self, message: Message) -> Attributes:
        return _spoken(message.role, [_text(self.words(message.text))])

    def _answer(self, answer: Answer, text: str) -> str:
        parts = [_text(self.words(text))] if text else []
        for call in answer.tool_calls:
            parts.append(
                {
                    "type": "tool_call",
                    "id": None if call.id is None else clean(call.id),
                    "name": clean(call.name),
                    "arguments": self.words(call.arguments),
                }
            )
        finish = clean(answer.finish_reason) if answer.finish_reason else "stop"
        return _json([{**_spoken("assistant", parts), "finish_reason": finish}])


def call_error(record: CallRecord) -> str | None:
    """The class of the error that a call raised; None for one that its caller cancelled."""
    if record.error is None or record.outcome == "cancelled":
        return None
    return record.error.partition(":")[0]


def is_count(tokens: int | None) -> bool:
    """Whether a server's number of tokens can be one, and goes into 64 bits."""
    return tokens is not None and 0 <= tokens < 2**63


def clean(text: str, most: int = MAX_NAME) -> str:
    """Text that can be written as UTF-8, of that many characters at most."""
    text = text[:most]
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _add_cost(made: Attributes, cost: Cost, low: str, high: str) -> None:
    """Unknown is left out, and never 0."""
    if cost.low is not None and cost.high is not None:
        made[low] = cost.low
        made[high] = cost.high


def _text(content: str) -> Attributes:
    return {"type": "text", "content": content}


def _spoken(role: str, parts: list[Attributes]) -> Attributes:
    return {"role": role, "parts": parts}


def _json(value: list[Mapping[str, Any]]) -> str:
    return msgspec.json.encode(value).decode()
