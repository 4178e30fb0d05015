"""The tables in docs/faults.md are those that the matrix is tested against."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.faults.table import BRIEF, FAULTS, PART, Fault, Outcome

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
HEAD = ("fault", "what comes of it", "the error says", "retried")


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def told(fault: Fault, outcome: Outcome) -> tuple[str, str, str]:
    """An outcome in the words of the page."""
    if outcome.error is None:
        return "the answer is whole, and taken", "", ""
    says = outcome.says.strip().replace(PART, "the reason").replace(f"{BRIEF} s", "SECONDS s")
    retried = outcome.retried and not fault.retries  # of those it has, none may be made
    return f"`{outcome.error.__name__}`", f"`{says}`", "yes" * retried


def usual() -> Iterator[str]:
    """The table of chat completions."""
    yield from (row(*HEAD), row(*["---"] * len(HEAD)))
    for fault in FAULTS:
        if fault.stream == fault.plain:
            yield row(fault.name, *told(fault, fault.stream))
        else:
            yield row(f"{fault.name}, streamed", *told(fault, fault.stream))
            yield row(f"{fault.name}, not streamed", *told(fault, fault.plain))


def other() -> Iterator[str]:
    """The table of what differs elsewhere."""
    yield from (row("where", *HEAD), row(*["---"] * (len(HEAD) + 1)))
    for fault in FAULTS:
        for place, outcome in fault.others.items():
            if outcome is not None:
                where, _, mode = place.partition(" ")
                how = {"": "", "stream": ", streamed", "plain": ", not streamed"}[mode]
                yield row(f"`{where}`{how}", fault.name, *told(fault, outcome))


def test_the_page_has_both_tables() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for table in (usual(), other()):
        assert "\n".join(table) in text
