"""Rejecting a hopeless answer while it is still being written.

A verifier may offer ``prefix(text) -> Verdict | None``: the rejection that every answer beginning
with ``text`` would get, or None. Asked at each chunk it would take quadratic time, so whoever reads
a stream opens a `PrefixCheck`, which asks when the text has grown by a quarter: all its questions
together read at most five times the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from cascade.verdict import Verdict

FIRST_CHECK = 16
"""Characters before the first look; also the least growth between two."""


class PrefixCheck(Protocol):
    """Watches one answer being written."""

    def feed(self, chunk: str, /) -> Verdict | None:
        """The rejection that is certain by now, whatever follows; None where there is none."""
        ...


def open_prefix(verifier: object) -> PrefixCheck | None:
    """A check of a new stream by ``verifier``, or None where it offers none."""
    opener: Callable[[], PrefixCheck] | None = getattr(verifier, "open_prefix", None)
    if opener is not None:
        return opener()
    prefix: Callable[[str], Verdict | None] | None = getattr(verifier, "prefix", None)
    return None if prefix is None else Growing(prefix)


def next_check(length: int) -> int:
    """At which length to look again, having looked at ``length`` characters."""
    return max(length + FIRST_CHECK, length * 5 // 4)


class Growing:
    """Asks ``prefix`` when the text has grown by a quarter."""

    def __init__(self, prefix: Callable[[str], Verdict | None]) -> None:
        self._prefix = prefix
        self._parts: list[str] = []
        self._length = 0
        self._next = FIRST_CHECK
        self._found: Verdict | None = None

    def feed(self, chunk: str, /) -> Verdict | None:
        """The rejection once it is certain, and from then on."""
        self._parts.append(chunk)
        self._length += len(chunk)
        if self._length < self._next or self._found is not None:
            return self._found
        self._next = next_check(self._length)
        text = "".join(self._parts)
        self._parts = [text]
        self._found = self._prefix(text)
        return self._found


class AnyRejects:
    """Several checks of one stream, all of which must pass: the first rejection is the whole's."""

    def __init__(self, checks: Sequence[PrefixCheck]) -> None:
        self._checks = tuple(checks)

    def feed(self, chunk: str, /) -> Verdict | None:
        """The first rejection among them."""
        for check in self._checks:
            found = check.feed(chunk)
            if found is not None:
                return found
        return None
