"""The circuit breaker under any order of admissions, outcomes and pauses."""

from __future__ import annotations

from math import inf
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cascade import errors
from cascade.breaker import CircuitBreaker
from cascade.health import overloaded, unwell


class Out(NamedTuple):
    """An attempt that was admitted and has not been told of."""

    ticket: int
    period: int
    probe: bool


class Breaking(RuleBasedStateMachine):
    """A breaker beside a model of it that keeps every outcome in a list."""

    @initialize(
        rate=st.sampled_from([0.25, 0.5, 1.0]),
        minimum=st.integers(1, 4),
        window=st.sampled_from([1.0, 30.0]),
        seed=st.integers(0, 3),
    )
    def begin(self, rate: float, minimum: int, window: float, seed: int) -> None:
        self.rate, self.minimum, self.window = rate, minimum, window
        self.first, self.longest = 4.0, 16.0
        self.breaker = CircuitBreaker(
            Random(seed), rate=rate, minimum=minimum, window=window,
            first=self.first, longest=self.longest,
        )  # fmt: skip
        self.now = 100.0
        self.out: list[Out] = []
        self.period = 0
        self.closed = True
        self.ended: list[tuple[float, bool]] = []
        self.bound = self.first
        self.shut = (0.0, 0.0)  # while not closed: nobody before the first, somebody at the second

    @rule(seconds=st.integers(0, 20 * 8).map(lambda eighths: eighths / 8))  # their sums are exact
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def admit(self) -> None:
        free = self.breaker.wait(self.now) == 0.0
        ticket = self.breaker.admit(self.now)
        assert (ticket is not None) == free
        if self.closed:
            assert ticket is not None
        elif self.now < self.shut[0]:
            assert ticket is None, "nobody while it is open, and only one probe"
        elif self.now >= self.shut[1]:
            assert ticket is not None
        if ticket is not None:
            if not self.closed:
                self.period += 1
                self.shut = (self.now + self.longest, self.now + self.longest)
            self.out.append(Out(ticket, self.period, not self.closed))

    def take(self, data: st.DataObject) -> Out:
        return self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def succeed(self, data: st.DataObject) -> None:
        attempt = self.take(data)
        self.breaker.succeeded(attempt.ticket, self.now)
        if attempt.period != self.period:
            return
        if self.closed:
            self.ended.append((self.now, False))
        else:
            self.closed = True
            self.period += 1
            self.ended = []
            self.bound = self.first

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        attempt = self.take(data)
        self.breaker.failed(attempt.ticket, self.now)
        if attempt.period != self.period:
            return
        if self.closed:
            self.ended.append((self.now, True))
            recent = [failed for at, failed in self.ended if at > self.now - self.window]
            if len(recent) < self.minimum or sum(recent) < self.rate * len(recent):
                return
        self.closed = False
        self.period += 1
        self.shut = (self.now + self.bound / 2, self.now + self.bound)
        self.bound = min(self.longest, self.bound * 2)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        attempt = self.take(data)
        self.breaker.cancelled(attempt.ticket, self.now)
        if attempt.period == self.period and not self.closed:
            self.period += 1
            self.shut = (self.now, self.now)

    @invariant()
    def it_says_how_long_to_wait(self) -> None:
        wait = self.breaker.wait(self.now)
        assert 0.0 <= wait <= self.longest
        if self.closed:
            assert wait == 0.0
        else:
            assert self.shut[0] - self.now <= wait <= max(0.0, self.shut[1] - self.now)

    def teardown(self) -> None:
        """Whatever happened, a provider that is well again is soon called again."""
        if not hasattr(self, "breaker"):
            return
        self.now += self.breaker.wait(self.now)
        ticket = self.breaker.admit(self.now)
        assert ticket is not None
        self.breaker.succeeded(ticket, self.now)
        assert all(self.breaker.admit(self.now) is not None for _ in range(3))


TestBreaking = Breaking.TestCase


def opened(now: float = 0.0, seed: int = 0) -> CircuitBreaker:
    breaker = CircuitBreaker(Random(seed), minimum=1)
    breaker.failed(admitted(breaker, now), now)
    return breaker


def admitted(breaker: CircuitBreaker, now: float) -> int:
    ticket = breaker.admit(now)
    assert ticket is not None
    return ticket


def test_a_few_failures_among_many_answers_do_not_open_it() -> None:
    breaker = CircuitBreaker(Random(0))
    for attempt in range(100):
        tell = breaker.failed if attempt % 3 == 0 else breaker.succeeded
        tell(admitted(breaker, attempt / 10), attempt / 10)
    assert breaker.wait(10.0) == 0.0


def test_failures_that_have_left_the_window_do_not_count() -> None:
    breaker = CircuitBreaker(Random(0), window=30.0, minimum=10)
    for attempt in range(9):
        breaker.failed(admitted(breaker, float(attempt)), float(attempt))
    breaker.failed(admitted(breaker, 30.0), 30.0)  # the one at 0 is out by now
    assert breaker.wait(30.0) == 0.0
    breaker.failed(admitted(breaker, 30.5), 30.5)
    assert breaker.wait(30.5) > 0.0


