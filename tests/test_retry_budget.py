"""The retry budget: never more extra attempts than a share of the calls and a small floor."""

from __future__ import annotations

import sys
import threading
from itertools import count
from math import inf, nan

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cascade.errors import ConfigError
from cascade.retry_budget import RetryBudget

ROUNDING = 1e-6


class Spending(RuleBasedStateMachine):
    """Calls and extra attempts in any order, at any times."""

    @initialize(
        fraction=st.sampled_from([0.0, 0.1, 0.2, 1.0, 3.0]),
        reserve=st.sampled_from([0.0, 2.0, 10.0]),
        memory=st.sampled_from([0.5, 10.0, 60.0]),
        now=st.sampled_from([0.0, 1e6]),
    )
    def begin(self, fraction: float, reserve: float, memory: float, now: float) -> None:
        self.budget = RetryBudget(fraction=fraction, reserve=reserve, memory=memory)
        self.fraction, self.reserve, self.memory = fraction, reserve, memory
        self.now = now
        self.elapsed = 0.0
        self.calls = self.made = self.refused = 0

    @rule(times=st.integers(1, 20))
    def call(self, times: int) -> None:
        for _ in range(times):
            self.budget.deposit(self.now)
            self.calls += 1

    @rule(times=st.integers(1, 20))
    def extra(self, times: int) -> None:
        for _ in range(times):
            if self.budget.withdraw(self.now):
                self.made += 1
            else:
                self.refused += 1

    @rule(seconds=st.floats(0.0, 300.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.elapsed += seconds

    @rule(seconds=st.floats(0.0, 5.0))
    def read_the_clock_before_another_thread_did(self, seconds: float) -> None:
        self.budget.deposit(self.now - seconds)
        self.calls += 1

    @precondition(lambda self: self.reserve > 0)
    @rule()
    def be_quiet(self) -> None:
        self.wait(self.memory)
        assert self.budget.withdraw(self.now), "a quiet process can always retry"
        self.made += 1

    @invariant()
    def never_more_than_the_share_and_the_floor(self) -> None:
        floor = self.reserve * (1.0 + self.elapsed / self.memory)
        assert self.made <= self.fraction * self.calls + floor + ROUNDING
        assert self.budget.refused == self.refused


TestSpending = Spending.TestCase


def withdrawals(budget: RetryBudget, now: float) -> int:
    """How many extra attempts the budget allows at that time."""
    made = 0
    while budget.withdraw(now):
        made += 1
    return made


def test_every_fifth_call_pays_for_an_extra_attempt() -> None:
    budget = RetryBudget(reserve=0)
    for _ in range(4):
        budget.deposit(0.0)
    assert not budget.withdraw(0.0)
    budget.deposit(0.0)
    assert budget.withdraw(0.0)
    assert not budget.withdraw(0.0)


def test_a_new_process_has_the_reserve() -> None:
    assert withdrawals(RetryBudget(reserve=10), 1e9) == 10


def test_the_reserve_comes_back_and_no_more() -> None:
    budget = RetryBudget(reserve=10, memory=60)
    assert withdrawals(budget, 0.0) == 10
    assert withdrawals(budget, 60.0) == 6  # 10 * (1 - 1/e) = 6.3
    assert withdrawals(budget, 1e6) == 10


def test_credit_of_busy_times_is_forgotten() -> None:
    busy = RetryBudget(fraction=0.25)
    for _ in range(1000):
        busy.deposit(0.0)
    assert withdrawals(busy, 0.0) == 260
    for _ in range(1000):
        busy.deposit(0.0)
    assert withdrawals(busy, 1e6) == 10


def test_in_an_outage_under_steady_load_the_extra_load_is_the_share() -> None:
    budget = RetryBudget(reserve=10, memory=60)
    made = 0
    for call in range(100_000):  # 100 calls a second, each of which wants two retries
        now = call / 100
        budget.deposit(now)
        made += budget.withdraw(now) + budget.withdraw(now)
    assert 0.2 <= made / 100_000 <= 0.202


def test_threads_share_one_budget() -> None:
    # So long a memory that nothing fades, and a clock that moves, so that every step is taken.
    budget = RetryBudget(fraction=1.0, reserve=0.0, memory=1e30)
    made: list[int] = []
    clock = count()

    def work() -> None:
        mine = 0
        for _ in range(20_000):
            budget.deposit(float(next(clock)))
            mine += budget.withdraw(float(next(clock)))
        made.append(mine)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    # Everyone pays in before taking out, so every attempt is paid for and nothing is left.
    assert sum(made) == 80_000
    assert not budget.withdraw(float(next(clock)))


def test_a_clock_that_goes_back_stands_still() -> None:
    budget = RetryBudget(reserve=10, memory=60)
    assert withdrawals(budget, 1e9) == 10
    for now in (0.0, 1e9, 0.0, 1e9):
        assert not budget.withdraw(now)


@pytest.mark.parametrize(
    ("key", "value"),
    [("fraction", -0.1), ("fraction", inf), ("reserve", 1.0), ("reserve", nan), ("memory", 0.0)],
)
def test_settings_that_cannot_work_are_refused(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"retry budget: {key}="):
        RetryBudget(**{key: value})
