"""How a command ends: exit codes, and errors as one message."""

from __future__ import annotations

import traceback

from cyclopts.exceptions import CycloptsError, UnknownOptionError, UnusedCliTokensError

from cascade.errors import (
    BudgetExceededError,
    CallError,
    CascadeError,
    CascadeExhausted,
    ConfigError,
    DeadlineExceededError,
    MissingAPIKeyError,
    MissingExtraError,
    PromptError,
    ProviderError,
)
from cascade.result import Attempt
from cascade_policies.commands.output import OutputError

ACCEPTED = 0
UNEXPECTED = 1
USAGE = 2
NOT_ACCEPTED = 3
DEADLINE = 4
UNAVAILABLE = 5
ABSTAINED = 6
INTERRUPTED = 130


def exit_code(error: BaseException) -> int:
    """The exit code that an error leads to."""
    match error:
        case KeyboardInterrupt():
            return INTERRUPTED
        case DeadlineExceededError():
            return DEADLINE
        case MissingAPIKeyError() | MissingExtraError() | ProviderError():
            return UNAVAILABLE
        case CascadeExhausted() if _all_failed(error):
            return UNAVAILABLE
        case BudgetExceededError() if not any(map(_answered, error.attempts)):
            return UNAVAILABLE
        case CallError():
            return NOT_ACCEPTED
        case ConfigError() | PromptError() | CycloptsError():
            return USAGE
    return UNEXPECTED


def report(error: BaseException, *, as_json: bool, debug: bool) -> int:
    """Say what went wrong, on standard error or as one JSON object, and give the exit code."""
    if debug:
        traceback.print_exception(error)
    if as_json and not isinstance(error, OutputError):
        from cascade_policies.commands.shape import error_shape, write_json

        write_json(error_shape(error, message(error)))
    elif not debug:
        from cascade_policies.commands.output import complain

        complain(message(error))
    return exit_code(error)


def message(error: BaseException) -> str:
    """One message for people, with the remedy where it is known."""
    match error:
        case KeyboardInterrupt():
            return "interrupted"
        case UnknownOptionError() if instead := _instead(str(error.token.keyword)):
            return f"Unknown option: {error.token.keyword}.{instead}"
        case UnusedCliTokensError():
            return f"{error} Put text of several words in quotes."
        case PromptError() if "variable" in error.message and "missing" in error.message:
            return f"{error} (here: --var NAME=VALUE or --var NAME=@FILE)"
        case CascadeError() | CycloptsError() | OutputError():
            return str(error)
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"unexpected {what}\nRun it again with --debug for the traceback."


def _all_failed(error: CallError) -> bool:
    """Whether something failed and nothing answered. A function that declines is no answer."""
    failed = any(attempt.outcome == "failed" for attempt in error.attempts)
    return failed and not any(map(_answered, error.attempts))


def _answered(attempt: Attempt) -> bool:
    declined = attempt.verdict is not None and attempt.verdict.code == "declined"
    return attempt.outcome not in ("failed", "cancelled") and not declined


def _instead(option: str) -> str:
    """How to give what looks like an option and is a key of the policy."""
    from cascade_policies.tables import PolicyTable, TierTable

    key = option.partition("=")[0].lstrip("-").replace("-", "_")
    if key in PolicyTable.__struct_fields__:
        return f" It is a key of the policy: --set {key}=VALUE"
    if key in TierTable.__struct_fields__:
        return f" It is a key of a tier: --set tiers.0.{key}=VALUE"
    return ""
