"""What a provider's headers say of its rate limits. They are a server's words: anything at all.

OpenAI's are ``x-ratelimit-limit-requests`` and so on, with a reset like ``6m0s``, and so are those
of Groq; Azure's are some of them (https://platform.openai.com/docs/guides/rate-limits). Anthropic's
are ``anthropic-ratelimit-requests-limit`` and so on, with a reset in RFC 3339; its tokens are those
of the limit that is nearest (https://platform.claude.com/docs/en/api/rate-limits). Gemini and
Ollama send none.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from cascade.transport import Headers
from cascade.types import RateLimits

Names = Sequence[str]
"""The headers for `RateLimits`, in the order of its fields."""

OPENAI: Final[Names] = tuple(
    f"x-ratelimit-{what}-{of}"
    for of in ("requests", "tokens")
    for what in ("limit", "remaining", "reset")
)
ANTHROPIC: Final[Names] = tuple(
    f"anthropic-ratelimit-{of}-{what}"
    for of in ("requests", "tokens")
    for what in ("limit", "remaining", "reset")
)

MAX_COUNT: Final = 10**15
MAX_RESET: Final = 31 * 86_400.0
"""Bounds of what is believed; the longest period of a limit is a month."""

_LONGEST = 40  # characters of a value that is looked at

# As Go writes a duration, which is how OpenAI and Groq write theirs: 20ms, 7.66s, 2m59.56s, 1h0m5s.
_DURATION: Final = re.compile(
    r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s)?"
    r"(?:(\d{1,9}(?:\.\d{1,9})?)ms)?",
    re.ASCII,
)
_UNITS: Final = (86_400.0, 3_600.0, 60.0, 1.0, 0.001)
_NUMBER: Final = re.compile(r"\d{1,10}(?:\.\d{1,9})?", re.ASCII)


def rate_limits(headers: Headers, names: Names) -> RateLimits | None:
    """What the headers say; None when they say nothing.

    Whoever sends any of them sends what remains, so that two look-ups tell that there are none.
    """
    get = headers.get
    requests, tokens = get(names[1]), get(names[4])
    if requests is None and tokens is None:
        return None
    found = RateLimits(
        _count(get(names[0])),
        _count(requests),
        _seconds(get(names[2])),
        _count(get(names[3])),
        _count(tokens),
        _seconds(get(names[5])),
    )
    return None if found == _NOTHING else found


_NOTHING: Final = RateLimits()


def _count(value: str | None) -> int | None:
    if not value or len(value) > _LONGEST:
        return None
    value = value.strip()
    if not (value.isascii() and value.isdigit()):
        return None
    count = int(value)
    return count if count <= MAX_COUNT else None


def _seconds(value: str | None) -> float | None:
    if not value or len(value) > _LONGEST:
        return None
    value = value.strip()
    seconds = _duration(value)
    if seconds is None:
        seconds = _until(value)
    return seconds if seconds is not None and seconds <= MAX_RESET else None


def _duration(value: str) -> float | None:
    if _NUMBER.fullmatch(value):
        return float(value)
    found = _DURATION.fullmatch(value)
    if found is None or not value:
        return None
    return sum(float(part) * unit for part, unit in zip(found.groups("0"), _UNITS, strict=True))


def _until(value: str) -> float | None:
    try:
        then = datetime.fromisoformat(value)
        then = then if then.tzinfo else then.replace(tzinfo=UTC)
        return max(0.0, then.timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
