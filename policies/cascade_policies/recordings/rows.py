"""One row of a recording: a prompt, and what each model answered it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, field
from msgspec.structs import asdict

_OUTCOMES: Final = ("accepted", "rejected", "abstained")


class RowError(ValueError):
    """What is wrong with a row; whoever reads the file adds the place."""


class RecordedVerdict(Struct, frozen=True, kw_only=True):
    """What one verifier said of a recorded answer; the fields are those of `cascade.Verdict`."""

    outcome: str
    score: float | None = None
    code: str = ""
    reason: str = ""
    latency: float | None = None
    cost_usd: float | None = None
    cost_low_usd: float | None = None


class RecordedAnswer(Struct, frozen=True, kw_only=True):
    """What one model answered to one prompt.

    Attributes:
        output: text, or whatever the recorder kept of a tool call; None when the call failed.
        correct: true or false, or the quality in [0, 1]; None when it is not known.
        input_tokens, output_tokens: as the provider counted; None when it did not.
        latency: seconds from the call to its last byte.
        time_to_first_token: seconds to the first text.
        cost_usd: US dollars of the call, without its check; the most it may be when not certain.
        cost_low_usd: the least it may be, where that is less than ``cost_usd``.
        finish_reason: as the provider says it.
        error: why there is no output; beside an output it is the recorder's own remark.
        verdicts: by the key that the recording's header has for the verifier.
        samples: further answers to the same prompt.
        repairs: answers after a rejection, with its reason fed back; each follows the one before.
        extra: every other key, as it stood.
    """

    output: Any = None
    correct: bool | float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    latency: float | None = None
    time_to_first_token: float | None = None
    cost_usd: float | None = None
    cost_low_usd: float | None = None
    finish_reason: str | None = None
    error: str | None = None
    verdicts: Mapping[str, RecordedVerdict] = field(default_factory=dict)
    samples: tuple[RecordedAnswer, ...] = ()
    repairs: tuple[RecordedAnswer, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether there was no answer."""
        return self.output is None

    @property
    def quality(self) -> float:
        """``correct`` as a number in [0, 1]; NaN when it is not known."""
        return math.nan if self.correct is None else float(self.correct)


class Row(Struct, frozen=True, kw_only=True):
    """A prompt and its recorded answers.

    Attributes:
        id: unique in the recording.
        prompt: text; None where there are ``messages`` or ``variables`` instead.
        messages: the chat, in the chat-completions shape.
        variables: values of the templates.
        reference: the right answer, in whatever form the scorer takes.
        metadata: what else is known of the prompt.
        models: the answers, by the name of the model or tier.
        extra: every other key, as it stood.
    """

    id: str
    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None
    variables: Mapping[str, Any] | None = None
    reference: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, RecordedAnswer] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


def row_of(data: Mapping[str, Any]) -> Row:
    """A row from the object on its line.

    Raises:
        RowError: a key is missing, or its value is impossible.
    """
    if not isinstance(data.get("id"), str) or not data["id"]:
        raise RowError("id: needs a text that is not empty")
    known = dict(_split(data, Row.__struct_fields__))
    for key, kind, what in _ROW_KINDS:
        if not isinstance(known.get(key), kind | None):
            raise RowError(f"{key}: needs {what}")
    if not isinstance(known.get("models"), dict):
        raise RowError("models: needs an object of model names and their answers")
    if any(not isinstance(message, dict) for message in known.get("messages") or ()):
        raise RowError("messages: needs a list of chat messages")
    known["metadata"] = known.get("metadata") or {}
    known["models"] = {
        name: answer_of(value, f"models[{name!r}]") for name, value in known["models"].items()
    }
    return Row(**known)


_ROW_KINDS: Final[tuple[tuple[str, type, str], ...]] = (
    ("prompt", str, "a text"),
    ("messages", list, "a list of chat messages"),
    ("variables", dict, "an object"),
    ("metadata", dict, "an object"),
)


