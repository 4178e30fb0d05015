"""One cell of the matrix: a call in which one tier fails, and all that must hold afterwards."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest

from cascade import Answer, Attempt, CallError, Engine, Policy, ProviderError, Result, Tier
from cascade.testing import FaultyServer
from cascade.transport import Transport
from cascade.transports.httpx import HttpxTransport
from tests.faults.table import Fault, Mode, Outcome

Start = Literal["cascade", "race", "hedge"]
Position = Literal["first", "last"]

START_AFTER: dict[Start, float | None] = {"cascade": None, "race": 0, "hedge": 0.01}
DEADLINE = 20.0
"""Seconds that a call has. No fault takes a tenth of them, so a call that does has hung."""

RUNS = {"asyncio": "httpx", "trio": "httpx", "asyncio-aiohttp": "aiohttp"}
"""Event loops, each with an HTTP client that it can use."""

PATHS = {
    "openai": "/v1",
    "anthropic": "",
    "gemini": "/v1beta",
    "openai-responses": "/v1",
    "ollama": "",
}
"""What follows the host in the address of each wire format."""

_numbers = itertools.count()


@dataclass(frozen=True)
class Cell:
    """Where in the matrix."""

    fault: Fault
    start: Start
    mode: Mode
    position: Position
    wire: str = "openai"
    run: str = "asyncio-aiohttp"

    @property
    def outcome(self) -> Outcome:
        """What is to come of the faulty attempt."""
        outcome = self.fault.outcome(self.mode, self.wire, RUNS[self.run])
        assert outcome is not None
        return outcome

    def __str__(self) -> str:
        place = f"{self.start}-{self.mode}-{self.position}"
        return f"{self.run}-{self.wire}-{self.fault.name}-{place}"


def cells(
    faults: Iterable[Fault],
    *,
    starts: Iterable[Start] = ("cascade", "race", "hedge"),
    modes: Iterable[Mode] = ("plain", "stream"),
    positions: Iterable[Position] = ("first", "last"),
    **where: str,
) -> list[Any]:
    """Every combination there is, as parameters for ``run`` and ``cell``.

    What is heavy is met once as a stream and once not.
    """
    found = [
        Cell(fault, start, mode, position, **where)
        for fault, start, mode, position in itertools.product(faults, starts, modes, positions)
        if not fault.heavy or (start, position) == ("cascade", "first")
    ]
    return [
        pytest.param(cell.run, cell, id=str(cell))
        for cell in found
        if cell.fault.outcome(cell.mode, cell.wire) is not None
    ]


def is_good(answer: Answer) -> bool:
    """The check of every tier; a part of a faulty answer would pass it."""
    return answer.text.startswith("good")


@dataclass(frozen=True)
class Stand:
    """Where cells are tried.

    Attributes:
        server: answers "good" for the model ``quick`` and "bad" for ``bad``.
        places: scheme, host and port of each place that a fault may be at.
        transport: a client, which the engines of all cells share.
    """

    server: FaultyServer
    places: dict[str, str]
    transport: Transport

    async def call(self, cell: Cell, **settings: Any) -> Result | CallError:
        """Make the call of a cell; its result, or the one error that there is instead.

        Afterwards no task is left, nothing is being answered, and no connection is open but those
        kept for the next call, which works.
        """
        policy = self._policy(cell, **{"deadline": DEADLINE, **settings})
        before = _tasks()
        others = self.server.open_connections - self._kept()  # of other clients
        async with Engine(http=self.transport) as engine:
            began = time.monotonic()
            try:
                found: Result | CallError = await engine.run(policy, "hi")
            except CallError as error:
                found = error
            took = time.monotonic() - began
            assert _tasks() == before
            assert self._busy() == 0
            assert (await engine.run(self.policy_of("quick"), "hi")).text == "good"
        assert policy.deadline is not None
        assert took < policy.deadline + 1.0
        # What the client has closed the server sees as soon as it looks.
        self.server.wait_for(lambda: self.server.ledger.running == 0)
        self.server.wait_for(lambda: self.server.open_connections <= others + self._kept())
        return found

    def check(self, cell: Cell, attempt: Attempt) -> None:
        """The faulty attempt ended as the table says."""
        outcome, error = cell.outcome, attempt.error
        if outcome.error is None:
            assert (attempt.outcome, error) == ("accepted", None)
            return
        assert isinstance(error, ProviderError)
        assert type(error) is outcome.error
        assert (attempt.outcome, attempt.reason) == (
            "failed",
            f"{type(error).__name__}: {error.message}",
        )
        host = urlsplit(self.places[cell.fault.place]).netloc
        model = attempt.model.partition(":")[2]
        assert outcome.says.replace("HOST", host).replace("MODEL", model) in error.message
        assert error.retryable is outcome.retried
        assert str(error).startswith(f"policy 'p', tier 'faulty', attempt {attempt.number}: ")
        if "Retry-After" in cell.fault.name:
            long = error.retry_after is not None and error.retry_after > DEADLINE
            assert long is ("absurd" not in cell.fault.name)

    def policy_of(self, model: str, **settings: Any) -> Policy:
        """One tier, with a model of the server's."""
        return Policy("p", [self._tier(model, base_url=self.server.base_url, **settings)])

    def _policy(self, cell: Cell, *, deadline: float, **settings: Any) -> Policy:
        fault = cell.fault
        model = f"m{next(_numbers)}"  # its own, as if nothing were known of it yet
        if fault.script is not None:
            self.server.on(model, fault.script)
        faulty = self._tier(
            model,
            wire=cell.wire,
            name="faulty",
            base_url=self.places[fault.place] + PATHS[cell.wire],
            params={"stream": cell.mode == "stream"},
            **{"timeout": fault.timeout, "retries": fault.retries, **settings},
        )
        other = self._tier(
            "quick" if cell.position == "first" else "bad", base_url=self.server.base_url
        )
        tiers = [faulty, other] if cell.position == "first" else [other, faulty]
        return Policy("p", tiers, start_after=START_AFTER[cell.start], deadline=deadline)

    def _tier(self, model: str, *, wire: str = "openai", **settings: Any) -> Tier:
        return Tier(f"{wire}:{model}", **{"verify": is_good, **settings})

    def _busy(self) -> int:
        return _connections(self.transport)[0]

    def _kept(self) -> int:
        return _connections(self.transport)[1]


def _tasks() -> set[asyncio.Task[Any]]:
    try:
        return asyncio.all_tasks()
    except RuntimeError:  # trio, which has no tasks outside of nurseries
        return set()


def _connections(transport: Any) -> tuple[int, int]:
    """Connections in use, and idle ones; there is no public way."""
    if isinstance(transport, HttpxTransport):
        pool = transport.client._transport._pool.connections
        idle = sum(connection.is_idle() for connection in pool)
        return len(pool) - idle, idle
    connector = transport.session.connector
    return len(connector._acquired), sum(len(kept) for kept in connector._conns.values())
