"""`SqliteLedger`: every call is written, none is held up, and trouble is counted."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from cascade import CascadeExhausted, Engine, Policy, Tier
from cascade.errors import ConfigError
from cascade.testing import ScriptedModel
from cascade_policies.ledger import database, storage, writer
from cascade_policies.ledger.database import connect, transaction
from cascade_policies.ledger.insert import write_calls
from cascade_policies.ledger.writer import SqliteLedger

if TYPE_CHECKING:
    from tests.policies.ledger.conftest import MakeCall


def call_ids(path: Path) -> list[str]:
    """Of the calls in the ledger, in order; every one of them has all its attempts."""
    with closing(connect(path, create=False)) as connection:
        rows = connection.execute(
            "SELECT call_id, attempts = (SELECT count(*) FROM attempts WHERE call = calls.id)"
            " FROM calls ORDER BY id"
        ).fetchall()
        assert all(whole for _, whole in rows)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return [id_ for id_, _ in rows]


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged, without its fields."""
    return [record.getMessage().split()[0] for record in caplog.records]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process writes, and takes its time."""
    with closing(connect(path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries again at once."""
    monkeypatch.setattr(storage, "BUSY", 0.01)
    monkeypatch.setattr(writer, "_RETRIES", (0.01,))


class TestAtWork:
    """As an observer of an engine."""

    @pytest.mark.anyio
    async def test_what_an_engine_tells_is_written(self, path: Path) -> None:
        small, large = ScriptedModel("no", name="small"), ScriptedModel("yes", name="large")
        policy = Policy(
            "yes-or-no",
            [
                Tier(small, verify=lambda answer: answer.text == "yes"),
                Tier(large, verify=lambda answer: answer.text == "yes"),
            ],
        )
        ledger = SqliteLedger(path)
        async with Engine(observers=[ledger]) as engine:
            result = await engine.run(policy, "Is it?")
            with pytest.raises(CascadeExhausted):
                await engine.run(Policy("no", policy.tiers[:1]), "Is it not?")
        assert ledger.close()
        assert (ledger.written, ledger.dropped, ledger.waiting) == (2, 0, 0)
        with closing(connect(path)) as connection:
            calls = connection.execute(
                "SELECT policy, outcome, tier, escalations, attempts, prompt, answer FROM calls"
            ).fetchall()
            tiers = connection.execute("SELECT call, tier, outcome FROM attempts").fetchall()
        assert result.text == "yes"
        assert calls == [
            ("yes-or-no", "accepted", "large", 1, 2, "Is it?", "yes"),
            ("no", "exhausted", None, 0, 1, "Is it not?", None),
        ]
        assert tiers == [
            (1, "small", "rejected"),
            (1, "large", "accepted"),
            (2, "small", "rejected"),
        ]

    def test_within_the_flush_interval_without_being_asked(
        self, path: Path, make_call: MakeCall, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batches = threading.Semaphore(0)
        insert = write_calls

        def observed(*arguments: Any, **keywords: Any) -> int:
            try:
                return insert(*arguments, **keywords)
            finally:
                batches.release()

        monkeypatch.setattr(storage, "write_calls", observed)
        ledger = SqliteLedger(path, flush_seconds=0.02)
        records = [make_call(number) for number in range(4)]
        for count, record in enumerate(records, 1):
            ledger.call_finished(record)
            assert batches.acquire(timeout=30)
            assert call_ids(path) == [record.id for record in records[:count]]
        ledger.close()

    def test_in_order_and_all_of_many(self, path: Path, make_call: MakeCall) -> None:
        ledger = SqliteLedger(path)
        records = [make_call(number) for number in range(3 * writer.BATCH + 7)]
        for record in records:
            ledger.call_finished(record)
        assert ledger.flush(60)
        assert call_ids(path) == [record.id for record in records]
        ledger.close()

    def test_after_closing_a_call_opens_it_again(self, path: Path, make_call: MakeCall) -> None:
        before = threading.active_count()
        ledger = SqliteLedger(path)
        assert ledger.close()
        for number in range(3):
            ledger.call_finished(make_call(number))
            assert ledger.close()
            assert ledger.close()
            assert len(call_ids(path)) == number + 1
        assert ledger.written == 3
        assert threading.active_count() == before

    def test_many_threads_and_many_ledgers_write_one_file(
        self, path: Path, make_call: MakeCall
    ) -> None:
        ledgers = [SqliteLedger(path), SqliteLedger(path)]
        records = [make_call(number) for number in range(400)]
        with ThreadPoolExecutor(4) as threads:
            for ledger in ledgers:
                mine = records[ledgers.index(ledger) :: 2]
                list(threads.map(ledger.call_finished, mine))
        assert all(ledger.close(60) for ledger in ledgers)
        assert sorted(call_ids(path)) == sorted(record.id for record in records)

    def test_closing_while_calls_finish_leaves_none_behind(
        self, path: Path, make_call: MakeCall
    ) -> None:
        ledger = SqliteLedger(path)
        records = [make_call(number) for number in range(300)]
        done = threading.Event()

        def close_again_and_again() -> None:
            while not done.is_set():
                ledger.close()

        closer = threading.Thread(target=close_again_and_again)
        closer.start()
        for record in records:
            ledger.call_finished(record)
        assert ledger.flush(60)
        done.set()
        closer.join()
        assert ledger.close()
        assert call_ids(path) == [record.id for record in records]

    @pytest.mark.anyio
    async def test_closing_does_not_hold_the_loop(
        self, path: Path, make_call: MakeCall, impatient: None
    ) -> None:
        ledger = SqliteLedger(path)
        with locked(path):
            ledger.call_finished(make_call())
            with anyio.move_on_after(0.05) as scope:
                await ledger.aclose()
        assert scope.cancelled_caught or ledger.waiting
        assert ledger.flush(30)
        assert ledger.close()

    def test_how_long_a_call_is_held(self, path: Path, make_call: MakeCall) -> None:
        ledger = SqliteLedger(path)
        records = [make_call(number) for number in range(2000)]
        taken = []
        for record in records:
            began = time.perf_counter()
            ledger.call_finished(record)
            taken.append(time.perf_counter() - began)
        assert sorted(taken)[len(taken) // 2] < 25e-6
        assert ledger.close(60)


class TestTrouble:
    """What cannot be written breaks no call."""

    def test_while_it_is_locked_calls_wait_and_are_written_afterwards(
        self, path: Path, make_call: MakeCall, impatient: None, caplog: pytest.LogCaptureFixture
    ) -> None:
        ledger = SqliteLedger(path)
        records = [make_call(number) for number in range(5)]
        with locked(path):
            for record in records:
                ledger.call_finished(record)
            assert not ledger.flush(0.3)
            assert ledger.waiting == 5
        assert ledger.flush(30)
        ledger.close()
        assert call_ids(path) == [record.id for record in records]
        assert events(caplog) == ["cascade.ledger_failed", "cascade.ledger_recovered"]

    @pytest.mark.parametrize("trouble", ["no folder", "no database", "full", "gone"])
    def test_when_the_trouble_is_over_all_is_written(
        self, path: Path, make_call: MakeCall, impatient: None, trouble: str,
        caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        place = path.parent / "data" / "ledger.db"
        if trouble == "no folder":
            place.parent.write_text("a file where the folder should be")
        else:
            place.parent.mkdir()
        if trouble == "no database":
            place.write_bytes(b"not a database at all" * 500)
        if trouble == "full":
            connect(place).close()

            def small_disk(*arguments: Any, **keywords: Any) -> sqlite3.Connection:
                connection = connect(*arguments, **keywords)
                (pages,) = connection.execute("PRAGMA page_count").fetchone()
                connection.execute(f"PRAGMA max_page_count = {pages}")
                return connection

            monkeypatch.setattr(storage, "connect", small_disk)
        if trouble == "gone":
            monkeypatch.setattr(storage, "connect", _raise_os_error)
        ledger = SqliteLedger(place)
        records = [make_call(number, "a prompt " * 1000) for number in range(20)]
        for record in records:
            ledger.call_finished(record)
        assert not ledger.flush(0.3)
        monkeypatch.setattr(storage, "connect", connect)
        if trouble == "no folder":
            place.parent.unlink()
        if trouble == "no database":
            place.unlink()
        assert ledger.flush(30)
        ledger.close()
        assert (ledger.written, ledger.dropped) == (20, 0)
        assert call_ids(place) == [record.id for record in records]
        assert events(caplog) == ["cascade.ledger_failed", "cascade.ledger_recovered"]

    def test_a_ledger_that_was_deleted_is_made_anew(self, path: Path, make_call: MakeCall) -> None:
        ledger = SqliteLedger(path)
        ledger.call_finished(make_call(1))
        assert ledger.flush(30)
        for file in list(path.parent.glob("ledger.db*")):
            file.unlink()
        later = make_call(2)
        ledger.call_finished(later)
        assert ledger.close(30)
        assert call_ids(path) == [later.id]

    @pytest.mark.parametrize("full", ["drop", "wait"])
    def test_what_finds_no_room_is_counted_and_told(
        self, path: Path, make_call: MakeCall, impatient: None, full: Any,
        caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.setattr(writer, "PATIENCE", 0.05)
        ledger = SqliteLedger(path, queue=5, full=full)
        records = [make_call(number) for number in range(100)]
        with locked(path):
            began = time.monotonic()
            for record in records:
                ledger.call_finished(record)
            assert time.monotonic() - began < 2.0  # held once, and not a hundred times
            assert ledger.dropped >= 100 - 2 * 6  # a batch under way, and the queue
            assert ledger.waiting <= 2 * 6
        assert ledger.close(30)
        assert ledger.written + ledger.dropped == 100
        first = [record.id for record in records[: ledger.written]]
        assert len(first) >= 5
        assert call_ids(path)[:5] == first[:5]
        assert "cascade.ledger_dropped" in events(caplog)

    def test_what_is_left_out_is_told_now_and_then(
        self, path: Path, make_call: MakeCall, caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.setattr(writer, "_TELL_EVERY", 1000.0)
        ledger = SqliteLedger(path, queue=1, full="drop")
        for number in range(20):
            before = ledger.dropped
            while ledger.dropped == before:
                ledger.call_finished(make_call(number))
            assert ledger.flush(30)
        assert ledger.close(30)
        told = [record for record in caplog.records if "ledger_dropped" in record.getMessage()]
        assert 1 <= len(told) <= 2  # the first, and the sum as it ends
        assert str(ledger.dropped) in told[-1].getMessage()

    @pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt, BaseException])
    def test_whatever_redaction_raises_the_ledger_goes_on(
        self, path: Path, make_call: MakeCall, caplog: pytest.LogCaptureFixture,
        raised: type[BaseException],
    ) -> None:  # fmt: skip
        def redact(text: str) -> str:
            raise raised(f"cannot redact {text}")

        ledger = SqliteLedger(path, redact=redact)
        for number in range(3):
            ledger.call_finished(make_call(number, "my secret"))
            assert ledger.flush(30)
        assert ledger.close(30)
        assert (ledger.written, ledger.dropped) == (3, 0)
        assert events(caplog).count("cascade.redaction_failed") == 1
        assert "my secret" not in caplog.text
        with closing(connect(path)) as connection:
            kept = connection.execute("SELECT DISTINCT prompt FROM calls").fetchall()
        assert kept == [("[not kept: the redaction failed]",)]

    def test_with_wait_a_slow_disk_loses_nothing(
        self, path: Path, make_call: MakeCall, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(writer, "PATIENCE", 30.0)
        ledger = SqliteLedger(path, queue=5, full="wait")
        records = [make_call(number) for number in range(200)]
        for record in records:
            ledger.call_finished(record)
            assert ledger.waiting <= 2 * 6
        assert ledger.close(60)
        assert call_ids(path) == [record.id for record in records]

    def test_after_trouble_with_the_limits_calls_are_written_as_ever(
        self, path: Path, make_call: MakeCall, impatient: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(storage, "LOOK_EVERY", (0.0, 1))
        tried = threading.Semaphore(0)

        def prune_in_vain(*arguments: Any, **keywords: Any) -> int:
            tried.release()
            if len(records) == 1:
                raise sqlite3.OperationalError("disk I/O error")
            return 0

        monkeypatch.setattr(storage, "prune", prune_in_vain)
        records = [make_call(1)]
        ledger = SqliteLedger(path, max_age_days=1, flush_seconds=0.01)
        ledger.call_finished(records[0])
        assert tried.acquire(timeout=30)
        assert ledger.flush(30)
        records.append(make_call(2))
        ledger.call_finished(records[1])
        assert tried.acquire(timeout=30)  # without being asked
        assert call_ids(path) == [record.id for record in records]
        ledger.close()

    def test_a_call_that_cannot_be_a_row_is_left_out_alone(
        self, path: Path, make_call: MakeCall, caplog: pytest.LogCaptureFixture
    ) -> None:
        records = [make_call(number) for number in range(9)]
        broken = make_call(4, latency=None)  # NOT NULL
        strange = make_call(4, cost=None)  # no Cost at all
        ledger = SqliteLedger(path)
        for record in (*records[:4], broken, *records[4:], strange):
            ledger.call_finished(record)
        assert ledger.close(30)
        assert (ledger.written, ledger.dropped) == (9, 2)
        assert call_ids(path) == [record.id for record in records]
        assert events(caplog) == ["cascade.call_unwritable"] * 2 + ["cascade.ledger_dropped"]

    def test_a_call_is_written_once(self, path: Path, make_call: MakeCall) -> None:
        ledger = SqliteLedger(path)
        record, other = make_call(1), make_call(2)
        for told in (record, other, record):
            ledger.call_finished(told)
        assert ledger.close(30)
        assert call_ids(path) == [record.id, other.id]
        assert ledger.dropped == 0

    def test_nothing_of_a_call_is_in_the_log(
        self, path: Path, make_call: MakeCall, impatient: None, caplog: pytest.LogCaptureFixture
    ) -> None:
        ledger = SqliteLedger(path)
        with locked(path):
            ledger.call_finished(make_call(4, "a private prompt", latency=None))
            ledger.flush(0.1)
        ledger.close(30)
        assert "private" not in caplog.text
        assert all(record.levelno == logging.WARNING for record in caplog.records)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"queue": 0}, "queue=0: needs 1 call or more"),
            ({"full": "block"}, "full='block': needs 'wait' or 'drop'"),
            ({"flush_seconds": 0}, "flush_seconds=0: needs seconds above 0, at most 1"),
            ({"flush_seconds": 1.5}, "flush_seconds=1.5"),
            ({"max_bytes": 1000}, "max_bytes=1000: needs 1,000,000 or more"),
            ({"max_age_days": -1}, "max_age_days=-1: needs days above 0"),
            ({"max_age_days": float("nan")}, "max_age_days=nan"),
            ({"prompt": "md5"}, "prompt='md5'"),
        ],
    )
    def test_a_setting_that_cannot_be_is_refused(
        self, path: Path, settings: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
            SqliteLedger(path, **settings)
        assert not path.exists()


class TestLimits:
    """Age and size are kept to while calls are written."""

    def test_size(self, path: Path, make_call: MakeCall, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(storage, "LOOK_EVERY", (0.0, 1))
        ledger = SqliteLedger(path, max_bytes=2_000_000)
        records = [make_call(number, f"{number} " * 500) for number in range(3000)]
        for record in records:
            ledger.call_finished(record)
        assert ledger.close(60)
        kept = call_ids(path)
        assert 100 < len(kept) < 2000
        assert kept == [record.id for record in records[-len(kept) :]]
        assert path.stat().st_size < 2_200_000

    def test_age(self, path: Path, make_call: MakeCall) -> None:
        old = [make_call(number, began=time.time() - 3 * 86_400) for number in range(3)]
        new = make_call(3)
        ledger = SqliteLedger(path, max_age_days=2)
        for record in (*old, new):
            ledger.call_finished(record)
        assert ledger.close(30)
        assert call_ids(path) == [new.id]


SCRIPT = """
import os, sys
from benchmarks.ledger_calls import call
from cascade_policies.ledger.writer import SqliteLedger

ledger = SqliteLedger(sys.argv[1])
ledger.call_finished(call(1))
"""
FORK = """
assert ledger.flush(30)
ledger.call_finished(call(2))
child = os.fork()
ledger.call_finished(call(3))
assert ledger.close(30)
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


class TestProcesses:
    """How a process ends, or becomes two."""

    def run(self, path: Path, script: str) -> None:
        command = [sys.executable, "-W", "ignore", "-c", script, str(path)]
        root = Path(database.__file__).parents[3]
        done = subprocess.run(
            command, cwd=root, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")

    def test_at_the_end_of_a_process_all_is_written(self, path: Path) -> None:
        self.run(path, SCRIPT)
        assert len(call_ids(path)) == 1

    @pytest.mark.skipif(sys.platform == "win32", reason="has no fork")
    def test_a_forked_process_writes_its_own_calls_and_no_others(self, path: Path) -> None:
        self.run(path, SCRIPT + FORK)
        assert len(call_ids(path)) == 4


def _raise_os_error(*arguments: Any, **keywords: Any) -> sqlite3.Connection:
    raise OSError("the network is gone")


def test_transactions_are_whole_or_nothing(path: Path) -> None:
    def interrupted(connection: sqlite3.Connection) -> None:
        with transaction(connection):
            connection.execute("INSERT INTO latencies VALUES ('m', '{}', 0)")
            raise KeyboardInterrupt

    with closing(connect(path)) as connection:
        with pytest.raises(KeyboardInterrupt):
            interrupted(connection)
        assert connection.execute("SELECT * FROM latencies").fetchall() == []