def answer_of(data: Any, place: str) -> RecordedAnswer:
    """A recorded answer from its object; ``place`` is for messages.

    Raises:
        RowError: a value is impossible.
    """
    if not isinstance(data, dict):
        raise RowError(f"{place}: needs an object")
    known = _split(data, RecordedAnswer.__struct_fields__)
    for key in _NUMBERS:
        if key in known:
            known[key] = _number(known[key], f"{place}.{key}")
    for key in ("input_tokens", "output_tokens"):
        count = known.get(key)
        whole = isinstance(count, int) and not isinstance(count, bool) and count >= 0
        if count is not None and not whole:
            raise RowError(f"{place}.{key}: needs a whole number, 0 or more; got {count!r:.60}")
    for key in ("finish_reason", "error"):
        if not isinstance(known.get(key), str | None):
            raise RowError(f"{place}.{key}: needs a text")
    if not isinstance(known.get("correct"), bool):
        known["correct"] = _unit(known.get("correct"), f"{place}.correct")
    verdicts = known.get("verdicts") or {}
    if not isinstance(verdicts, dict):
        raise RowError(f"{place}.verdicts: needs an object of verifier keys and verdicts")
    known["verdicts"] = {
        key: _verdict(value, f"{place}.verdicts[{key!r}]") for key, value in verdicts.items()
    }
    for key in ("samples", "repairs"):
        known[key] = _answers(known.get(key) or [], f"{place}.{key}")
    return RecordedAnswer(**known)


_NUMBERS: Final = ("latency", "time_to_first_token", "cost_usd", "cost_low_usd")


def _answers(data: Any, place: str) -> tuple[RecordedAnswer, ...]:
    if not isinstance(data, list):
        raise RowError(f"{place}: needs a list of answers")
    if any(isinstance(one, dict) and (one.get("samples") or one.get("repairs")) for one in data):
        raise RowError(f"{place}: an answer in it has samples or repairs of its own")
    return tuple(answer_of(one, f"{place}[{index}]") for index, one in enumerate(data))


def _verdict(data: Any, place: str) -> RecordedVerdict:
    if not isinstance(data, dict) or data.get("outcome") not in _OUTCOMES:
        raise RowError(f"{place}: needs an 'outcome': {', '.join(_OUTCOMES)}")
    known = _split(data, RecordedVerdict.__struct_fields__)
    known.pop("extra", None)
    known["score"] = _unit(known.get("score"), f"{place}.score")
    for key in ("latency", "cost_usd", "cost_low_usd"):
        known[key] = _number(known.get(key), f"{place}.{key}")
    for key in ("code", "reason"):
        known[key] = "" if known.get(key) is None else known[key]
        if not isinstance(known[key], str):
            raise RowError(f"{place}.{key}: needs a text")
    return RecordedVerdict(**known)


def _split(data: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The keys that are known; all others under ``extra``."""
    known = {key: value for key, value in data.items() if key in names and key != "extra"}
    extra = {key: value for key, value in data.items() if key not in names or key == "extra"}
    return {**known, "extra": extra} if extra else known


def _number(value: Any, place: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise RowError(f"{place}: needs a number, 0 or more; got {value!r:.60}")
    return float(value)


def _unit(value: Any, place: str) -> float | None:
    number = _number(value, place)
    if number is not None and number > 1:
        raise RowError(f"{place}: needs a number in [0, 1]; got {value!r:.60}")
    return number


def shape(value: Row | RecordedAnswer | RecordedVerdict) -> dict[str, Any]:
    """The object for the file: what is known, without what is empty."""
    told = asdict(value)
    extra = told.pop("extra", {})
    if isinstance(value, Row):
        told["models"] = {name: shape(answer) for name, answer in value.models.items()}
    elif isinstance(value, RecordedAnswer):
        told["verdicts"] = {key: shape(verdict) for key, verdict in value.verdicts.items()}
        for key in ("samples", "repairs"):
            told[key] = [shape(one) for one in getattr(value, key)]
    kept = {key: one for key, one in told.items() if one is not None and one not in ("", {}, [])}
    for key in ("output", "reference", "prompt"):  # an empty answer is an answer
        if told.get(key) is not None:
            kept[key] = told[key]
    if isinstance(value, Row):
        kept.setdefault("models", {})
    return {**kept, **extra}
