"""Reading what an argument of the command line stands for: text, a file or standard input."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from cascade.errors import PromptError

STDIN = "-"


def read_text(text: str, what: str) -> str:
    """``@FILE`` as the file's text, ``@-`` as standard input, else the text itself.

    Raises:
        PromptError: the file cannot be read, or is not UTF-8.
    """
    if not text.startswith("@"):
        return text
    name = text[1:]
    if name == STDIN:
        return read_stdin()
    try:
        return Path(name).expanduser().read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise PromptError(f"{what}: {name!r} is not UTF-8 text") from None
    except OSError as error:
        raise PromptError(f"{what}: cannot read {name!r}: {error.strerror}") from None


def read_pairs(given: Sequence[str], option: str, *, form: str) -> dict[str, str]:
    """Each ``NAME=VALUE`` of an option that may be given several times.

    Raises:
        PromptError: one has no such form, or a name is given twice.
    """
    pairs: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            # The value may be a secret, so only what stands before it is shown.
            raise PromptError(f"{option} {name!r}: write {form}")
        if name in pairs:
            raise PromptError(f"{option} {name}: given twice")
        pairs[name] = value
    return pairs


def read_stdin(what: str = "prompt") -> str:
    """All of standard input.

    Raises:
        PromptError: it is not UTF-8.
    """
    if sys.stdin is None:
        raise PromptError("standard input is closed")
    if sys.stdin.isatty():
        sys.stderr.write(f"reading the {what} from this terminal; end it with Ctrl-D\n")
    try:
        return sys.stdin.read()
    except UnicodeDecodeError:
        raise PromptError("standard input is not UTF-8 text") from None
