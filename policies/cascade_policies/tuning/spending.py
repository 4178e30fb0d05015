"""How much of the confidence the certifying rows have left.

Whoever looks at a result and searches again on the same rows tests more than once. The chance that
any of the certificates is wrong is at most the sum of what each was tested at, so the sum is kept
at 1 - confidence: each search spends half of what is left (alpha-spending), or all of it where it
is said to be the last. The same search again shows nothing new, and spends nothing.

The account is kept in a file beside the recording. Rows are known by the hash of their prompts, so
that another recording of the same prompts is no fresh start.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from cascade.errors import ConfigError

SUFFIX = ".spent.json"


class Spent(Struct, frozen=True, kw_only=True):
    """One search.

    Attributes:
        rows: the SHA-256 of the certifying prompts.
        search: what else the result hangs on: recording, policy, goal.
        risk: what it was tested at.
        command: how it was asked for.
    """

    rows: str
    search: str
    risk: float
    command: str


class Account:
    """What was spent on the rows of one recording.

    Args:
        path: the account's file.

    Raises:
        ConfigError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[Spent] = []
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
        try:
            self.entries = msgspec.json.decode(data, type=list[Spent])
        except (msgspec.DecodeError, RecursionError) as error:
            raise ConfigError(f"{path}: is no account of spent confidence: {error}") from None
        if any(not 0.0 < entry.risk < 1.0 for entry in self.entries):
            raise ConfigError(f"{path}: is no account of spent confidence: a risk is none")

    @classmethod
    def of(cls, recording: Path) -> Account:
        """The account beside a recording."""
        return cls(recording.with_name(recording.name + SUFFIX))

    def spent(self, rows: str) -> float:
        """The sum of what was spent on these rows."""
        return sum(entry.risk for entry in self.entries if entry.rows == rows)

    def searches(self, rows: str) -> int:
        """How often."""
        return sum(entry.rows == rows for entry in self.entries)

    def grant(self, rows: str, search: str, *, risk: float, last: bool) -> float:
        """What a search may be tested at: what it was before, or half of what is left, or all.

        Raises:
            ConfigError: there is nothing left.
        """
        for entry in self.entries:
            if (entry.rows, entry.search) == (rows, search):
                return entry.risk
        left = risk - self.spent(rows)
        if left <= risk * 1e-3:
            count = self.searches(rows)
            raise ConfigError(
                f"these rows are used up: {count} searches have spent "
                f"{self.spent(rows):.4g} of the {risk:.4g} that a confidence of {1.0 - risk:g} "
                f"allows ({self.path.name}). Record new prompts, or ask for less confidence"
            )
        return left if last else left / 2.0

    def enter(self, entry: Spent) -> None:
        """Write down a search, before its result is shown.

        Raises:
            ConfigError: it cannot be written.
        """
        if any((old.rows, old.search) == (entry.rows, entry.search) for old in self.entries):
            return
        self.entries.append(entry)
        text = msgspec.json.format(msgspec.json.encode(self.entries), indent=2)
        part = self.path.with_name(self.path.name + ".part")
        try:
            part.write_bytes(text + b"\n")
            part.replace(self.path)
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be written: {error.strerror}") from error


def search_key(parts: Mapping[str, object]) -> str:
    """A hash of what a search's result hangs on."""
    from hashlib import sha256

    return sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()
