"""Which of a model's tokens are its answer, and one number from their probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

from cascade.types import TokenLogprob
from cascade_verifiers.extract import fences, json_text
from cascade_verifiers.stated import without_confidence

Aggregate = Literal["geometric", "mean", "min", "product", "quantile"]

MAX_CHARS = 250_000
"""Of longer answers everything is the answer."""

AGGREGATES = ("geometric", "mean", "min", "product", "quantile")


def aggregate(logs: Sequence[float], how: Aggregate, quantile: float) -> float:
    """One number in [0, 1] from at least one log-probability."""
    score = _SCORES[how] if how != "quantile" else lambda found: _quantile(found, quantile)
    return score(logs)


_SCORES: dict[str, Callable[[Sequence[float]], float]] = {
    "geometric": lambda logs: math.exp(math.fsum(logs) / len(logs)),
    "mean": lambda logs: math.fsum(map(math.exp, logs)) / len(logs),
    "min": lambda logs: math.exp(min(logs)),
    "product": lambda logs: math.exp(math.fsum(logs)),
}


def _quantile(logs: Sequence[float], quantile: float) -> float:
    # The nearest rank from below: a probability that one of the tokens really has.
    rank = max(math.ceil(quantile * len(logs)) - 1, 0)
    return math.exp(sorted(logs)[rank])


def answer_span(text: str) -> tuple[int, int]:
    """Where in ``text`` the answer itself stands.

    What is in the only code fence, or the only JSON in prose; else all of it, without the white
    space around and without a last line that states a confidence.
    """
    body = without_confidence(text)
    whole = body.strip()
    start = body.find(whole)
    if len(whole) > MAX_CHARS:
        return start, start + len(whole)
    fenced = fences(whole)
    found = fenced[0] if len(fenced) == 1 else json_text(whole, "embedded")
    if not found:
        return start, start + len(whole)
    # The answer may quote before the fence what it has in it.
    begin = body.find(found, max(_first_fence(body), 0) if fenced else 0)
    return (begin, begin + len(found)) if begin >= 0 else (start, start + len(whole))


def _first_fence(text: str) -> int:
    places = [place for mark in ("```", "~~~") if (place := text.find(mark)) >= 0]
    return min(places, default=0)


def logs_between(
    logprobs: Sequence[TokenLogprob] | None, text: str, start: int, end: int
) -> list[float]:
    """The log-probabilities of the tokens that have a character of ``text[start:end]``.

    Empty where there are none, where one is not a number, and where the tokens, put together,
    are not the text: then nobody can say which of them are meant.
    """
    tokens = logprobs or ()
    if any(math.isnan(token.logprob) for token in tokens):
        return []
    # A provider may report tokens that it leaves out of the text, such as the one that ends it.
    position = -"".join(token.token for token in tokens).find(text)
    if position > 0:
        return []
    found: list[float] = []
    for token in tokens:
        after = position + len(token.token)
        if position < end and after > start:
            # Rounding can put a certain token a hair above probability 1.
            found.append(min(token.logprob, 0.0))
        position = after
    return found


def all_logs(logprobs: Sequence[TokenLogprob] | None) -> list[float]:
    """Every token's log-probability; empty where one is not a number."""
    logs = [token.logprob for token in logprobs or ()]
    return [] if any(map(math.isnan, logs)) else [min(log, 0.0) for log in logs]
