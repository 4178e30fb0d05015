"""Whether memory grows with the calls of a soak.

Part of ``python -m benchmarks.soak``, which says what is measured.

What is in use is seen ten times in a run, when it is at rest: no call in flight, all of them
settled, garbage collected. A leak adds to it: to the number of blocks that Python's objects take
(``sys.getallocatedblocks``, one or two each), and, where they are large, to what is allocated of
the C library's heap (``mallinfo2`` of glibc; elsewhere not known).

The resident set is seen all the time, while calls are in flight. It includes what both allocators
keep for later between pieces in use, and what waits for the garbage collector, so it also grows
with every new peak of the load. Its limit is wider for that.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path
from statistics import linear_regression
from typing import Final, NamedTuple

LEAST_CALLS: Final = 40_000
"""Below that, bounded buffers (latencies, breakers of every model) are still filling up."""

MOST_BLOCKS: Final = 500.0
"""A thousand calls may add half a block a call: connections that are kept idle come and go."""

MOST_RESIDENT: Final = 200.0
"""kB that a thousand calls may add to the resident set."""


class Growth(NamedTuple):
    """What a thousand calls add, by the slope of a line; None where it is not known.

    Attributes:
        heap: kB in use of the C library's heap, at rest.
        blocks: blocks in use of Python's allocator, at rest.
        resident: kB of the resident set, all the time.
    """

    heap: float | None
    blocks: float | None
    resident: float | None

    def problems(self, most_heap: float) -> list[str]:
        """What grows by too much."""
        return [
            f"{what}: {grown:+.0f} per thousand calls, and {most:.0f} is the most"
            for what, grown, most in (
                ("kB of heap in use", self.heap, most_heap),
                ("blocks in use", self.blocks, MOST_BLOCKS),
                ("resident kB", self.resident, MOST_RESIDENT),
            )
            if grown is not None and grown > most
        ]

    def __str__(self) -> str:
        heap, blocks, resident = ("?" if it is None else f"{it:+.1f}" for it in self)
        return (
            f"{heap} kB of heap and {blocks} blocks in use, {resident} kB resident "
            "per thousand calls"
        )


class Samples:
    """What was seen, each with the number of calls that were over by then."""

    def __init__(self) -> None:
        self.heap: list[tuple[int, float]] = []
        self.blocks: list[tuple[int, float]] = []
        self.resident: list[tuple[int, float]] = []

    def take(self, calls: int) -> None:
        """While calls are in flight."""
        self.resident.append((calls, resident_kilobytes()))

    def take_at_rest(self, calls: int) -> None:
        """When none are."""
        gc.collect()
        self.blocks.append((calls, sys.getallocatedblocks()))
        heap = heap_kilobytes()
        if heap is not None:
            self.heap.append((calls, heap))

    def growth(self, since: float) -> Growth:
        """From the samples taken when so many calls were over, and later ones."""
        return Growth(*(_slope(it, since) for it in (self.heap, self.blocks, self.resident)))


def _slope(samples: list[tuple[int, float]], since: float) -> float | None:
    late = [sample for sample in samples if sample[0] >= since]
    if len({calls for calls, _ in late}) < 3:
        return None
    slope: float = linear_regression(*zip(*late, strict=True)).slope
    return slope * 1000


class _MallInfo(ctypes.Structure):
    """``struct mallinfo2``, as in mallinfo(3)."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def heap_kilobytes() -> float | None:
    """What is allocated of the C library's heap and has not been freed; None but with glibc."""
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError, TypeError):
        return None
    mallinfo.restype = _MallInfo
    info = mallinfo()
    return float(info.uordblks + info.hblkhd) / 1024


def resident_kilobytes() -> float:
    """The resident set."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # not Linux: the most there ever was, which rises with a leak all the same
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most / 1024 if sys.platform == "darwin" else float(most)
    import mmap

    return pages * mmap.PAGESIZE / 1024
