"""Drift in the ledger's database: shared by watches, kept by restarts, shown by reports."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from contextlib import closing
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import anyio
import pytest

from cascade import ConfigError
from cascade_policies.drift import (
    Drift,
    DriftWatch,
    LedgerDriftWatch,
    detections,
    load,
    read_baselines,
    save,
)
from cascade_policies.drift.monitor import COST, RATE
from cascade_policies.ledger.database import connect, transaction
from cascade_policies.ledger.insert import write_calls
from cascade_policies.ledger.rows import Recorder
from tests.policies.drift.conftest import MakeCall

GIVEN = {"tickets": {RATE: 0.1}}


def told(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    found = (record.__dict__.get("cascade") for record in caplog.records)
    return [fields for fields in found if fields is not None and fields["event"] == event]


def watch(path: Path, **settings: Any) -> LedgerDriftWatch:
    return LedgerDriftWatch(path, every=0.001, **settings)


def states(path: Path) -> dict[tuple[str, str], Any]:
    with closing(connect(path)) as connection:
        return load(connection)


def test_it_knows_what_a_watch_in_memory_would(path: Path, make_call: MakeCall) -> None:
    records = [make_call(number % 4 == 0, number * 1e-5) for number in range(500)]
    memory, kept = DriftWatch(), watch(path)
    for record in records:
        memory.call_finished(record)
        kept.call_finished(record)
    kept.close()
    expected = {(its["policy"], its["what"]): its["state"] for its in memory.to_dict()["watches"]}
    assert states(path) == expected


def test_several_watches_count_together(path: Path, make_call: MakeCall) -> None:
    records = [make_call(number % 4 == 0, number * 1e-5) for number in range(500)]
    for part in (records[:200], records[200:350], records[350:]):
        one = watch(path)
        for record in part:
            one.call_finished(record)
        one.close()
    memory = DriftWatch()
    for record in records:
        memory.call_finished(record)
    expected = {(its["policy"], its["what"]): its["state"] for its in memory.to_dict()["watches"]}
    assert states(path) == expected


def _count(path: Path, make: MakeCall, calls: int) -> None:
    one = watch(path)
    for _ in range(calls):
        one.call_finished(make())
    one.close(60)
    os._exit(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_processes_lose_no_call_of_each_other(path: Path, make_call: MakeCall) -> None:
    fork = multiprocessing.get_context("fork")
    each = [fork.Process(target=_count, args=(path, make_call, 40)) for _ in range(2)]
    for process in each:
        process.start()
    for process in each:
        process.join(60)
        assert process.exitcode == 0
    assert len(states(path)["tickets", RATE]["first"]) == 80


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_watch_begins_a_thread_of_its_own(path: Path, make_call: MakeCall) -> None:
    one = LedgerDriftWatch(path, every=60.0)  # its thread holds on to the call until it is closed
    one.call_finished(make_call())
    process = os.fork()
    if process == 0:
        one.call_finished(make_call())
        one.close(30)
        os._exit(0)
    assert os.waitpid(process, 0)[1] == 0
    assert len(states(path)["tickets", RATE]["first"]) == 1, "the parent's call is the parent's"
    one.close(30)
    assert len(states(path)["tickets", RATE]["first"]) == 2


def test_a_change_is_told_once_and_kept(
    path: Path, make_call: MakeCall, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        one = watch(path, baselines=GIVEN)
        for _ in range(20):
            one.call_finished(make_call(escalated=True, began=1000.0, latency=0.5))
        one.close()
    [event] = told(caplog, "cascade.drift_detected")
    assert (event["what"], event["now"]) == (RATE, 1.0)
    with closing(connect(path)) as connection:
        [found] = detections(connection, 0.0)
        rows = connection.execute("SELECT what, detected FROM drift ORDER BY what").fetchall()
    assert (found.policy, found.what, found.at, found.before) == ("tickets", RATE, 1000.5, 0.1)
    assert rows == [(COST, None), (RATE, 1000.5)]


def test_detections_of_a_time_and_a_task(connection: Connection) -> None:
    found = [
        Drift(policy=policy, what=RATE, at=at, before=0.1, now=0.2, evidence=2e4, calls=9)
        for policy, at in (("a", 1.0), ("b", 2.0), ("a", 3.0))
    ]
    with transaction(connection):
        save(connection, {("a", RATE): {"first": [1.0]}}, found, now=4.0)
    assert detections(connection, 0.0) == found[::-1]
    assert detections(connection, 2.0, 3.0) == [found[1]]
    assert detections(connection, 0.0, task="a") == [found[2], found[0]]
    assert load(connection, ["b"]) == {}
    assert load(connection) == {("a", RATE): {"first": [1.0]}}


def test_what_cannot_be_read_is_learned_anew(
    path: Path, make_call: MakeCall, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(connect(path)) as connection, transaction(connection):
        save(connection, {("tickets", RATE): {"later": 1}}, now=1.0)
        connection.execute("INSERT INTO drift VALUES ('tickets', ?, '{', NULL, 1.0)", (COST,))
    one = watch(path)
    one.call_finished(make_call())
    one.close()
    assert states(path)["tickets", RATE] == {"first": [0.0]}
    assert states(path)["tickets", COST] == {"first": [0.001]}
    assert [event["what"] for event in told(caplog, "cascade.drift_forgotten")] == [RATE]


def test_a_database_that_cannot_be_written_holds_up_nothing(
    path: Path, make_call: MakeCall, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text("this is no database")
    one = watch(path)
    for _ in range(5):
        one.call_finished(make_call())
    one.close()
    [event] = told(caplog, "cascade.drift_failed")
    assert str(path) == event["path"]
    path.unlink()
    one.call_finished(make_call())
    one.close()
    assert len(states(path)["tickets", RATE]["first"]) == 6, "none was forgotten"


def test_calls_while_it_is_closed_are_counted(path: Path, make_call: MakeCall) -> None:
    one = watch(path)

    def call() -> None:
        for _ in range(15):
            one.call_finished(make_call())

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        one.close(30)
    one.close(30)
    assert len(states(path)["tickets", RATE]["first"]) == 60


@pytest.mark.anyio
async def test_closing_does_not_hold_the_loop(path: Path, make_call: MakeCall) -> None:
    one = watch(path)
    one.call_finished(make_call())
    with anyio.fail_after(30):
        await one.aclose()
        await one.aclose()
    assert len(states(path)) == 2


def test_baselines_from_the_ledger(connection: Connection, make_call: MakeCall) -> None:
    records = [
        make_call(number % 4 == 0, None if number % 2 else 0.002, id=f"{number:016x}", began=50.0)
        for number in range(400)
    ]
    records.append(make_call(policy="rare", id="f" * 16, began=50.0))
    write_calls(connection, Recorder(), records)
    made = read_baselines(connection, until=100.0)
    assert set(made) == {"tickets"}
    assert made["tickets"][RATE].mean == pytest.approx(0.25)
    assert made["tickets"][COST].mean == pytest.approx(0.002)
    assert read_baselines(connection, until=50.0) == {}
    with pytest.raises(ConfigError, match="calls=10"):
        read_baselines(connection, until=100.0, calls=10)


@pytest.mark.parametrize("every", [0.0, -1.0, float("inf"), float("nan")])
def test_impossible_settings_are_refused(path: Path, every: float) -> None:
    with pytest.raises(ConfigError, match="every="):
        LedgerDriftWatch(path, every=every)


def test_the_log_is_a_warning(
    path: Path, make_call: MakeCall, caplog: pytest.LogCaptureFixture
) -> None:
    one = watch(path, baselines=GIVEN)
    for _ in range(20):
        one.call_finished(make_call(escalated=True))
    one.close()
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
