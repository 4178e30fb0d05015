"""Mending JSON that is nearly JSON, by json-repair (the extra ``repair``)."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

from anyio import run_process

from cascade.errors import ConfigError, MissingExtraError, nearest

Repair = Literal["syntax"]

MAX_REPAIR_CHARS = 100_000
"""Longer JSON is not mended."""

INLINE_REPAIR_CHARS = 1_000
"""Longer answers are mended in a process of their own. It takes 5 µs a character, if not more."""

# Not anyio's worker processes: they import the user's main module, which may not be made for it.
_PROGRAM = """
import sys, json_repair
text = sys.stdin.buffer.read().decode("utf-8", "surrogatepass")
mended = json_repair.repair_json(text, skip_json_loads=True, ensure_ascii=False)
sys.stdout.buffer.write(mended.encode("utf-8", "surrogatepass"))
"""


def check_repair(repair: object) -> None:
    """Refuse a kind of repair that there is not, or that is not installed.

    Raises:
        ConfigError: there is no such kind.
        MissingExtraError: json-repair is not installed.
    """
    if repair is None:
        return
    if repair != "syntax":
        raise ConfigError(f"repair={repair!r}: {nearest(str(repair), ('syntax',))}")
    if find_spec("json_repair") is None:
        raise MissingExtraError('repair="syntax"', extra="repair")
    import_module("json_repair")  # now, not at the first answer that needs it


def repaired(text: str) -> str | None:
    """The text as JSON, or None where nothing can be made of it."""
    json_repair: Any = import_module("json_repair")
    try:
        mended = str(json_repair.repair_json(text, skip_json_loads=True, ensure_ascii=False))
    except (ValueError, RecursionError, IndexError, KeyError, TypeError, AttributeError):
        return None  # whatever a parser of broken text trips over: the answer stays broken
    return _of_the_same_kind(text, mended)


async def repaired_elsewhere(text: str) -> str | None:
    """The same, from a process of its own, which is killed when the caller is cancelled."""
    done = await run_process(
        [sys.executable, "-P", "-c", _PROGRAM],
        input=text.encode("utf-8", "surrogatepass"),
        check=False,
    )
    if done.returncode:
        return None
    return _of_the_same_kind(text, done.stdout.decode("utf-8", "surrogatepass"))


def _of_the_same_kind(text: str, mended: str) -> str | None:
    # An array where an object was written is a guess, not a repair.
    return mended if mended[:1] == text[:1] else None
