"""The policies that ``python -m benchmarks.soak`` mixes: every dial and wire format."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from cascade import Answer, Policy, Price, Request, Tier, Verdict

TIMEOUT: Final = 0.4
"""Seconds an attempt may take: what hangs, hangs until then."""

_PRICE: Final = Price(input=1.0, output=4.0)


class SaysYes:
    """Accepts what begins with "yes", and gives up on a "no" while it is being generated."""

    def verify(self, request: Request, answer: Answer, /) -> Verdict:
        """By the first word."""
        if answer.text.startswith("yes"):
            return Verdict.accept()
        return Verdict.reject("it does not say yes", repairable=True)

    def prefix(self, text: str) -> Verdict | None:
        """The same, as soon as a word is there."""
        return Verdict.reject("it says no") if text.startswith("no") else None


@dataclass(frozen=True, slots=True)
class Places:
    """Where models are: at the server, and at addresses where there are none.

    Attributes:
        url: of the server, without a path.
        deaf: a port that connections are made to and nobody reads from.
        refusing: a port that refuses connections.
    """

    url: str
    deaf: int
    refusing: int

    def tier(self, random: Random, name: str) -> Tier:
        """A tier at a random place: seven in eight at the server."""
        settings: dict[str, Any] = {
            "name": name,
            "verify": SaysYes(),
            "timeout": TIMEOUT,
            "retries": random.choice((0, 1, 2)),
            "repairs": random.choice((0, 0, 1)),
            "price": _PRICE,
            **random.choice(_SHAPES),
        }
        return Tier(**self._model(random), **settings)

    def _model(self, random: Random) -> dict[str, Any]:
        number = random.randrange(4)
        if random.random() < 1 / 8:
            model, base_url = random.choice(
                (
                    ("refused", f"http://127.0.0.1:{self.refusing}/v1"),
                    ("deaf", f"http://127.0.0.1:{self.deaf}/v1"),
                    ("nameless", "http://soak.invalid/v1"),
                    ("no-tls", self.url.replace("http:", "https:") + "/v1"),
                )
            )
            return {"model": f"openai:{model}-{number}", "base_url": base_url}
        provider, path = random.choice(_FORMATS)
        model = f"{provider}:{provider}-{number}"
        return {"model": model, "base_url": self.url + path, "api_key": "no-secret"}


_FORMATS: Final = (
    ("openai", "/v1"),
    ("openai-responses", "/v1"),
    ("anthropic", ""),
    ("gemini", "/v1beta"),
    ("ollama", ""),
)

_SHAPES: Final[Sequence[dict[str, Any]]] = (
    {},
    {},
    {"replica_after": 0.01},
    {"samples": 2},
)


def mixed_policies(places: Places, random: Random, count: int = 60) -> list[Policy]:
    """A third each of cascades, races and hedges, with two or three tiers."""
    return [_policy(places, random, i) for i in range(count)]


def _policy(places: Places, random: Random, i: int) -> Policy:
    kind = ("cascade", "race", "hedge")[i % 3]
    tiers = [places.tier(random, f"tier{k}") for k in range(random.choice((2, 3)))]
    start_after = {"cascade": None, "race": 0, "hedge": random.choice((0.005, 0.02, 0.05))}[kind]
    return Policy(
        f"{kind}-{i}",
        tiers,
        start_after=start_after,
        grace=random.choice((None, 0.02)) if kind == "hedge" else None,
        deadline=random.choice((None, 0.3, 1.0)),
        exhausted=random.choice(("raise", "best")),
    )


@contextmanager
def places_of(url: str) -> Iterator[Places]:
    """Places with the server at ``url``, and the ports where nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as refusing:
        port: int = refusing.getsockname()[1]
    # As many connections as are ever made wait here, or connecting itself would time out.
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as deaf:
        yield Places(url, deaf.getsockname()[1], port)
