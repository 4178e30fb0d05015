"""What came of a soak, and what of it is not as it must be.

Part of ``python -m benchmarks.soak``, which says what is measured.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from benchmarks.load_calls import Books
from benchmarks.load_faults import Status
from benchmarks.load_ledger import Totals
from benchmarks.load_memory import LEAST_CALLS, Growth


@dataclass(slots=True)
class Report:
    """What came of a run; see `problems`.

    Attributes:
        held: arrivals that had to wait because of the bound on calls in flight.
        left: what should be gone and is not, by kind.
    """

    calls: int
    seconds: float
    held: int
    outcomes: Counter[str]
    books: Books
    status: Status
    memory: Growth
    left: dict[str, int] = field(default_factory=dict)

    def problems(self, max_growth: float) -> list[str]:
        """Everything that is not as it must be; empty when all is well."""
        totals, status = self.books.totals, self.status
        found = list(self.books.differences)
        if not found:
            ours = (totals.starts, totals.finishes, totals.aborts, totals.served + totals.lost)
            theirs = (status.starts, status.finishes, status.aborts, status.tokens)
            if ours != theirs or self.books.settled != self.calls:
                found.append(
                    f"{self.books.settled} of {self.calls} calls settled; starts, finishes, aborts "
                    f"and tokens: {ours} matched, {theirs} by the server's ledger"
                )
        found += [f"{number} {kind} left" for kind, number in self.left.items() if number]
        if self.calls >= LEAST_CALLS:
            found += self.memory.problems(max_growth)
        return found


def summary(report: Report) -> str:
    """The run for people."""
    totals, status = report.books.totals, report.status
    outcomes = ", ".join(f"{name} {n:,}" for name, n in report.outcomes.most_common())
    attempts = ", ".join(f"{name} {n:,}" for name, n in sorted(totals.outcomes.items()))
    return "\n".join(
        (
            f"calls      {report.calls:,} in {report.seconds:.0f} s, "
            f"{report.calls / report.seconds:.0f} a second, {report.held:,} held back: {outcomes}",
            f"attempts   {totals.attempts:,}: {attempts}; {totals.unseen:,} of them never came "
            "to the server",
            f"server     {status.starts:,} starts, {status.finishes:,} finishes, "
            f"{status.aborts:,} aborts, {len(totals.faults)} kinds of reply",
            f"money      {report.books.money.made:,} reservations",
            f"tokens     {totals.tokens:,} counted by our answers, {totals.served:,} written for "
            f"them, {totals.lost:,} for the rest",
            f"memory     {report.memory}",
            f"differing  {report.books.differing:,} calls",
        )
    )


def shape(report: Report, problems: list[str]) -> dict[str, Any]:
    """The run as JSON."""
    return {
        "calls": report.calls,
        "seconds": report.seconds,
        "held": report.held,
        "outcomes": dict(report.outcomes),
        "ours": {key: getattr(report.books.totals, key) for key in Totals.__slots__},
        "reservations": report.books.money.made,
        "server": {k: v for k, v in report.status._asdict().items() if k != "ended"},
        "per_thousand_calls": report.memory._asdict(),
        "left": report.left,
        "problems": problems,
    }
