"""The books: limits, windows, orphans, in one process and without a thread."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cascade.errors import BudgetExceededError
from cascade_policies.budget import BudgetSettings, TaskBudget
from cascade_policies.budget import holders as holders_module
from cascade_policies.budget.accounts import Accounts
from cascade_policies.budget.entries import ALL, Reservation, Settlement, Wanted
from cascade_policies.budget.holders import SILENCE
from cascade_policies.budget.process import Process, alive, this_process
from cascade_policies.budget.windows import window
from cascade_policies.ledger.database import connect
from tests.policies.budget.conftest import NOON, Clock

CENT = 10_000_000


def books(path: Path, clock: Clock, **settings: object) -> Accounts:
    """Books of their own connection."""
    return Accounts(connect(path), BudgetSettings(**settings), clock)  # type: ignore[arg-type]


def reserve(accounts: Accounts, cents: int, task: str = "t") -> Reservation:
    """Set cents aside.

    Raises:
        BudgetExceededError: they are not there.
    """
    (answer,) = accounts.transact(wanted=[Wanted(task, cents * CENT)]).answers
    if isinstance(answer, BudgetExceededError):
        raise answer
    return answer


def settle(accounts: Accounts, reservation: Reservation, cents: int) -> None:
    """Book what it cost."""
    accounts.transact([Settlement(reservation, 0, cents * CENT)])


def spent(connection: sqlite3.Connection) -> tuple[int, ...]:
    """Cents: counted as spent, orphaned, freed, set aside; and attempts, orphans."""
    sums = connection.execute(
        "SELECT coalesce(sum(high), 0), coalesce(sum(orphaned), 0), coalesce(sum(freed), 0),"
        " (SELECT coalesce(sum(amount), 0) FROM budget_reserved) FROM budget_spent"
    ).fetchone()
    return tuple(each // CENT for each in sums)


class TestLimits:
    def test_to_the_last_cent_and_not_one_more(self, path: Path, clock: Clock) -> None:
        accounts = books(path, clock, day=1.0)
        reserve(accounts, 60)
        reserve(accounts, 40)
        with pytest.raises(BudgetExceededError) as refused:
            reserve(accounts, 1)
        assert str(refused.value) == (
            "policy 't': an attempt may cost $0.01, and $0.00 of the day's $1.00 for all tasks is "
            "left besides $1.00 for attempts in flight; filled again at 2026-06-16T00:00+00:00"
        )

    def test_what_was_not_needed_is_there_again(self, path: Path, clock: Clock) -> None:
        accounts = books(path, clock, day=1.0)
        settle(accounts, reserve(accounts, 100), 30)
        settle(accounts, reserve(accounts, 70), 70)
        with pytest.raises(BudgetExceededError, match=r"\$0.00 of the day's \$1.00"):
            reserve(accounts, 1)

    def test_an_attempt_that_fits_no_window_is_told_so(self, path: Path, clock: Clock) -> None:
        with pytest.raises(BudgetExceededError, match="more than all of the hour's"):
            reserve(books(path, clock, hour=0.5, day=1.0), 51)

    def test_a_task_has_its_own_limit_within_that_of_all(self, path: Path, clock: Clock) -> None:
        accounts = books(path, clock, day=1.0, tasks={"a": TaskBudget(day=0.25)})
        reserve(accounts, 20, "a")
        with pytest.raises(BudgetExceededError, match="for task 'a'"):
            reserve(accounts, 10, "a")
        reserve(accounts, 75, "b")
        with pytest.raises(BudgetExceededError, match="for all tasks"):
            reserve(accounts, 6, "b")
        reserve(accounts, 5, "a")

    def test_a_refusal_in_a_group_does_not_hinder_the_others(
        self, path: Path, clock: Clock
    ) -> None:
        wanted = [Wanted("t", cents * CENT) for cents in (60, 50, 40, 1)]
        answers = books(path, clock, day=1.0).transact(wanted=wanted).answers
        assert [type(each) is Reservation for each in answers] == [True, False, True, False]

    def test_what_cost_more_than_was_set_aside_counts_in_full(
        self, path: Path, clock: Clock, connection: sqlite3.Connection
    ) -> None:
        accounts = books(path, clock, day=1.0)
        settle(accounts, reserve(accounts, 50), 120)
        assert spent(connection)[0] == 120
        with pytest.raises(BudgetExceededError):
            reserve(accounts, 1)

    def test_without_limits_everything_is_booked_all_the_same(
        self, path: Path, clock: Clock, connection: sqlite3.Connection
    ) -> None:
        accounts = books(path, clock, per_call=1.0)
        settle(accounts, reserve(accounts, 5000), 4000)
        assert spent(connection) == (4000, 0, 0, 0)


class TestWindows:
    @pytest.mark.parametrize(
        ("kind", "seconds"), [("hour", 3600), ("day", 12 * 3600), ("month", 15 * 86400 + 12 * 3600)]
    )
    def test_a_new_window_is_full_again(
        self, path: Path, clock: Clock, kind: str, seconds: int
    ) -> None:
        accounts = books(path, clock, **{kind: 1.0})
        settle(accounts, reserve(accounts, 100), 100)
        clock.advance(seconds - 0.001)
        with pytest.raises(BudgetExceededError):
            reserve(accounts, 1)
        clock.advance(0.001)
        reserve(accounts, 100)

    def test_an_attempt_counts_where_it_ends_and_is_set_aside_until_then(
        self, path: Path, clock: Clock
    ) -> None:
        accounts = books(path, clock, hour=1.0)
        reservation = reserve(accounts, 60)
        clock.advance(3600)
        with pytest.raises(BudgetExceededError):
            reserve(accounts, 41)
        settle(accounts, reservation, 50)
        reserve(accounts, 50)
        clock.advance(3600)
        with pytest.raises(BudgetExceededError, match=r"\$0.50 of the hour's"):
            reserve(accounts, 51)

    def test_the_smallest_of_several_windows_counts(self, path: Path, clock: Clock) -> None:
        accounts = books(path, clock, hour=1.0, day=1.5)
        settle(accounts, reserve(accounts, 100), 100)
        clock.advance(3600)
        with pytest.raises(BudgetExceededError, match="day"):
            reserve(accounts, 51)

    def test_a_limit_set_later_counts_what_was_spent_before_it(
        self, path: Path, clock: Clock
    ) -> None:
        before = books(path, clock, hour=5.0)
        settle(before, reserve(before, 80), 80)
        clock.advance(7200)
        later = books(path, clock, day=1.0, tasks={"t": TaskBudget(month=0.9)})
        with pytest.raises(BudgetExceededError, match=r"\$0.20 of the day's"):
            reserve(later, 21, "other")
        with pytest.raises(BudgetExceededError, match=r"\$0.10 of the month's"):
            reserve(later, 11)

    def test_another_time_zone_gives_no_money_back(self, path: Path, clock: Clock) -> None:
        for zone in ("UTC", "Asia/Kathmandu", "America/New_York"):
            accounts = books(path, clock, day=1.0, timezone=zone)
            settle(accounts, reserve(accounts, 30), 30)
        with pytest.raises(BudgetExceededError, match=r"\$0.10 of the day's"):
            reserve(books(path, clock, day=1.0, timezone="UTC"), 11)

    def test_processes_of_two_time_zones_see_each_others_spending(
        self, path: Path, clock: Clock
    ) -> None:
        clock.now = datetime(2026, 6, 15, 23, 30, tzinfo=ZoneInfo("UTC")).timestamp()
        london = books(path, clock, day=1.0, timezone="UTC")
        berlin = books(path, clock, day=1.0, timezone="Europe/Berlin")
        settle(london, reserve(london, 10), 10)
        settle(berlin, reserve(berlin, 50), 50)
        settle(london, reserve(london, 20), 20)
        clock.advance(3600)  # a new day in London, the same in Berlin
        with pytest.raises(BudgetExceededError, match=r"\$0.20 of the day's"):
            reserve(berlin, 21)
        reserve(london, 80)

    def test_a_clock_set_back_gives_no_money_back(self, path: Path, clock: Clock) -> None:
        accounts = books(path, clock, hour=1.0)
        settle(accounts, reserve(accounts, 70), 70)
        clock.advance(3600)
        settle(accounts, reserve(accounts, 90), 90)
        clock.advance(-3600)
        with pytest.raises(BudgetExceededError, match=r"\$0.30 of the hour's"):
            reserve(accounts, 31)
        settle(accounts, reserve(accounts, 30), 30)
        clock.advance(3600)
        with pytest.raises(BudgetExceededError, match=r"\$0.10 of the hour's"):
            reserve(accounts, 11)

    def test_exact_across_restarts(self, path: Path, clock: Clock) -> None:
        for _ in range(9):
            accounts = books(path, clock, day=1.0)
            settle(accounts, reserve(accounts, 11), 11)
        with pytest.raises(BudgetExceededError, match=r"\$0.01 of the day's"):
            reserve(books(path, clock, day=1.0), 2)


class TestLeft:
    def test_it_is_measured_on_the_pace_of_the_window(self, path: Path, clock: Clock) -> None:
        accounts = books(path, clock, day=1.0, tasks={"a": TaskBudget(day=0.5)})
        assert accounts.transact().left == {ALL: 1.0, "a": 1.0}
        reserve(accounts, 50, "b")
        assert accounts.transact().left == {ALL: 1.0, "a": 1.0}  # at noon, half of it may be gone
        settle(accounts, reserve(accounts, 25, "a"), 25)
        assert accounts.transact().left == {ALL: 0.5, "a": 1.0}
        clock.advance(6 * 3600)
        assert accounts.transact().left == {ALL: 1.0, "a": 1.0}


def killed_holder(path: Path, cents: int, *, orphans: str = "charge") -> None:
    """A process that sets cents aside, and is killed."""
    code = f"""
