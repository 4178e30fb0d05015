"""How a command ends: exit codes, and errors as one message."""

from __future__ import annotations

import traceback

from cyclopts.exceptions import CycloptsError, UnusedCliTokensError

from cascade.errors import (
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
        case CascadeExhausted() if error.attempts and _all_failed(error):
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
    if as_json:
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
        case UnusedCliTokensError():
            return f"{error} Put a prompt of several words in quotes."
        case PromptError() if "variable" in error.message and "missing" in error.message:
            return f"{error} (here: --var NAME=VALUE or --var NAME=@FILE)"
        case CascadeError() | CycloptsError():
            return str(error)
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"unexpected {what}\nRun it again with --debug for the traceback."


def _all_failed(error: CallError) -> bool:
    return all(attempt.outcome in ("failed", "cancelled") for attempt in error.attempts)
