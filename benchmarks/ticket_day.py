"""A day of a support desk that answers every ticket with fourteen calls to a frontier model.

The workflow is the one that field reports tell of: nobody asked which of its steps need a model.

- six **keyword checks**, answered yes or no;
- two **rephrasings**: the ticket in other words, and the drafted reply in a warmer tone;
- one fills a **tool's parameters** from the ticket;
- one **drafts the reply**;
- four need **no model**: a sum, a reference given back, a sentence that is always the same, and
  values of a JSON record that stands in the prompt.

Tickets are made of sentences of which each has its rephrasing beside it, with names, products,
dates and amounts drawn at random; the same seed gives the same day. Now and then a check is
answered wrongly, as models do (`NOISE`). `benchmarks.ticket_logs` writes the day down.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from random import Random
from typing import Any, Final

from benchmarks.ticket_texts import REPLIES, TOPICS

MODEL: Final = "claude-opus-4-1"
PROVIDER: Final = "anthropic"

CHARS_PER_TOKEN: Final = 4
HANDBOOK_TOKENS: Final = 3_700
"""The desk's handbook of some 2,800 words stands in the system message of every call."""

NOISE: Final = 0.005
"""Share of the keyword checks that the model answers wrongly."""

START: Final = 1_790_000_000.0
SYSTEM: Final = "You work for the support desk of Northwind Audio. Follow the handbook."


@dataclass(frozen=True, slots=True)
class Ticket:
    """One ticket with all that its fourteen calls are asked about."""

    id: str
    order: str | None
    customer: str
    product: str
    topics: tuple[str, ...]
    text: str
    restated: str
    items: tuple[tuple[int, float], ...]
    record: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One of the fourteen calls.

    Attributes:
        level: what it needs: ``code``, ``small`` or ``frontier``.
        kind: what sort of work it is, as the audit calls it.
        ask: the prompt.
        answer: the right answer, as text, or a tool's arguments.
    """

    name: str
    level: str
    kind: str
    ask: Callable[[Ticket], str]
    answer: Callable[[Ticket], str | dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Made:
    """A call that was made: tokens as the provider counts them, and times in seconds."""

    step: Step
    ticket: Ticket
    prompt: str
    answer: str | dict[str, Any]
    input_tokens: int
    output_tokens: int
    began: float
    latency: float

    @property
    def text(self) -> str:
        """The answer as it was written."""
        return self.answer if isinstance(self.answer, str) else json.dumps(self.answer)


_RATES: Final = {"refund": 0.35, "cancel": 0.25, "urgent": 0.3, "legal": 0.15, "delivery": 0.35}
_PRODUCTS: Final = ("Aria headphones", "Borealis speaker", "Cadence amplifier", "Duet microphone",
                    "Echo turntable", "Forte subwoofer", "Grace earbuds")  # fmt: skip
_CITIES: Final = ("Lisbon", "Oslo", "Ghent", "Turin", "Leeds", "Graz", "Porto", "Malmö", "Brno")
_FIRST: Final = (
    "Ada",
    "Björn",
    "Chloe",
    "Dmitri",
    "Elif",
    "Farid",
    "Greta",
    "Hugo",
    "Ines",
    "Jonas",
)
_LAST: Final = ("Almeida", "Berg", "Costa", "Dahl", "Evans", "Fischer", "Greco", "Hansen", "Ito")
_MONTHS: Final = ("January", "March", "April", "June", "August", "October", "December")
_OPENINGS: Final = ("", "Hello, this is {first}.", "Hi,", "Good morning from {city}.",
                    "Dear support team,", "{first} {last} here, again.", "To whom it may concern:",
                    "Hello Northwind,", "Two days ago I bought from you.")  # fmt: skip
_PLANS: Final = ("basic", "plus", "studio")


def tickets(count: int, seed: int = 0) -> list[Ticket]:
    """That many tickets; the first ones of a longer day are those of a shorter one."""
    random = Random(seed)  # noqa: S311  (no secret)
    return [_ticket(random, 10_000 + number * 7 + random.randrange(7)) for number in range(count)]


def _ticket(random: Random, number: int) -> Ticket:
    first, last = random.choice(_FIRST), random.choice(_LAST)
    product = random.choice(_PRODUCTS)
    topics = tuple(topic for topic, rate in _RATES.items() if random.random() < rate)
    items = tuple((random.randint(1, 6), random.randint(400, 29_999) / 100)
                  for _ in range(random.randint(2, 4)))  # fmt: skip
    order = f"ORD-{random.randint(10_000, 99_999)}" if random.random() < 0.6 else None
    sentences = []
    for topic in random.sample((*topics, "other", "other"), len(topics) + 2):
        said, again = random.choice(TOPICS[topic])
        fill = {
            "product": product,
            "city": random.choice(_CITIES),
            "date": f"{random.randint(1, 28)} {random.choice(_MONTHS)}",
            "amount": f"{random.randint(20, 900)} euros",
        }
        sentences.append((said.format(**fill), again.format(**fill)))
    if order is not None:
        sentences.append((f"My order number is {order}.", f"The order number given is {order}."))
    opening = random.choice(_OPENINGS).format(first=first, last=last, city=random.choice(_CITIES))
    record = {
        "customer": f"{first} {last}",
        "plan": random.choice(_PLANS),
        "since": random.randint(2009, 2025),
        "orders": random.randint(1, 60),
        "newsletter": random.random() < 0.5,
    }
    return Ticket(
        id=f"T-{number}",
        order=order,
        customer=f"{first} {last}",
        product=product,
        topics=topics,
        text=" ".join(filter(None, (opening, *(said for said, _ in sentences)))),
        restated=" ".join(again for _, again in sentences),
        items=items,
        record=record,
    )


def _check(name: str, question: str, right: Callable[[Ticket], bool]) -> Step:
    return Step(
        name,
        "code",
        "keywords",
        lambda ticket: f"{question} Answer yes or no.\n\nTicket: {ticket.text}",
        lambda ticket: "yes" if right(ticket) else "no",
    )


def total(items: Sequence[tuple[int, float]]) -> str:
    """What an order comes to, in cents' precision."""
    return f"{sum(n * round(100 * price) for n, price in items) / 100:.2f}"


