"""The thresholds that are best at one price of quality, for one choice of tiers.

What is made greatest is mean(quality - λ·spent). With all other thresholds held, what a row gains
from being accepted at a tier is one number, so the best threshold of the tier is found by one sort
(of the scores, once) and one sum of the gains from the highest score down: exact, ties included.
Tiers take turns until nothing changes. Every turn gains or leaves things be, so it ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cascade_policies.replaying.table import Array, Flags

_TURNS: Final = 20

Ranks = tuple[int, ...]
"""For each tier but the last how many of all rows, best score first, it would accept."""


class Rung(NamedTuple):
    """One tier of a choice, on n rows.

    Attributes:
        quality, spent: of its answer, were it accepted.
        accepts: who is accepted, where that is not to be chosen; else None.
        order: rows by score, best first.
        ends: how many rows each possible threshold accepts, from the highest threshold down.
        values: the thresholds.
    """

    quality: Array
    spent: Array
    accepts: Flags | None
    order: NDArray[np.intp]
    ends: NDArray[np.intp]
    values: Array


def rung(quality: Array, spent: Array, score: Array) -> Rung | None:
    """A tier whose threshold is to be chosen; None where there is nothing to choose.

    Thresholds lie above 0: a score of 0 may be a rejection that no threshold turns round.

    Args:
        score: infinite where a row is accepted at any threshold, minus infinite where at none.
    """
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    last = np.ones(len(ordered), np.bool_)
    last[:-1] = ordered[1:] != ordered[:-1]
    ends = np.flatnonzero(last & (ordered > 0.0) & (ordered <= 1.0)) + 1
    if not len(ends):
        return None
    below = np.where(ends < len(ordered), ordered[np.minimum(ends, len(ordered) - 1)], 0.0)
    values = _between(np.maximum(below, 0.0), ordered[ends - 1])
    return Rung(quality, spent, None, order, ends, values)


def climb(
    rungs: Sequence[Rung], price: float, start: Ranks | None = None, weights: Array | None = None
) -> Ranks:
    """The ranks that no change of a single threshold makes better.

    Args:
        rungs: the tiers in order; of the last, all answers are accepted, or those it says.
        price: λ, quality for a unit spent.
        start: where to begin; by default at each tier's middle threshold.
        weights: how often each row counts; by default once.
    """
    free = [k for k, each in enumerate(rungs[:-1]) if each.accepts is None]
    ranks = [0 if each.accepts is not None else int(each.ends[len(each.ends) // 2])
             for each in rungs[:-1]]  # fmt: skip
    if start is not None:
        ranks = list(start)
    accepts = [_accepts(each, rank) for each, rank in zip(rungs, ranks, strict=False)]
    for _ in range(_TURNS):
        changed = False
        for k in reversed(free):
            best = _best(rungs, accepts, k, price, weights)
            if best != ranks[k]:
                ranks[k], changed = best, True
                accepts[k] = _accepts(rungs[k], best)
        if not changed or len(free) == 1:
            break
    return tuple(ranks)


def _best(
    rungs: Sequence[Rung], accepts: Sequence[Flags], k: int, price: float, weights: Array | None
) -> int:
    rest = _last(rungs[-1], price)
    for j in range(len(rungs) - 2, k, -1):
        rest = np.where(accepts[j], rungs[j].quality, rest) - price * rungs[j].spent
    gain = rungs[k].quality - rest
    if k:
        closed = accepts[0]
        for j in range(1, k):
            closed = closed | accepts[j]
        gain[closed] = 0.0
    if weights is not None:
        gain *= weights
    total = np.cumsum(gain[rungs[k].order])[rungs[k].ends - 1]
    # Of equals the one that accepts the fewest: it is the safest.
    return int(rungs[k].ends[int(np.argmax(total))])


def _last(last: Rung, price: float) -> Array:
    worth = last.quality if last.accepts is None else np.where(last.accepts, last.quality, 0.0)
    return worth - price * last.spent


def _accepts(each: Rung, rank: int) -> Flags:
    if each.accepts is not None:
        return each.accepts
    flags = np.zeros(len(each.order), np.bool_)
    flags[each.order[:rank]] = True
    return flags


def threshold(each: Rung, rank: int) -> float:
    """The threshold that accepts as many rows, or the next fewer (at least the best-scored)."""
    at = int(np.searchsorted(each.ends, rank, side="right")) - 1
    return float(each.values[max(at, 0)])


def _between(low: Array, high: Array) -> Array:
    """For each pair a number above ``low`` and at most ``high``, of the fewest digits."""
    found = high.copy()
    left = np.ones(len(high), np.bool_)
    middle = low + (high - low) / 2.0
    for digits in range(1, 16):
        scale = 10.0**digits
        short = np.ceil(middle * scale) / scale
        fits = left & (short > low) & (short <= high)
        found[fits] = short[fits]
        left &= ~fits
        if not left.any():
            break
    return found
