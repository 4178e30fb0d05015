"""What a failure says of the provider, for the breaker and the limiter."""

from __future__ import annotations

from cascade.errors import (
    APIConnectionError,
    APIResponseError,
    InternalServerError,
    LocalServerError,
    OverloadedError,
    RateLimitError,
    RequestTimeoutError,
)

_UNWELL = (
    APIConnectionError,  # and its timeouts
    APIResponseError,
    InternalServerError,  # 5xx, 529
    LocalServerError,
    RequestTimeoutError,
)


def unwell(error: BaseException, *, throttled: bool = False) -> bool:
    """Whether the provider is unwell, and it is not the request that is wrong.

    A 429 speaks of our rate, which the limiter sees to; a breaker would turn the slowdown into an
    outage. It counts when calling less does not help: the provider's limit is at its minimum
    already (``throttled``), or no retry would do, as with an empty account.
    """
    if isinstance(error, RateLimitError):
        return throttled or not error.retryable
    return isinstance(error, _UNWELL)


def overloaded(error: BaseException) -> bool:
    """Whether the provider asks for fewer calls: 429, 503, 529.

    A timeout is not among them: a long answer looks the same.
    """
    return isinstance(error, RateLimitError | OverloadedError) and error.retryable
