"""What `Learned` looks at in an answer: a fixed list of numbers, from text any model can write.

Changing what a feature means, or their order, needs a new `VERSION`: a fitted model is no good
with other features, and is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from hashlib import blake2b
from zlib import crc32

from cascade.types import Answer, Request
from cascade_verifiers.answer_tokens import all_logs, answer_span, logs_between
from cascade_verifiers.extract import fences
from cascade_verifiers.stated import whole_json

VERSION = 1

BUCKETS = 256
"""Hash buckets for the character n-grams."""

MAX_CHARS = 20_000
"""Characters of an answer (and of a prompt) that are looked at, so that time is bounded."""

_GRAM = 3

NAMES = (
    "log_chars",
    "log_words",
    "log_lines",
    "log_numbers",
    "log_prompt_chars",
    "digit_share",
    "upper_share",
    "punctuation_share",
    "non_ascii_share",
    "distinct_word_share",
    "ends_a_sentence",
    "fence",
    "json",
    "refusal_words",
    "hedging_words",
    "equations_right",
    "equations_wrong",
    "finish_stop",
    "finish_length",
    "tool_calls",
    "prompt_word_share",
    "prompt_number_share",
    "prompt_numbers_used",
)
LOGPROB_NAMES = ("logprob_mean", "logprob_min", "logprob_tenth", "logprob_doubtful")

_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
_REFUSAL = re.compile(r"\b(?:sorry|cannot|can't|unable|apologi[sz]e|as an ai)\b", re.IGNORECASE)
_HEDGE = re.compile(
    r"\b(?:maybe|perhaps|probably|might|unclear|assum\w{1,8}|not sure|however|wait)\b",
    re.IGNORECASE,
)
# Bounded, and begun only where a number begins: else a long one is tried from each of its digits.
_TERM = r"\$?(\d{1,9}(?:,\d{3}){0,4}(?:\.\d{1,6})?)"
_EQUATION = re.compile(
    rf"(?<!\d)(?<!\d[.,]){_TERM} ?([-+*/x×÷]) ?{_TERM} ?= ?{_TERM}"  # noqa: RUF001
    r"(?![\d.,]*\d| ?[-+*/x×÷%])"  # noqa: RUF001
)


def names(*, logprobs: bool) -> tuple[str, ...]:
    """The features by name, in their order."""
    grams = tuple(f"gram_{index}" for index in range(BUCKETS))
    return (*NAMES, *(LOGPROB_NAMES if logprobs else ()), *grams)


def names_hash(*, logprobs: bool) -> str:
    """A hash of version, names and sizes, by which a fitted model knows its features."""
    text = repr((VERSION, names(logprobs=logprobs), _GRAM, MAX_CHARS))
    return blake2b(text.encode(), digest_size=8).hexdigest()


def features(request: Request, answer: Answer, *, logprobs: bool) -> list[float] | None:
    """The numbers for one answer; None when ``logprobs`` are asked for and it has none."""
    text = answer.text[:MAX_CHARS]
    shown: list[float] = []
    if logprobs:
        found = _logprob_numbers(answer)
        if found is None:
            return None
        shown = found
    return [*_numbers(request, answer, text), *shown, *grams(text)]


def _numbers(request: Request, answer: Answer, text: str) -> list[float]:
    prompt = request.text[-MAX_CHARS:]
    chars = max(len(text), 1)
    words = [word.lower() for word in _WORD.findall(text)]
    numbers = [number.replace(",", "") for number in _NUMBER.findall(text)]
    prompt_words = {word.lower() for word in _WORD.findall(prompt)}
    prompt_numbers = {number.replace(",", "") for number in _NUMBER.findall(prompt)}
    right, wrong = _equations(text)
    return [
        math.log1p(len(answer.text)),
        math.log1p(len(words)),
        math.log1p(text.count("\n")),
        math.log1p(len(numbers)),
        math.log1p(len(request.text)),
        sum(map(str.isdigit, text)) / chars,
        sum(map(str.isupper, text)) / chars,
        sum(not char.isalnum() and not char.isspace() for char in text) / chars,
        sum(char > "\x7f" for char in text) / chars,
        len(set(words)) / max(len(words), 1),
        float(text.rstrip()[-1:] in tuple(".!?}])`\"'")),
        float(len(fences(text)) == 1),
        float(whole_json(text) is not None),
        math.log1p(len(_REFUSAL.findall(text))),
        math.log1p(len(_HEDGE.findall(text))),
        math.log1p(right),
        math.log1p(wrong),
        float(answer.finish_reason == "stop"),
        float(answer.finish_reason == "length"),
        math.log1p(len(answer.tool_calls)),
        sum(word in prompt_words for word in words) / max(len(words), 1),
        sum(number in prompt_numbers for number in numbers) / max(len(numbers), 1),
        len(prompt_numbers.intersection(numbers)) / max(len(prompt_numbers), 1),
    ]


def _equations(text: str) -> tuple[int, int]:
    """How many sums of two numbers written out in the text are right, and how many wrong."""
    right = wrong = 0
    for left, sign, other, stated in _EQUATION.findall(text):
        a, b, c = (float(term.replace(",", "")) for term in (left, other, stated))
        if sign in "/÷":
            value = a / b if b else math.inf
        else:
            value = a + b if sign == "+" else a - b if sign == "-" else a * b
        # A result may be rounded to whole cents.
        if abs(value - c) <= max(0.01, 1e-4 * abs(c)):
            right += 1
        else:
            wrong += 1
    return right, wrong


def _logprob_numbers(answer: Answer) -> list[float] | None:
    logs = logs_between(answer.logprobs, answer.text, *answer_span(answer.text))
    logs = logs or all_logs(answer.logprobs)
    if not logs:
        return None
    # Bounded, as minus infinity has no place in a sum.
    bounded = sorted(max(log, -20.0) for log in logs)
    return [
        math.fsum(bounded) / len(bounded),
        bounded[0],
        bounded[len(bounded) // 10],
        sum(log < math.log(0.5) for log in bounded) / len(bounded),
    ]


def grams(text: str) -> Sequence[float]:
    """The text's character n-grams, hashed into `BUCKETS`: the same numbers on any machine."""
    counts = [0] * BUCKETS
    data = text.lower().encode(errors="replace")
    for start in range(len(data) - _GRAM + 1):
        counts[crc32(data[start : start + _GRAM]) % BUCKETS] += 1
    # The square root of a share: so that long texts and frequent n-grams do not drown the others.
    total = max(sum(counts), 1)
    return [math.sqrt(count / total) for count in counts]
