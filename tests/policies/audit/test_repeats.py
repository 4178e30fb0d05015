"""Duplicates, and answers that say a text again."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from cascade_policies.audit.audit import Audit, Finding
from cascade_policies.audit.repeats import rephrases
from tests.policies.audit.conftest import line

NOTE = (
    "The parcel with the blue kettle arrived broken on Monday and the shop in Leeds said nothing."
)
AGAIN = "On Monday the blue kettle's parcel came broken; the Leeds shop has said nothing about it."


@pytest.mark.parametrize(
    ("answer", "source", "found"),
    [
        (AGAIN, NOTE, True),
        (NOTE, NOTE, False),
        ("Broken kettle.", NOTE, False),
        ("Dear customer, we regret the damage and will send a replacement this week, at no charge, "
         "together with a voucher for your next order in one of our branches.", NOTE, False),
        ("", NOTE, False),
        (AGAIN, "", False),
    ],
)  # fmt: skip
def test_rephrasing(answer: str, source: str, found: bool) -> None:
    assert rephrases(answer, source) is found


def test_equal_requests_are_counted_with_what_they_cost(
    find: Callable[[Iterable[object]], Finding],
) -> None:
    calls = [line(f"Tell me about item {n % 20}.", f"answer {n % 20} {n >= 40}") for n in range(60)]
    repeated = find(calls).repeated
    assert repeated.calls == 40
    assert repeated.same == 20
    assert repeated.cost.low == pytest.approx(40 * (1000 * 1.25 + 10 * 10) / 1e6)


THINGS = ("kettle", "lantern", "saddle", "mirror", "teapot")
CITIES = ("Leeds", "Oslo", "Turin")
DAYS = ("Monday", "Sunday")


def pairs(count: int, *, session: bool) -> list[dict[str, object]]:
    """A note is answered, and then the same note is told again by another call site."""
    calls: list[dict[str, object]] = []
    for n in range(count):
        trace = {"trace_id": f"t{n}"} if session else {}
        thing, city, day = THINGS[n % 5], CITIES[n % 3], DAYS[n % 2]
        note = (
            f"{day} came the parcel with the {thing}, broken, and the shop in {city} said nothing "
            f"about number {n * 7919}."
        )
        told = (
            f"The {city} shop has said nothing; the parcel, number {n * 7919}, with the {thing} "
            f"came broken on {day}."
        )
        plan = (
            f"Send {thing} {n * 31} to {city}, refund postage, tell courier about {day}, file it."
        )
        calls.append(line(f"Plan what to do.\n\n{note}", plan, metadata={"task": "plan"}, **trace))
        calls.append(line(f"Retell it.\n\n{note}", told, metadata={"task": "retell"}, **trace))
        polished = (
            f"Refund the postage, send {thing} {n * 31} to {city}, then tell the courier about "
            f"{day} and file it."
        )
        prompt = f"Polish the plan for {note}"
        calls.append(line(prompt, polished, metadata={"task": "polish"}, **trace))
    return calls


@pytest.mark.parametrize("session", [True, False])
def test_an_answer_that_says_another_one_again(
    audited: Callable[[Iterable[object]], Audit], session: bool
) -> None:
    found = {one.name: one for one in audited(pairs(30, session=session)).findings}
    retold, polished = found["retell"].rephrasing, found["polish"].rephrasing
    assert retold is not None
    assert (retold.source, retold.found, retold.looked) == ("its own input", 30, 30)
    assert polished is not None
    assert polished.source == "the answer of plan"
    assert found["plan"].rephrasing is None, "what came first says nothing again"
