"""What the Gemini API says about an error.

The shape is ``google.rpc.Status``, with details such as ``ErrorInfo``, ``RetryInfo`` and
``QuotaFailure``: https://github.com/googleapis/googleapis/blob/master/google/rpc.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from cascade.providers._http_errors import MAX_RETRY_AFTER, ErrorBody, decode_error


@dataclass(frozen=True, slots=True)
class GeminiError(ErrorBody):
    """As `ErrorBody`, with the seconds to wait that ``RetryInfo`` says."""

    retry_after: float | None = None


def read_error(body: bytes) -> GeminiError:
    """The error in a body or an event. What only the details tell becomes a code, and where
    they contradict the status, the status is what they say."""
    said = decode_error(body)
    codes, status, wait = said.codes, said.status, None
    for detail in _details(body):
        reason = detail.get("reason")
        if reason in ("API_KEY_INVALID", "API_KEY_EXPIRED"):  # with status 400
            codes, status = codes | {"invalid_api_key"}, 401
        if _no_more_today(detail):
            codes |= {"insufficient_quota"}
        wait = wait if wait is not None else _seconds(detail.get("retryDelay"))
    return GeminiError(said.message, codes, status, wait)


def _seconds(delay: object) -> float | None:
    """A duration such as ``34.07s``; None when absent or absurd."""
    if not isinstance(delay, str) or not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?s", delay):
        return None
    seconds = float(delay[:-1])
    return seconds if seconds <= MAX_RETRY_AFTER else None


def _no_more_today(detail: Mapping[str, Any]) -> bool:
    """A quota by the day is used up: the delay that comes with it is not enough."""
    violations = detail.get("violations")
    if not isinstance(violations, list):
        return False
    ids = [v.get("quotaId") for v in violations if isinstance(v, Mapping)]
    return any(isinstance(name, str) and "PerDay" in name for name in ids)


def _details(body: bytes) -> Iterator[Mapping[str, Any]]:
    try:
        value = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return
    if isinstance(value, list) and value:
        value = value[0]
    error = value.get("error") if isinstance(value, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict):
            yield detail
