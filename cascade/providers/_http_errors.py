"""What went wrong on the wire, as this project's errors. Shared by all HTTP wire formats."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec

from cascade import errors
from cascade.errors import APIResponseError, APIStatusError, ProviderError
from cascade.transport import Headers

MAX_MESSAGE: Final = 500
MAX_RETRY_AFTER: Final = 86_400.0

_BY_STATUS: Mapping[int, type[APIStatusError]] = {
    400: errors.BadRequestError,
    401: errors.AuthenticationError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    408: errors.RequestTimeoutError,
    409: errors.ConflictError,
    413: errors.BadRequestError,
    422: errors.UnprocessableEntityError,
    429: errors.RateLimitError,
    503: errors.OverloadedError,
    529: errors.OverloadedError,
}

# What servers write into ``code`` or ``type`` when the HTTP status is 200 already.
_STATUS_BY_CODE: Mapping[str, int] = {
    "api_error": 500,
    "authentication_error": 401,
    "badrequesterror": 400,
    "billing_error": 402,
    "context_length_exceeded": 400,
    "exceed_context_size_error": 400,
    "engine_overloaded_error": 503,
    "insufficient_quota": 429,
    "internal_error": 500,
    "internal_server_error": 500,
    "internalservererror": 500,
    "invalid_api_key": 401,
    "invalid_request_error": 400,
    "model_not_found": 404,
    "not_found_error": 404,
    "notfounderror": 404,
    "overloaded_error": 529,
    "permission_error": 403,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "server_error": 500,
    "service_unavailable": 503,
    "timeout": 408,
    "timeout_error": 408,
    "unavailable_error": 503,
    # Google's, https://cloud.google.com/apis/design/errors#handling_errors
    "deadline_exceeded": 504,
    "failed_precondition": 400,
    "internal": 500,
    "invalid_argument": 400,
    "not_found": 404,
    "permission_denied": 403,
    "resource_exhausted": 429,
    "unauthenticated": 401,
    "unavailable": 503,
}

_CONTEXT_CODES = {"context_length_exceeded", "exceed_context_size_error"}
_CONTENT_CODES = {"content_filter", "content_policy_violation"}
_KEY_CODES = {"invalid_api_key"}
_NO_CREDIT_CODES = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}

# OpenAI and vLLM before 0.16 "maximum context length", vLLM "the model's context length" and
# "maximum model length", llama.cpp "exceeds the available context size" (400) and "Context size
# has been exceeded" (500), llama-cpp-python "exceed context window", Anthropic "prompt is too
# long", Gemini "input token count (…) exceeds the maximum number of tokens".
_CONTEXT_TEXT = re.compile(
    r"context length|maximum model length|available context size"
    r"|context size has been exceeded|exceeds? (?:the )?context (?:window|size)"
    r"|prompt is too long|input token count.{0,40}exceeds the maximum",
    re.IGNORECASE,
)
_CONTEXT_STATUSES = {400, 413, 422, 500}

_REDACTED = "[redacted]"
# Keys other than ours, or ours with a part of it hidden. What begins like one is often a plain word
# ("Bearer auth", "sk-learn"), so it needs a digit, what hides a part, or the length of no word.
_KEY_LIKE = re.compile(
    r"\b(?:sk|pk|rk)-(?=[a-z_-]{0,64}(?:[\d*]|\.\.)|[\w*.-]{20})[\w*.-]{6,}"
    r"|\bkey-(?=[a-z_]{0,64}[\d*])[\w*]{8,}"
    r"|\b(?:gsk|hf|xai|pplx)[_-][\w*-]{16,}|\bAIza[\w*-]{16,}"
    r"|(?<=\bBearer\s)\s*(?=[^\s\"'\d*]{0,64}[\d*]|[^\s\"']{24})[^\s\"']{8,}",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What a server says about an error, whichever shape it says it in."""

    message: str = ""
    codes: frozenset[str] = frozenset()
    status: int | None = None


def parse_error(value: object) -> ErrorBody:
    """The parts of an error object, of the body around it, or of plain text."""
    if isinstance(value, list) and value:  # Gemini's compatible endpoint wraps it in a list
        value = value[0]
    if not isinstance(value, Mapping):
        return ErrorBody(value if isinstance(value, str) else "")
    inner = value.get("error")
    if isinstance(inner, str):
        return ErrorBody(inner)
    found: Mapping[Any, Any] = inner if isinstance(inner, Mapping) else value
    said = [found.get(key) for key in ("code", "type", "status")]
    codes = frozenset(code.lower() for code in said if isinstance(code, str))
    numbers = [code for code in said if type(code) is int and 400 <= code <= 599]
    numbers += [int(code) for code in codes if re.fullmatch("[45][0-9][0-9]", code)]
    named = [_STATUS_BY_CODE[code] for code in sorted(codes) if code in _STATUS_BY_CODE]
    return ErrorBody(_message(found), codes, next(iter([*numbers, *named]), None))