def _bill(ticket: Ticket) -> str:
    return " + ".join(f"{n} x {price:.2f}" for n, price in ticket.items)


def draft(ticket: Ticket) -> str:
    """A reply of some four paragraphs."""
    parts = [f"Dear {ticket.customer}, thank you for writing to us about the {ticket.product}."]
    parts += [
        REPLIES[topic][0].format(product=ticket.product) for topic in (*ticket.topics, "close")
    ]
    return "\n\n".join(parts)


def softened(ticket: Ticket) -> str:
    """The same reply in a warmer tone."""
    parts = [f"Hello {ticket.customer}! Many thanks for writing about your {ticket.product}."]
    parts += [
        REPLIES[topic][1].format(product=ticket.product) for topic in (*ticket.topics, "close")
    ]
    return "\n\n".join(parts)


STEPS: Final[tuple[Step, ...]] = (
    _check("mentions_refund", "Does the customer ask for money back?",
           lambda t: "refund" in t.topics),
    _check("wants_to_cancel", "Does the customer want to cancel anything?",
           lambda t: "cancel" in t.topics),
    _check("is_urgent", "Is the matter urgent?", lambda t: "urgent" in t.topics),
    _check("mentions_legal", "Does the customer threaten with legal action?",
           lambda t: "legal" in t.topics),
    _check("asks_about_delivery", "Is it about a delivery that has not come?",
           lambda t: "delivery" in t.topics),
    _check("has_order_number", "Does the message name an order number?",
           lambda t: t.order is not None),
    Step("restate_ticket", "small", "rephrasing",
         lambda t: f"Say what the customer writes in plain words, leaving nothing out.\n\n{t.text}",
         lambda t: t.restated),
    Step("confirm_reference", "code", "echo",
         lambda t: f"Give back the reference of this ticket and nothing else.\nReference: {t.id}\n"
                   f"Message: {t.text}",
         lambda t: t.id),
    Step("acknowledge", "code", "constant",
         lambda t: f"Write the usual first line of an acknowledgement.\n\nTicket: {t.text}",
         lambda _: "We have received your message and will answer within one working day."),
    Step("read_record", "code", "json in the prompt",
         lambda t: "From the customer's record give the customer, plan and since as JSON.\n\n"
                   f"Record: {json.dumps(t.record)}",
         lambda t: json.dumps({key: t.record[key] for key in ("customer", "plan", "since")})),
    Step("order_total", "code", "arithmetic",
         lambda t: f"What does this order come to in euros? Give the number only.\n\n{_bill(t)}",
         lambda t: total(t.items)),
    Step("fill_case", "small", "tool parameters",
         lambda t: f"Open a case for this ticket with the tool.\nReference: {t.id}\n"
                   f"Customer: {t.customer}\nMessage: {t.text}",
         lambda t: {"reference": t.id, "customer": t.customer, "product": t.product}),
    Step("draft_reply", "frontier", "long free text",
         lambda t: f"Draft a reply to this ticket that follows the handbook.\n\n{t.text}", draft),
    Step("soften_reply", "small", "rephrasing",
         lambda t: f"Rewrite this reply in a warmer tone. Keep every fact.\n\n{draft(t)}",
         softened),
)  # fmt: skip


def tokens(text: str) -> int:
    """About as many as English prose has."""
    return ceil(len(text) / CHARS_PER_TOKEN)


def made(day: Sequence[Ticket], seed: int = 0) -> Iterator[Made]:
    """All calls of the day, ticket by ticket, as the frontier model answered them."""
    random = Random(seed + 1)  # noqa: S311  (no secret)
    for number, ticket in enumerate(day):
        began = START + 60.0 * number
        for step in STEPS:
            prompt, answer = step.ask(ticket), step.answer(ticket)
            if step.kind == "keywords" and isinstance(answer, str):
                if random.random() < NOISE:
                    answer = "no" if answer == "yes" else "yes"
                answer = random.choice((answer, answer, answer.title(), f"{answer.title()}."))
            one = Made(step, ticket, prompt, answer, 0, 0, began, 0.0)
            written = tokens(one.text)
            latency = frontier_latency(written) * random.uniform(0.8, 1.3)
            read = HANDBOOK_TOKENS + tokens(SYSTEM + prompt)
            yield Made(step, ticket, prompt, answer, read, written, began, latency)
            began += latency


def frontier_latency(written: int) -> float:
    """Seconds: assumed 1.5 to the first token, and 50 tokens a second from there."""
    return 1.5 + written / 50
