"""How errors are caught and what they carry, checked by mypy and pyright; never run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_type

import cascade as c
import cascade.policies as p

wrong_before_anything_is_called: Sequence[type[c.ConfigError]] = (
    c.PolicyFileError,
    c.UnknownPolicyError,
    c.UnknownProviderError,
    c.UnknownModelError,
    c.UnknownVerifierError,
    c.MissingAPIKeyError,
    c.MissingExtraError,
    p.DataFileError,
    p.ScorerError,
    p.GateSeesReferenceError,
    p.ThresholdsChangedError,
)
statuses: Sequence[type[c.APIStatusError]] = (
    c.BadRequestError,
    c.ContextWindowExceededError,
    c.ContentPolicyError,
    c.AuthenticationError,
    c.PermissionDeniedError,
    c.NotFoundError,
    c.RequestTimeoutError,
    c.ConflictError,
    c.UnprocessableEntityError,
    c.RateLimitError,
    c.InternalServerError,
    c.OverloadedError,
)
of_one_attempt: Sequence[type[c.ProviderError]] = (
    *statuses,
    c.APIConnectionError,
    c.APITimeoutError,
    c.APIResponseError,
    c.CircuitOpenError,
    c.EmptyAnswerError,
    c.TruncatedAnswerError,
    c.FunctionError,
    c.LocalServerError,
    c.ModelUnavailableError,
)
of_the_call: Sequence[type[c.CallError]] = (
    c.CascadeExhausted,
    c.DeadlineExceededError,
    c.BudgetExceededError,
)
everything: Sequence[type[c.CascadeError]] = (
    *wrong_before_anything_is_called,
    *of_one_attempt,
    *of_the_call,
    c.PromptError,
)


def ask() -> str:
    try:
        return c.cascade_sync("extract", "prompt").text
    except c.PolicyFileError as error:
        assert_type(error.line, int | None)
        return f"{error.file} {error.key}"
    except p.DataFileError as error:
        assert_type(error.file, str)
        assert_type(error.line, int | None)
        return error.place
    except (c.ConfigError, c.PromptError) as error:
        return error.message
    except c.CallError as error:
        for attempt in error.attempts:
            assert_type(attempt, c.Attempt)
            if isinstance(attempt.error, c.ProviderError):
                assert_type(attempt.error.status, int | None)
                assert_type(attempt.error.retry_after, float | None)
        return str(error.tier)


def refuse() -> None:
    raise c.RateLimitError("slow down", status=429, retry_after=2.0)
