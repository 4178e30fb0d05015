"""Every error this project raises on purpose.

::

    CascadeError
    ├── ConfigError                     the policy, a name or the installation is wrong
    │   ├── PolicyFileError             a policy file, with file, line or key
    │   ├── UnknownPolicyError          no policy of that name on the search path
    │   ├── UnknownProviderError        no provider of that name is registered
    │   ├── UnknownModelError           the provider knows no such model
    │   ├── UnknownVerifierError        no verifier of that name is registered
    │   ├── MissingAPIKeyError          names the variable, never a value
    │   ├── MissingExtraError           names the pip command
    │   ├── DataFileError *             a golden set, recording or log of runs, with file and line
    │   ├── ScorerError *               a scorer cannot be used
    │   │   └── GateSeesReferenceError *    a verifier knows what the scorer knows
    │   └── ThresholdsChangedError *    the thresholds are others than before the results
    ├── PromptError                     the prompt or its variables do not fit the policy
    ├── ProviderError                   one attempt failed
    │   ├── APIConnectionError          no connection, or it broke
    │   │   └── APITimeoutError         the attempt took longer than its timeout
    │   ├── APIResponseError            the server answered something that is no answer
    │   ├── CircuitOpenError            not called: the model failed too often of late
    │   ├── APIStatusError              the server answered with an error status
    │   │   ├── BadRequestError                400
    │   │   │   ├── ContextWindowExceededError
    │   │   │   └── ContentPolicyError         also: the answer was filtered
    │   │   ├── AuthenticationError            401
    │   │   ├── PermissionDeniedError          403
    │   │   ├── NotFoundError                  404
    │   │   ├── RequestTimeoutError            408
    │   │   ├── ConflictError                  409
    │   │   ├── UnprocessableEntityError       422
    │   │   ├── RateLimitError                 429
    │   │   └── InternalServerError            5xx
    │   │       └── OverloadedError            503, 529
    │   ├── EmptyAnswerError            neither text nor a tool call
    │   ├── TruncatedAnswerError        cut off at max_tokens
    │   ├── FunctionError               a function tier raised
    │   ├── LocalServerError            the embedded server crashed or did not start
    │   └── ModelUnavailableError       the weights cannot be had
    └── CallError                       the whole call has no answer; carries every attempt
        ├── CascadeExhausted            every tier was rejected or failed
        ├── DeadlineExceededError       the call's deadline passed first
        └── BudgetExceededError         the budget does not allow the call

Those with a star are in `cascade.policies`, all others in `cascade`. What a replay finds to be
missing (`cascade.replay.NotRecordedError`) reaches users as a ConfigError that counts the rows.

The engine fills in ``policy``, ``tier`` and ``attempt`` where an error crosses it, so that
whoever raises one deeper down need not know them.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cascade.cost import Cost
    from cascade.result import Attempt
    from cascade.types import RateLimits


class CascadeError(Exception):
    """Base of all errors here.

    Attributes:
        message: what went wrong, without the place.
        policy: name of the policy, when known.
        tier: name of the tier, when known.
        attempt: number of the attempt within the call (from 1), when known.
    """

    def __init__(
        self,
        message: str,
        *,
        policy: str | None = None,
        tier: str | None = None,
        attempt: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.policy = policy
        self.tier = tier
        self.attempt = attempt

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls the class with the message alone, which not every class takes.
        return _rebuilt, (type(self), self.args, self.__dict__)

    @property
    def place(self) -> str:
        """Where it happened: ``policy 'p', tier 't', attempt 2``, as far as known."""
        parts = []
        if self.policy is not None:
            parts.append(f"policy {self.policy!r}")
        if self.tier is not None:
            parts.append(f"tier {self.tier!r}")
        if self.attempt is not None:
            parts.append(f"attempt {self.attempt}")
        return ", ".join(parts)

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


class ConfigError(CascadeError, ValueError):
    """The policy, a name in it or the installation is wrong; nothing was called."""


class PolicyFileError(ConfigError):
    """A policy file cannot be used.

    Attributes:
        file: path as given.
        line: line number from 1, or None where the parser gives none.
        key: path of the key, like ``tiers[1].threshold``, or None.
    """

    def __init__(
        self, message: str, *, file: str, line: int | None = None, key: str | None = None
    ) -> None:
        super().__init__(message)
        self.file = file
        self.line = line
        self.key = key

    @property
    def place(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return place if self.key is None else f"{place}: {self.key}"


class UnknownPolicyError(ConfigError):
    """No policy of that name on the search path."""


class UnknownProviderError(ConfigError):
    """No provider of that name is registered."""


class UnknownModelError(ConfigError):
    """The provider knows no such model."""


class UnknownVerifierError(ConfigError):
    """No verifier of that name is registered."""


class MissingAPIKeyError(ConfigError):
    """An API key is needed and none was given; the message names the variable."""


class MissingExtraError(ConfigError):
    """An optional dependency is needed; the message is the pip command that adds it."""

    def __init__(self, what: str, *, extra: str) -> None:
        super().__init__(f"for {what}: pip install 'cascade-engine[{extra}]'")
        self.extra = extra


class PromptError(CascadeError, ValueError):
    """The prompt or its variables do not fit the policy; nothing was called."""


class ProviderError(CascadeError):
    """One attempt failed.

    Attributes:
        retryable: whether the same call may well succeed a moment later.
        retry_after: seconds the server asked to wait, or None.
        status: HTTP status, or None.
        request_id: the provider's id of the request, or None.
        sent: whether the request may have reached the provider; if not, it cost nothing.
    """

    retryable = False
    sent = True

    def __init__(
        self,
        message: str,
        *,
        retryable: bool | None = None,
        retry_after: float | None = None,
        status: int | None = None,
        request_id: str | None = None,
        sent: bool | None = None,
    ) -> None:
        super().__init__(message)
        if retryable is not None:
            self.retryable = retryable
        if sent is not None:
            self.sent = sent
        self.retry_after = retry_after
        self.status = status
        self.request_id = request_id


class APIConnectionError(ProviderError):
    """No connection to the server, or it broke before the answer was whole."""

    retryable = True


class APITimeoutError(APIConnectionError):
    """The attempt took longer than its timeout."""


class APIResponseError(ProviderError):
    """The server answered something that is no answer: not JSON, not SSE, or cut short."""

    retryable = True


class CircuitOpenError(ProviderError):
    """The model was not called: it failed too often of late. ``retry_after`` says for how long."""

    sent = False


class APIStatusError(ProviderError):
    """The server answered with an error status.

    Attributes:
        rate_limits: what is left of the provider's rate limits, if it says.
    """

    rate_limits: RateLimits | None = None


class BadRequestError(APIStatusError):
    """400: the request itself is wrong."""


class ContextWindowExceededError(BadRequestError):
    """The prompt does not fit the model's context window."""


