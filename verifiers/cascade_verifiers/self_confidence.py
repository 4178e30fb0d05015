"""`SelfConfidence`: how sure the model is of its own answer, as it says or as its tokens show."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from cascade.errors import ConfigError, nearest
from cascade.types import Answer, Message, Request, TokenLogprob
from cascade.verdict import Verdict
from cascade_verifiers.algebra import Composable

Source = Literal["stated", "logprob"]
Aggregate = Literal["geometric", "mean", "min", "product"]

INSTRUCTION = (
    "After your answer, add one last line that says how likely it is that your answer is "
    "correct, in exactly this form, with a whole number from 0 to 100:\nConfidence: <number>%"
)

# Markdown emphasis around it is let pass; anything else is not the form that was asked for.
_LAST_LINE = re.compile(
    r"[*_]{0,3}confidence[*_]{0,3}:[*_ ]{0,4}(\d{1,3}(?:\.\d{1,6})?) ?%[*_ .]{0,4}", re.IGNORECASE
)

_SCORES: dict[str, Callable[[Sequence[float]], float]] = {
    "geometric": lambda logs: math.exp(math.fsum(logs) / len(logs)),
    "mean": lambda logs: math.fsum(map(math.exp, logs)) / len(logs),
    "min": lambda logs: math.exp(min(logs)),
    "product": lambda logs: math.exp(math.fsum(logs)),
}


class SelfConfidence(Composable):
    """Scores an answer by the model's own confidence, and accepts from a threshold on.

    ``source="stated"`` asks for a last line ``Confidence: 85%``; the user gets the answer
    without it (``text``). ``source="logprob"`` asks for the log-probabilities of the answer's
    tokens. Without a readable confidence it abstains.

    Args:
        source: ``"stated"`` or ``"logprob"``.
        threshold: the score from which it accepts, in [0, 1]; by default 0.5.
        min_logprob: the same as a natural logarithm, 0 or less; with ``logprob`` only.
        aggregate: one number from the tokens' probabilities, with ``logprob`` only:
            ``"geometric"`` mean (the default; the mean log-probability, which does not punish
            long answers), arithmetic ``"mean"``, ``"min"`` (the weakest token) or ``"product"``
            (the whole answer).

    Raises:
        ConfigError: a value is impossible, or would do nothing.
    """

    def __init__(
        self,
        source: Source = "stated",
        *,
        threshold: float | None = None,
        min_logprob: float | None = None,
        aggregate: Aggregate | None = None,
    ) -> None:
        if source not in ("stated", "logprob"):
            raise ConfigError(f"source={source!r}: {nearest(str(source), ('stated', 'logprob'))}")
        if source == "stated":
            for key, value in (("min_logprob", min_logprob), ("aggregate", aggregate)):
                if value is not None:
                    raise ConfigError(f"{key}={value!r}: does nothing without source='logprob'")
        elif aggregate is not None and aggregate not in _SCORES:
            raise ConfigError(f"aggregate={aggregate!r}: {nearest(str(aggregate), _SCORES)}")
        self.source: Source = source
        self.aggregate: Aggregate = aggregate or "geometric"
        self.threshold = _threshold(threshold, min_logprob)

    def prepare(self, request: Request) -> Request:
        """The request, asking for a stated confidence or for log-probabilities."""
        if self.source == "logprob":
            return request.with_params(logprobs=True)
        return _ask_last(request)

    def with_threshold(self, threshold: float) -> SelfConfidence:
        """The same check with another threshold."""
        aggregate = self.aggregate if self.source == "logprob" else None
        return type(self)(self.source, threshold=threshold, aggregate=aggregate)

    def verify(self, request: Request, answer: Answer, /) -> Verdict:
        """The verdict; an abstention where there is no confidence to read."""
        return self._stated(answer) if self.source == "stated" else self._logprob(answer)

    def _stated(self, answer: Answer) -> Verdict:
        body, _, last = answer.text.rstrip().rpartition("\n")
        found = _LAST_LINE.fullmatch(last.strip()) if len(last) < 200 else None
        if found is None or not body.strip():
            reason = "the answer does not end with a line 'Confidence: <number>%' of its own"
            return Verdict.abstain(reason, code="self_confidence.not_stated")
        score = float(found[1]) / 100
        if score > 1:
            reason = f"a confidence of {found[1]}% is none"
            return Verdict.abstain(reason, code="self_confidence.not_stated")
        return self._judge(score, "states", text=body.rstrip())

    def _logprob(self, answer: Answer) -> Verdict:
        logs = _usable(answer.logprobs)
        if not logs:
            reason = "the answer has no log-probabilities: its provider or model does not give them"
            return Verdict.abstain(reason, code="self_confidence.no_logprobs")
        return self._judge(_SCORES[self.aggregate](logs), "shows", text=None)

    def _judge(self, score: float, verb: str, *, text: str | None) -> Verdict:
        if score >= self.threshold:
            return Verdict.accept(score=score, text=text)
        reason = f"the model {verb} a confidence of {score:.3g}, below {self.threshold:.3g}"
        return Verdict.reject(reason, code="self_confidence.low", score=score, text=text)

    def __repr__(self) -> str:
        return f"SelfConfidence({self.source!r}, threshold={self.threshold:.3g})"


def _threshold(threshold: float | None, min_logprob: float | None) -> float:
    if min_logprob is not None:
        if threshold is not None:
            raise ConfigError(f"min_logprob={min_logprob!r}: give this or threshold, not both")
        if not min_logprob <= 0:
            raise ConfigError(f"min_logprob={min_logprob!r}: needs a number of 0 or less")
        return math.exp(min_logprob)
    if threshold is None:
        return 0.5
    if not 0 <= threshold <= 1:
        raise ConfigError(f"threshold={threshold!r}: needs a number in [0, 1]")
    return threshold


def _usable(logprobs: Sequence[TokenLogprob] | None) -> list[float]:
    logs = [token.logprob for token in logprobs or ()]
    if any(math.isnan(log) for log in logs):
        return []
    # Rounding can put a certain token a hair above probability 1.
    return [min(log, 0.0) for log in logs]


def _ask_last(request: Request) -> Request:
    """The instruction at the end of the last user message: where models heed it best."""
    messages = list(request.messages)
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        if message.role == "user":
            messages[index] = _with_instruction(message)
            return replace(request, messages=tuple(messages))
    return replace(request, messages=(*messages, Message("user", INSTRUCTION)))


def _with_instruction(message: Message) -> Message:
    if message.content is None or isinstance(message.content, str):
        return replace(message, content=f"{message.content or ''}\n\n{INSTRUCTION}")
    part = {"type": "text", "text": f"\n\n{INSTRUCTION}"}
    return replace(message, content=(*message.content, part))
