"""Timing in turns, and what is made of the times.

What is compared takes turns of a few milliseconds in one process, so that the machine's moods meet
all alike; differences and ratios are those within one turn, and their quartiles are stated.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import quantiles

_LATE_WORK = 0.005  # seconds in which what a call has left to background tasks is still its own

Quartiles = tuple[float, float, float]
"""The lower quartile, the median, the upper one."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What some calls of one kind took: processor seconds a call, and the seconds of each."""

    cpu: float
    latencies: Sequence[float]


async def turn(ask: Callable[[], Awaitable[object]], calls: int, concurrency: int) -> Turn:
    """Make calls, with so many in flight: as soon as one ends, the next begins."""
    latencies: list[float] = []
    left = calls

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            began = time.perf_counter()
            await ask()
            latencies.append(time.perf_counter() - began)

    cpu = time.process_time()
    if concurrency == 1:
        await worker()
    else:
        await asyncio.gather(*(worker() for _ in range(concurrency)))
    await asyncio.sleep(_LATE_WORK)
    return Turn((time.process_time() - cpu) / calls, latencies)


def quartiles(values: Sequence[float]) -> Quartiles:
    """Of at least one value."""
    low, median, high = quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
    return low, median, high


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` of them do not exceed, in percent."""
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * share // 100) - 1)]


def differences(after: Sequence[float], before: Sequence[float]) -> list[float]:
    """Turn by turn."""
    return [b - a for a, b in zip(before, after, strict=True)]
