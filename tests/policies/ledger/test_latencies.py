"""How long models take is kept with the ledger, and each attempt counts once."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from cascade import Engine, Policy, Tier
from cascade.latency import ModelLatency
from cascade.testing import FaultyServer, Reply
from cascade_policies.ledger.database import connect
from cascade_policies.ledger.latencies import load_latencies, save_latencies
from cascade_policies.ledger.writer import SqliteLedger

MODEL = "openai:small"


def slow() -> ModelLatency:
    latency = ModelLatency()
    latency.record(3.0, 1.8e9, first_token=0.5, tokens=20)
    return latency


def count(path: Path) -> float:
    """Attempts that the database knows of; those of the last minutes count in full."""
    data = load_latencies(path).get(MODEL)
    return 0.0 if data is None else ModelLatency.from_dict(data).total.count(time.time())


def known(engine: Engine) -> float:
    data = engine.latencies().get(MODEL)
    return 0.0 if data is None else ModelLatency.from_dict(data).total.count(time.time())


def test_what_is_saved_is_loaded_and_replaces_what_was(path: Path) -> None:
    save_latencies(path, {"openai:a": ModelLatency().to_dict(), "openai:b": slow().to_dict()})
    save_latencies(path, {"openai:a": slow().to_dict()})
    loaded = load_latencies(path)
    assert set(loaded) == {"openai:a", "openai:b"}
    assert ModelLatency.from_dict(loaded["openai:a"]).to_dict() == slow().to_dict()


def test_without_a_ledger_there_are_none_and_none_is_made(path: Path) -> None:
    assert load_latencies(path) == {}
    assert not path.exists()


async def call(engine: Engine, policy: Policy, times: int) -> None:
    for _ in range(times):
        await engine.run(policy, "hello")


@pytest.fixture
def policy() -> Iterator[Policy]:
    with FaultyServer(default=Reply("ok")) as server:
        yield Policy("p", [Tier(MODEL, base_url=server.base_url)])


def broken(path: Path) -> None:
    path.write_text("no database, but long enough to be taken for one" * 100)


@pytest.mark.anyio
class TestEngines:
    """An engine with a ledger begins with what is known, and adds what it has seen."""

    async def test_each_attempt_counts_once_however_many_engines_share_the_file(
        self, path: Path, policy: Policy
    ) -> None:
        shared = SqliteLedger(path)
        async with Engine(observers=[shared]) as first:
            await call(first, policy, 3)
        assert count(path) == pytest.approx(3, rel=1e-3)
        # Both learn the same three, and a third ledger of the file is given to one of them.
        other = SqliteLedger(path)
        async with (
            Engine(observers=[shared, other]) as second,
            Engine(observers=[other]) as third,
        ):
            assert (known(second), known(third)) == pytest.approx((3, 3), rel=1e-3)
            await call(second, policy, 2)
            await call(third, policy, 4)
            assert known(second) == pytest.approx(5, rel=1e-3)
        assert count(path) == pytest.approx(9, rel=1e-3)
        async with Engine(observers=[shared]) as idle:
            assert known(idle) == pytest.approx(9, rel=1e-3)
        assert count(path) == pytest.approx(9, rel=1e-3)
        shared.close()
        other.close()

    async def test_closing_writes_what_waits(self, path: Path, policy: Policy) -> None:
        ledger = SqliteLedger(path, flush_seconds=1.0)
        async with Engine(observers=[ledger]) as engine:
            await call(engine, policy, 2)
        assert (ledger.written, ledger.waiting) == (2, 0)
        ledger.close()

    async def test_an_engine_without_calls_makes_no_database(self, path: Path) -> None:
        async with Engine(observers=[SqliteLedger(path)]):
            pass
        assert not path.exists()  # noqa: ASYNC240  (a look at a local disk)

    async def test_a_broken_database_stops_no_engine(
        self, path: Path, policy: Policy, caplog: pytest.LogCaptureFixture
    ) -> None:
        broken(path)
        ledger = SqliteLedger(path)
        with caplog.at_level(logging.WARNING):
            async with Engine(observers=[ledger]) as engine:
                await call(engine, policy, 1)
        assert "cascade.ledger_failed" in caplog.text
        ledger.close()

    async def test_one_that_is_being_written_is_not_waited_for(self, path: Path) -> None:
        save_latencies(path, {MODEL: slow().to_dict()})
        with closing(connect(path)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            with anyio.fail_after(5):
                async with Engine(observers=[SqliteLedger(path)]) as engine:
                    assert MODEL in engine.latencies()
            connection.execute("ROLLBACK")

    @pytest.mark.parametrize("data", ['{"version": 99}', "no JSON"])
    async def test_what_cannot_be_understood_begins_anew(
        self, path: Path, policy: Policy, data: str
    ) -> None:
        connect(path).close()
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("INSERT INTO latencies VALUES (?, ?, 0)", (MODEL, data))
        ledger = SqliteLedger(path)
        async with Engine(observers=[ledger]) as engine:
            await call(engine, policy, 2)
        assert count(path) == pytest.approx(2, rel=1e-3)
        ledger.close()


def test_a_name_that_is_no_text_is_kept(path: Path) -> None:
    save_latencies(path, {"odd\ud83d": slow().to_dict()})
    assert list(load_latencies(path)) == ["odd\N{REPLACEMENT CHARACTER}"]