def _message(found: Mapping[Any, Any]) -> str:
    for key in ("message", "detail", "details", "error_msg"):
        value = found.get(key)
        if isinstance(value, str) and value:
            return value
        if value:
            return repr(value)
    return ""


def decode_error(body: bytes) -> ErrorBody:
    """As `parse_error`, from the bytes of a body that may not be JSON at all."""
    try:
        return parse_error(msgspec.json.decode(body))
    except (msgspec.DecodeError, RecursionError):
        return ErrorBody(body.decode("utf-8", "replace"))


def status_error(
    status: int,
    said: ErrorBody,
    *,
    place: str,
    secret: str | None,
    request_id: str | None = None,
    retry_after: float | None = None,
) -> APIStatusError:
    """The error for this status and what the server said about it.

    ``place`` says where, for people: the model and the host. ``secret`` is the key that was sent,
    if one was; it is cut out of the text.
    """
    kind = _kind(status, said)
    retryable: bool | None = None
    if kind is errors.RateLimitError and said.codes & _NO_CREDIT_CODES:
        retryable = False  # no waiting fills an empty account
    text = one_line(said.message, secret) or "no message"
    tail = f" (request {one_line(request_id, secret)[:100]})" if request_id else ""
    if kind is errors.AuthenticationError and not secret:
        tail += "; no key was sent: give the tier an api_key"
    return kind(
        f"{place} answered {status}: {text}{tail}",
        retryable=retryable,
        retry_after=retry_after,
        status=status,
        request_id=request_id,
    )


def _kind(status: int, said: ErrorBody) -> type[APIStatusError]:
    if said.codes & _CONTEXT_CODES:
        return errors.ContextWindowExceededError
    if status in _CONTEXT_STATUSES and _CONTEXT_TEXT.search(said.message[:10_000]):
        return errors.ContextWindowExceededError
    if said.codes & _CONTENT_CODES:
        return errors.ContentPolicyError
    if said.codes & _KEY_CODES and status < 500:  # Gemini's has the status 400
        return errors.AuthenticationError
    default = errors.InternalServerError if status >= 500 else APIStatusError
    return _BY_STATUS.get(status, default)


def stream_error(
    said: ErrorBody, *, place: str, secret: str | None, request_id: str | None
) -> ProviderError:
    """The error for an error object that came with status 200."""
    status = said.status
    if status is None and said.codes & (_CONTENT_CODES | _CONTEXT_CODES):
        status = 400
    if status is not None:
        return status_error(status, said, place=place, secret=secret, request_id=request_id)
    text = one_line(said.message, secret) or "no message"
    return APIResponseError(f"{place} broke off with an error: {text}", request_id=request_id)


def retry_after(headers: Headers) -> float | None:
    """Seconds to wait, from ``retry-after-ms`` or ``retry-after``; None when absent or absurd."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if not value:
            continue
        seconds = _seconds(value.strip(), unit)
        if seconds is not None and 0 <= seconds <= MAX_RETRY_AFTER:
            return seconds
    return None


def _seconds(value: str, unit: float) -> float | None:
    try:
        seconds = float(value) * unit
    except ValueError:
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
        except (ValueError, OverflowError):
            return None
    return seconds if math.isfinite(seconds) else None


def one_line(text: str, secret: str | None = None) -> str:
    """The text on one line, at most `MAX_MESSAGE` characters long, with no key in it.

    ``secret``, the key that was sent, is cut out wherever it stands; one that is a short word
    ("EMPTY", "x"), for servers that need none, only where it is not a part of another word. What
    looks like another key is cut out too.
    """
    text = text[:64_000]
    if secret:
        text = _without(text, secret)
    text = " ".join(_KEY_LIKE.sub(_REDACTED, text).split())
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"


def _without(text: str, secret: str) -> str:
    if not (len(secret) < 4 or (len(secret) < 8 and secret.isalpha())):
        return text.replace(secret, _REDACTED)
    # An escape before it ends in a letter or a digit, and is no part of the word.
    before = r"(?:(?<![A-Za-z0-9])|(?<=\\[a-z])|(?<=\\u[0-9A-Fa-f]{4})|(?<=%[0-9A-Fa-f]{2}))"
    return re.sub(rf"{before}{re.escape(secret)}(?![A-Za-z0-9])", _REDACTED, text)
