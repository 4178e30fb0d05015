"""What canaries and audits share: something is learned of each call, here or in a ledger."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, Generic, TypeVar

from cascade.errors import ConfigError

WAITING: Final = 10_000
"""Calls that wait for the ledger at most; the oldest are forgotten."""

Seen = TypeVar("Seen")


class Guard(ABC, Generic[Seen]):
    """Learns of calls one by one.

    Alone, it does so at once. While it is `kept` in a ledger, what it sees waits for the next
    exchange with what all processes know: it is taken up there, in one transaction, and counts
    once.
    """

    def __init__(self, name: str) -> None:
        if not name:
            raise ConfigError("a canary or an audit needs a name")
        self.name = name
        self._waiting: deque[Seen] | None = None
        self._taken: list[Seen] = []  # in an exchange that is not written yet
        self._base: dict[str, Any] = {}
        self._lock = threading.Lock()  # of what is known: an exchange runs in a worker thread

    @abstractmethod
    def _take(self, seen: Seen) -> None:
        """Learn from one call."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """All that it has learned, as plain data for JSON."""

    @abstractmethod
    def restore(self, data: Mapping[str, Any]) -> None:
        """Go on from what `to_dict` gave.

        Raises:
            ConfigError: it is something else.
        """

    def _note(self, seen: Seen) -> None:
        if self._waiting is not None:
            self._waiting.append(seen)
            return
        with self._lock:
            self._take(seen)

    def keep(self) -> None:
        """From now on, what is seen waits for `exchange`.

        Raises:
            ConfigError: it does so already.
        """
        if self._waiting is not None:
            raise ConfigError(f"{self.name} is kept already: one ledger is enough")
        self._waiting, self._base = deque(maxlen=WAITING), self.to_dict()

    def let_go(self) -> None:
        """From now on it learns at once again."""
        waiting, self._waiting, self._taken = self._waiting, None, []
        for seen in waiting or ():  # what was taken has been learned from
            self._note(seen)

    @property
    def has_news(self) -> bool:
        """Whether something waits for the next exchange."""
        return bool(self._waiting or self._taken)

    def exchange(self, known: Mapping[str, Any] | None) -> dict[str, Any]:
        """What all processes know, with what this one has seen since.

        It counts again in the next exchange, unless `exchanged` says that it is written.

        Args:
            known: what they know; None when that is nothing yet.
        """
        waiting = self._waiting
        assert waiting is not None
        while waiting and len(self._taken) < WAITING:
            self._taken.append(waiting.popleft())
        with self._lock:
            self.restore(self._base if known is None else known)
            for seen in self._taken:
                self._take(seen)
            return self.to_dict()

    def exchanged(self) -> None:
        """What the last exchange gave is written."""
        self._taken = []


def number(name: str, value: float, *, above: float, below: float) -> None:
    """Refuse a setting that is not between two numbers.

    Raises:
        ConfigError: it is not.
    """
    if not above < value < below:
        raise ConfigError(f"{name}={value!r}: needs a number above {above:g} and below {below:g}")


def version_of(data: Mapping[str, Any], kind: str, version: int) -> None:
    """Refuse the state of something else.

    Raises:
        ConfigError: it is.
    """
    if (data.get("kind"), data.get("version")) != (kind, version):
        raise ConfigError(
            f"a state of kind {data.get('kind')!r}, version {data.get('version')!r}; "
            f"needed is {kind!r}, version {version}"
        )