def test_a_crowd_of_attempts_is_remembered_in_bounded_memory() -> None:
    breaker = CircuitBreaker(Random(0))
    for _ in range(10_000):
        breaker.succeeded(admitted(breaker, 0.0), 0.0)
    for _ in range(249):
        breaker.failed(admitted(breaker, 1.0), 1.0)
    assert breaker.wait(1.0) == 0.0
    breaker.failed(admitted(breaker, 1.0), 1.0)  # half of the last 500
    assert breaker.wait(1.0) > 0.0


def test_each_failed_probe_doubles_the_open_time_and_recovery_resets_it() -> None:
    breaker, now = opened(), 0.0
    for bound in (5.0, 10.0, 20.0, 40.0, 60.0, 60.0):
        wait = breaker.wait(now)
        assert bound / 2 <= wait <= bound
        now += wait
        breaker.failed(admitted(breaker, now), now)
    now += breaker.wait(now)
    breaker.succeeded(admitted(breaker, now), now)
    breaker.failed(admitted(breaker, now), now)
    assert breaker.wait(now) <= 5.0


def test_breakers_that_opened_together_do_not_probe_together() -> None:
    assert len({opened(seed=seed).wait(0.0) for seed in range(20)}) == 20


def test_news_from_before_it_opened_neither_closes_it_nor_frees_the_probe() -> None:
    breaker = CircuitBreaker(Random(0), minimum=1)
    old = [admitted(breaker, 0.0) for _ in range(4)]
    breaker.failed(old[0], 1.0)
    probe = admitted(breaker, 10.0)
    breaker.succeeded(old[1], 10.0)
    breaker.cancelled(old[2], 10.0)
    breaker.failed(old[3], 10.0)
    assert breaker.admit(10.0) is None
    breaker.succeeded(probe, 11.0)
    assert breaker.wait(11.0) == 0.0


def test_a_probe_that_is_cancelled_leaves_its_place_to_the_next() -> None:
    breaker = opened()
    breaker.cancelled(admitted(breaker, 5.0), 6.0)
    probe = admitted(breaker, 6.0)
    assert breaker.admit(6.0) is None
    breaker.succeeded(probe, 7.0)
    assert breaker.wait(7.0) == 0.0


def test_a_probe_that_hangs_holds_the_others_up_for_the_longest_open_time_only() -> None:
    breaker = opened()
    hanging = admitted(breaker, 5.0)
    assert breaker.wait(5.0) == 60.0
    assert breaker.admit(64.0) is None
    second = admitted(breaker, 65.0)
    breaker.failed(hanging, 66.0)  # nobody listens to it any more
    breaker.succeeded(second, 67.0)
    assert breaker.wait(67.0) == 0.0


@pytest.mark.parametrize(
    "settings",
    [
        {"rate": 0.0},
        {"rate": 1.1},
        {"minimum": 0},
        {"minimum": 501},
        {"window": 0.0},
        {"first": 0.0},
        {"first": 61.0},
        {"longest": inf},
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(errors.ConfigError, match="circuit breaker: "):
        CircuitBreaker(Random(0), **settings)  # type: ignore[arg-type]  # one is a whole number


@pytest.mark.parametrize(
    ("kind", "is_unwell", "is_overloaded"),
    [
        (errors.APIConnectionError, True, False),
        (errors.APITimeoutError, True, False),
        (errors.APIResponseError, True, False),
        (errors.InternalServerError, True, False),
        (errors.OverloadedError, True, True),
        (errors.RequestTimeoutError, True, False),
        (errors.LocalServerError, True, False),
        (errors.RateLimitError, False, True),
        (errors.BadRequestError, False, False),
        (errors.ContentPolicyError, False, False),
        (errors.AuthenticationError, False, False),
        (errors.NotFoundError, False, False),
        (errors.ConflictError, False, False),
        (errors.UnprocessableEntityError, False, False),
        (errors.EmptyAnswerError, False, False),
        (errors.TruncatedAnswerError, False, False),
        (errors.FunctionError, False, False),
    ],
)
def test_what_a_failure_says_of_the_provider(
    kind: type[errors.ProviderError], is_unwell: bool, is_overloaded: bool
) -> None:
    assert unwell(kind("x")) is is_unwell
    assert overloaded(kind("x")) is is_overloaded


def test_being_asked_to_slow_down_counts_once_slowing_down_does_not_help() -> None:
    assert unwell(errors.RateLimitError("x"), throttled=True)
    assert not unwell(errors.BadRequestError("x"), throttled=True)


def test_an_empty_account_is_no_matter_of_the_rate() -> None:
    error = errors.RateLimitError("no credit", retryable=False)
    assert unwell(error)
    assert not overloaded(error)