import os, signal
from pathlib import Path
from tests.policies.budget.conftest import Clock
from tests.policies.budget.test_accounts import books, reserve
accounts = books(Path({str(path)!r}), Clock(), day=1.0, orphans={orphans!r})
reserve(accounts, {cents}, "t")
os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL


class TestOrphans:
    def test_they_count_as_spent_unless_settings_free_them(
        self, path: Path, clock: Clock, connection: sqlite3.Connection
    ) -> None:
        killed_holder(path, 70)
        assert spent(connection) == (0, 0, 0, 70)
        with pytest.raises(BudgetExceededError, match=r"\$0.30 of the day's \$1.00 for all tasks"):
            reserve(books(path, clock, day=1.0), 31)
        assert spent(connection) == (70, 70, 0, 0)
        rows = connection.execute("SELECT low, orphans, attempts FROM budget_spent").fetchall()
        assert rows == [(0, 1, 0)]

    def test_freed(self, path: Path, clock: Clock, connection: sqlite3.Connection) -> None:
        killed_holder(path, 70, orphans="free")
        reserve(books(path, clock, day=1.0, orphans="free"), 100)
        assert spent(connection) == (0, 0, 70, 100)

    def test_those_of_a_living_process_stay(
        self, path: Path, clock: Clock, connection: sqlite3.Connection
    ) -> None:
        reserve(books(path, clock, day=1.0), 70)
        clock.advance(10 * SILENCE)
        books(path, clock, day=1.0).sweep()
        assert spent(connection) == (0, 0, 0, 70)

    def test_a_process_that_cannot_be_seen_is_dead_after_an_hour_of_silence(
        self,
        path: Path,
        clock: Clock,
        connection: sqlite3.Connection,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(holders_module, "alive", lambda process: None)
        accounts = books(path, clock, day=1.0)
        reserve(accounts, 70)
        other = books(path, clock, day=1.0)
        clock.advance(SILENCE - 100)
        other.sweep()
        assert spent(connection) == (0, 0, 0, 70)
        accounts.transact()  # a sign of life
        clock.advance(SILENCE - 100)
        other.sweep()
        assert spent(connection) == (0, 0, 0, 70)
        clock.advance(200)
        other.sweep()
        assert spent(connection) == (70, 70, 0, 0)

    @pytest.mark.parametrize(("orphans", "sums"), [
        ("charge", (70 + 5, 70, 0, 0)), ("free", (30 + 5, 0, 70, 0)),
    ])  # fmt: skip
    def test_who_was_taken_for_dead_and_is_not_books_nothing_twice(
        self,
        path: Path,
        clock: Clock,
        connection: sqlite3.Connection,
        monkeypatch: pytest.MonkeyPatch,
        orphans: str,
        sums: tuple[int, ...],
    ) -> None:
        accounts = books(path, clock, day=1.0, orphans=orphans)
        reservation = reserve(accounts, 70)
        with monkeypatch.context() as patch:
            patch.setattr(holders_module, "alive", lambda process: False)
            books(path, clock, day=1.0, orphans=orphans).sweep()
        settle(accounts, reservation, 30)
        settle(accounts, reserve(accounts, 10), 5)
        assert spent(connection) == sums

    def test_who_holds_nothing_leaves_no_trace(
        self, path: Path, clock: Clock, connection: sqlite3.Connection
    ) -> None:
        accounts = books(path, clock, day=1.0)
        reservation = reserve(accounts, 10)
        accounts.leave()
        assert connection.execute("SELECT count(*) FROM budget_holders").fetchone() == (1,)
        settle(accounts, reservation, 10)
        accounts.leave()
        assert connection.execute("SELECT count(*) FROM budget_holders").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM budget_reserved").fetchone() == (0,)


class TestProcess:
    def test_this_one_lives(self) -> None:
        assert alive(this_process()) is True

    def test_one_that_ended_is_dead_also_before_its_parent_asks(self) -> None:
        code = "from cascade_policies.budget.process import *; print(*this_process(), sep='|')"
        with subprocess.Popen(
            [sys.executable, "-c", f"{code}\nimport sys; sys.stdout.flush(); sys.stdin.read()"],
            stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True,
        ) as child:  # fmt: skip
            assert child.stdout is not None
            host, pid, started = child.stdout.readline().strip().split("|")
            process = Process(host, int(pid), int(started))
            assert alive(process) is True
            child.kill()
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie, still
            assert alive(process) is False
        assert alive(process) is False

    def test_another_start_is_another_process(self) -> None:
        host, pid, started = this_process()
        assert alive(Process(host, pid, started + 1)) is False

    def test_of_another_boot_nothing_is_left(self) -> None:
        _, pid, started = this_process()
        assert alive(Process("another-boot pid:[1]", pid, started)) is False

    def test_another_container_cannot_be_seen(self) -> None:
        host, pid, started = this_process()
        assert alive(Process(f"{host.partition(' ')[0]} pid:[1]", pid, started)) is None


class Books(RuleBasedStateMachine):
    """Several holders, in any order, at any time: never over a limit, and every sum exact."""

    @initialize(
        zones=st.lists(
            st.sampled_from(["UTC", "Asia/Kathmandu", "Europe/Berlin"]), min_size=1, max_size=3
        ),
        start=st.sampled_from([NOON, 1_792_886_400.0 - 1800]),  # before the clocks are set back
    )  # fmt: skip
    def begin(self, zones: list[str], start: float) -> None:
        self.folder = TemporaryDirectory()
        self.clock = Clock(start)
        path = Path(self.folder.name, "ledger.db")
        self.connection = connect(path)
        self.accounts = [
            books(path, self.clock, hour=0.7, day=1.0, timezone=zone,
                  tasks={"a": TaskBudget(hour=0.3)})
            for zone in zones
        ]  # fmt: skip
        self.zones = [ZoneInfo(zone) for zone in zones]
        self.held: list[tuple[int, Reservation]] = []
        self.booked: list[tuple[float, str, int]] = []

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            for accounts in self.accounts:
                accounts._connection.close()
            self.connection.close()
            self.folder.cleanup()

    @rule(
        who=st.integers(0, 2),
        task=st.sampled_from("ab"),
        cents=st.lists(st.integers(0, 40), max_size=4),
    )
    def reserve(self, who: int, task: str, cents: list[int]) -> None:
        who %= len(self.accounts)
        wanted = [Wanted(task, each * CENT) for each in cents]
        for want, answer in zip(
            wanted, self.accounts[who].transact(wanted=wanted).answers, strict=True
        ):
            if isinstance(answer, Reservation):
                self.held.append((who, answer))
                assert answer.amount == want.amount
                self.check_limits(who)
            else:
                assert self.left(who, task) < want.amount

    @rule(data=st.data(), share=st.integers(0, 100))
    def settle(self, data: st.DataObject, share: int) -> None:
        if self.held:
            at = data.draw(st.integers(0, len(self.held) - 1))
            who, reservation = self.held.pop(at)
            cost = reservation.amount * share // 100
            self.booked.append((self.clock.now, reservation.task, cost))
            self.accounts[who].transact([Settlement(reservation, 0, cost)])

    @rule(seconds=st.sampled_from([1.0, 900.0, 3600.0, 50_000.0, -1.0, -1800.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def sums_are_exact(self) -> None:
        if hasattr(self, "connection"):
            found = self.connection.execute("SELECT coalesce(sum(high), 0) FROM budget_spent")
            assert found.fetchone()[0] == sum(cost for _, _, cost in self.booked)
            found = self.connection.execute("SELECT coalesce(sum(amount), 0) FROM budget_reserved")
            assert found.fetchone()[0] == sum(each.amount for _, each in self.held)

    def left(self, who: int, task: str) -> int:
        """What the model has left for the task."""
        lefts = []
        for kind, scope, most in (("hour", "", 70), ("day", "", 100), ("hour", "a", 30)):
            if scope in ("", task):
                _, began, ended = window(kind, self.clock.now, self.zones[who])  # type: ignore[arg-type]
                gone = sum(
                    c for at, t, c in self.booked if began <= at < ended and scope in ("", t)
                )
                gone += sum(each.amount for _, each in self.held if scope in ("", each.task))
                lefts.append(most * CENT - gone)
        return min(lefts)

    def check_limits(self, who: int) -> None:
        assert self.left(who, "b") >= 0 or self.left(who, "a") >= 0


TestBooks = Books.TestCase
TestBooks.settings = hypothesis_settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_two_connections_never_both_get_the_last_cent(path: Path, clock: Clock) -> None:
    with closing(connect(path)) as one, closing(connect(path)) as other:
        first = Accounts(one, BudgetSettings(day=1.0), clock)
        second = Accounts(other, BudgetSettings(day=1.0), clock)
        reserve(first, 99)
        reserve(second, 1)
        for accounts in (first, second):
            with pytest.raises(BudgetExceededError):
                reserve(accounts, 1)