class ContentPolicyError(BadRequestError):
    """The provider refused the prompt, or filtered the answer."""


class AuthenticationError(APIStatusError):
    """401: the key is missing or wrong."""


class PermissionDeniedError(APIStatusError):
    """403: the key may not do this."""


class NotFoundError(APIStatusError):
    """404: no such model or path."""


class RequestTimeoutError(APIStatusError):
    """408: the server gave up waiting."""

    retryable = True


class ConflictError(APIStatusError):
    """409: a concurrent change; the same call may succeed now."""

    retryable = True


class UnprocessableEntityError(APIStatusError):
    """422: well-formed, and still refused."""


class RateLimitError(APIStatusError):
    """429: too many requests or tokens."""

    retryable = True


class InternalServerError(APIStatusError):
    """5xx: the server failed."""

    retryable = True


class OverloadedError(InternalServerError):
    """503 or 529: the server has no capacity now."""


class EmptyAnswerError(ProviderError):
    """The model answered neither text nor a tool call."""


class TruncatedAnswerError(ProviderError):
    """The answer was cut off at ``max_tokens``."""


class FunctionError(ProviderError):
    """A function tier raised; the cause is the exception itself."""


class LocalServerError(ProviderError):
    """The embedded model's server crashed or did not start."""

    retryable = True


class ModelUnavailableError(ProviderError):
    """The weights of an embedded model cannot be had."""


class CallError(CascadeError):
    """The whole call has no answer.

    Attributes:
        attempts: every attempt of the call, in the order they were started.
    """

    def __init__(
        self, message: str, *, policy: str | None = None, attempts: tuple[Attempt, ...] = ()
    ) -> None:
        super().__init__(message, policy=policy)
        self.attempts = attempts

    @property
    def waste(self) -> Cost:
        """What the attempts cost: all of it, as no answer came of them."""
        from cascade.cost import total

        return total(attempt.cost for attempt in self.attempts)


class CascadeExhausted(CallError):  # noqa: N818  (the name users know from the design)
    """Every tier was rejected or failed."""


class DeadlineExceededError(CallError, TimeoutError):
    """The call's deadline passed before an answer was accepted."""


class BudgetExceededError(CallError):
    """Money does not allow the call, or (in an attempt) this model of it."""


def _rebuilt(
    kind: type[CascadeError], args: tuple[Any, ...], state: dict[str, Any]
) -> CascadeError:
    """A copy, or what comes out of a pickle."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error message about an unknown name: the nearest right one, or all of them."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(names)}" if names else "none is registered"
