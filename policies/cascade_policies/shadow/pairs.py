"""Calls and their shadows, from a ledger, and whether the two policies differ."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from math import erfc, sqrt
from typing import Any, Final, NamedTuple

from msgspec import Struct

from cascade_policies.report.chance import FEW, Z95, wilson
from cascade_policies.tuning.binomial import at_least

_ENDED: Final = ("accepted", "exhausted", "deadline")


class Side(NamedTuple):
    """One call of a pair; None where a figure is not known."""

    outcome: str
    cost: float | None  # dollars, the upper end
    latency: float  # seconds
    answered: bool
    answer: str | None
    answer_hash: bytes | None


Pair = tuple[Side, Side]
"""A call, and what its shadow made of it."""


class Shares(Struct, frozen=True):
    """How many calls were accepted, of pairs.

    ``difference`` is the second's share less the first's, within ``low`` and ``high`` (95%), and
    ``p`` the probability of so great a difference where there is none.
    """

    first: float
    second: float
    only_first: int
    only_second: int
    difference: float
    low: float
    high: float
    p: float


class Means(Struct, frozen=True):
    """A mean over pairs, in dollars or seconds; ``low``, ``high`` and ``p`` as of `Shares`.

    They are None with fewer than 30 pairs. ``of`` pairs have the figure for both.
    """

    of: int
    first: float | None
    second: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None


class Agreement(Struct, frozen=True):
    """How many pairs have one answer, white space aside, ``of`` those whose answers are known."""

    of: int
    share: float | None
    low: float
    high: float


class Comparison(Struct, frozen=True, kw_only=True):
    """A policy and its shadow on the same calls.

    ``unfinished`` pairs do not count: the shadow was cut short, ran out of budget or had a bug.
    """

    pairs: int
    unfinished: int
    accepted: Shares | None
    agreement: Agreement
    cost: Means
    latency: Means


def read_pairs(
    connection: sqlite3.Connection, policy: str, shadow: str, *, since: float = 0.0
) -> list[Pair]:
    """The calls of a policy that another one has shadowed.

    Args:
        since: Unix time in seconds at which the calls began, or later.
    """
    columns = "outcome, cost_high, latency_s, answer_chars IS NOT NULL, answer, answer_hash"
    its, copied = (
        ", ".join(f"{table}.{column}" for column in columns.split(", ")) for table in ("o", "s")
    )
    rows = connection.execute(
        f"SELECT {its}, {copied} FROM calls s "  # noqa: S608  (our own names)
        "JOIN calls o ON o.call_id = substr(s.variant, 11, 16) "
        "WHERE s.policy = ? AND substr(s.variant, 1, 10) = 'shadow of ' "
        "AND o.policy = ? AND o.began >= ? ORDER BY s.id",
        (shadow, policy, since),
    )
    return [(_side(row[:6]), _side(row[6:])) for row in rows]


def _side(row: Sequence[Any]) -> Side:
    outcome, cost, latency, answered, answer, digest = row
    return Side(outcome, cost, latency, bool(answered), answer, digest)


def shadowed(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """Which policies have shadows in the ledger, each with the shadow's name."""
    rows = connection.execute(
        "SELECT DISTINCT o.policy, s.policy FROM calls s "
        "JOIN calls o ON o.call_id = substr(s.variant, 11, 16) "
        "WHERE substr(s.variant, 1, 10) = 'shadow of ' ORDER BY 1, 2"
    )
    return [(policy, shadow) for policy, shadow in rows]


def compare_pairs(pairs: Sequence[Pair]) -> Comparison:
    """Test whether the second of each pair differs from the first."""
    ended = [pair for pair in pairs if all(side.outcome in _ENDED for side in pair)]
    costs = [(a.cost, b.cost) for a, b in ended if a.cost is not None and b.cost is not None]
    return Comparison(
        pairs=len(ended),
        unfinished=len(pairs) - len(ended),
        accepted=_shares([(a.outcome == "accepted", b.outcome == "accepted") for a, b in ended]),
        agreement=_agreement(ended),
        cost=_means(costs),
        latency=_means([(a.latency, b.latency) for a, b in ended]),
    )


def _shares(pairs: Sequence[tuple[bool, bool]]) -> Shares | None:
    """By McNemar's test, exact; the interval is that of Bonett and Price (2012)."""
    if not pairs:
        return None
    count = len(pairs)
    only_first = sum(a and not b for a, b in pairs)
    only_second = sum(b and not a for a, b in pairs)
    more, of = max(only_first, only_second), only_first + only_second
    # One of each kind is added, so that the interval is one where there are none.
    lost, won = (only_first + 1) / (count + 2), (only_second + 1) / (count + 2)
    half = Z95 * sqrt((lost + won - (won - lost) ** 2) / (count + 2))
    return Shares(
        first=sum(a for a, _ in pairs) / count,
        second=sum(b for _, b in pairs) / count,
        only_first=only_first,
        only_second=only_second,
        difference=(only_second - only_first) / count,
        low=max(-1.0, won - lost - half),
        high=min(1.0, won - lost + half),
        p=min(1.0, 2 * at_least(more, of, 0.5)),
    )


def _agreement(pairs: Sequence[Pair]) -> Agreement:
    known = [same for a, b in pairs if (same := _same(a, b)) is not None]
    low, high = wilson(sum(known), len(known))
    return Agreement(len(known), sum(known) / len(known) if known else None, low, high)


def _same(first: Side, second: Side) -> bool | None:
    """Whether both answered the same; None where one did not answer, or it is not known."""
    if not (first.answered and second.answered):
        return None
    if first.answer is not None and second.answer is not None:
        return first.answer.split() == second.answer.split()
    if first.answer_hash is not None and second.answer_hash is not None:
        return first.answer_hash == second.answer_hash
    return None


def _means(pairs: Sequence[tuple[float, float]]) -> Means:
    """By the mean of the differences, as normally distributed."""
    count = len(pairs)
    if not count:
        return Means(0, None, None, None, None, None, None)
    first, second = (sum(values) / count for values in zip(*pairs, strict=True))
    differences = [b - a for a, b in pairs]
    mean = sum(differences) / count
    if count < FEW:
        return Means(count, first, second, mean, None, None, None)
    error = sqrt(sum((one - mean) ** 2 for one in differences) / (count - 1) / count)
    # Where all differ by the same, rounding leaves a spread that is none.
    p = float(mean == 0) if error <= 1e-12 * abs(mean) else erfc(abs(mean) / error / sqrt(2))
    return Means(count, first, second, mean, mean - Z95 * error, mean + Z95 * error, p)
