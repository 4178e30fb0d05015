"""The limiter: what may run, who is next, and how the limit follows the provider."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cascade.errors import ConfigError
from cascade.limit import AdaptiveLimit
from cascade.limiter import Limiter, Outcome, Ticket

outcomes: st.SearchStrategy[Outcome] = st.sampled_from(["answered", "overloaded", "other"])


class Limiting(RuleBasedStateMachine):
    """A limiter beside the plainest queue that takes turns."""

    @initialize(minimum=st.integers(1, 3), initial=st.integers(3, 6), maximum=st.integers(6, 12))
    def begin(self, minimum: int, initial: int, maximum: int) -> None:
        self.bounds = minimum, maximum
        self.limiter = Limiter(AdaptiveLimit(minimum=minimum, initial=initial, maximum=maximum))
        self.running: list[Ticket] = []
        self.over: list[Ticket] = []
        self.queues: dict[int, list[Ticket]] = {}  # whose turn is next first
        self.overtaken: defaultdict[int, defaultdict[int, int]] = defaultdict(
            lambda: defaultdict(int)
        )

    @rule(call=st.integers(0, 4), attempts=st.integers(1, 5))
    def acquire(self, call: int, attempts: int) -> None:
        for _ in range(attempts):
            ticket = self.limiter.acquire(call)
            if ticket.granted:
                self.start(ticket)
            else:
                self.queues.setdefault(call, []).append(ticket)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), outcome=outcomes, ttft=st.none() | st.floats(0.0, 100.0))
    def release(self, data: st.DataObject, outcome: Outcome, ttft: float | None) -> None:
        ticket = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        self.over.append(ticket)
        self.take_turns(self.limiter.release(ticket, outcome, ttft=ttft))

    @precondition(lambda self: self.queues)
    @rule(data=st.data())
    def leave_the_queue(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(sorted(self.queues)))
        ticket = self.queues[call].pop(data.draw(st.integers(0, len(self.queues[call]) - 1)))
        if not self.queues[call]:
            self.forget(call)
        self.over.append(ticket)
        assert self.limiter.withdraw(ticket) == []

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def give_back_unused(self, data: st.DataObject) -> None:
        ticket = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        self.over.append(ticket)
        self.take_turns(self.limiter.withdraw(ticket))

    @precondition(lambda self: self.over)
    @rule(data=st.data(), outcome=outcomes)
    def tell_twice(self, data: st.DataObject, outcome: Outcome) -> None:
        before = self.limiter.limit.value
        assert self.limiter.release(data.draw(st.sampled_from(self.over)), outcome) == []
        assert self.limiter.limit.value == before

    def start(self, ticket: Ticket) -> None:
        self.running.append(ticket)
        assert len(self.running) <= self.limiter.limit.value, "never more than the limit"

    def take_turns(self, granted: list[Ticket]) -> None:
        for ticket in granted:
            call, queue = next(iter(self.queues.items()))
            assert ticket is queue.pop(0), "the next call's first ticket"
            del self.queues[call]
            self.overtaken.pop(call, None)
            for other in self.queues:
                self.overtaken[other][call] += 1
                assert self.overtaken[other][call] == 1, "nobody gets two while another waits"
            if queue:
                self.queues[call] = queue
            self.start(ticket)

    def forget(self, call: int) -> None:
        del self.queues[call]
        self.overtaken.pop(call, None)
        for counts in self.overtaken.values():
            counts.pop(call, None)

    @invariant()
    def the_books_agree(self) -> None:
        waiting = [ticket for queue in self.queues.values() for ticket in queue]
        assert self.limiter.in_flight == len(self.running)
        assert self.limiter.waiting == len(waiting)
        assert all(ticket.granted for ticket in self.running)
        assert not any(ticket.granted for ticket in waiting + self.over)
        assert self.bounds[0] <= self.limiter.limit.value <= self.bounds[1]
        if waiting:
            assert len(self.running) + 1 > self.limiter.limit.value, "nobody waits beside room"

    def teardown(self) -> None:
        """However it stands, everyone who waits is served in the end."""
        if not hasattr(self, "limiter"):
            return
        while self.running:
            self.take_turns(self.limiter.release(self.running.pop(), "overloaded"))
        assert not self.queues
        assert (self.limiter.in_flight, self.limiter.waiting) == (0, 0)


TestLimiting = Limiting.TestCase


def fixed(limit: int) -> Limiter:
    return Limiter(AdaptiveLimit(minimum=limit, maximum=limit))


def test_a_call_with_many_attempts_does_not_starve_the_others() -> None:
    limiter = fixed(1)
    running = limiter.acquire("greedy")
    for _ in range(100):
        limiter.acquire("greedy")
    limiter.acquire("modest")
    limiter.acquire("late")
    served = []
    for _ in range(5):
        (running,) = limiter.release(running, "answered")
        served.append(running.call)
    assert served == ["greedy", "modest", "late", "greedy", "greedy"]


def test_within_a_call_the_first_to_ask_goes_first() -> None:
    limiter = fixed(1)
    running = limiter.acquire("call")
    waiting = [limiter.acquire("call") for _ in range(4)]
    limiter.withdraw(waiting.pop(1))
    for ticket in waiting:
        (running,) = limiter.release(running, "answered")
        assert running is ticket


def test_a_waiter_that_was_granted_and_is_over_passes_it_on() -> None:
    limiter = fixed(1)
    running, first, second = (limiter.acquire(call) for call in "abc")
    assert limiter.release(running, "answered") == [first]
    assert limiter.withdraw(first) == [second]


# The limit


def test_a_provider_that_bears_everything_is_never_held_back() -> None:
    limiter = Limiter()
    tickets = [limiter.acquire(call) for call in range(5000)]
    assert all(ticket.granted for ticket in tickets)
    for ticket in tickets:
        limiter.release(ticket, "answered", ttft=0.3)
    assert limiter.limit.value == 10_000


def test_an_overload_leaves_seven_tenths_of_what_was_in_flight() -> None:
    limiter = Limiter()
    tickets = [limiter.acquire(call) for call in range(100)]
    limiter.release(tickets[0], "overloaded")
    assert limiter.limit.value == 70.0


def test_a_crowd_that_is_refused_at_once_is_one_piece_of_news() -> None:
    limiter = Limiter()
    tickets = [limiter.acquire(call) for call in range(100)]
    for ticket in tickets[:50]:
        limiter.release(ticket, "overloaded")
    for ticket in tickets[50:]:
        limiter.release(ticket, "answered")
    assert limiter.limit.value == 70.0
    (again, *_) = [limiter.acquire(call) for call in range(70)]
    limiter.release(again, "overloaded")
    assert limiter.limit.value == 49.0


def test_a_limit_that_is_not_used_does_not_grow() -> None:
    limiter = Limiter(AdaptiveLimit(initial=10))
    for _ in range(100):
        limiter.release(limiter.acquire(0), "answered")
    assert limiter.limit.value == 10.0


def test_cancelled_and_failed_attempts_teach_nothing() -> None:
    limiter = Limiter(AdaptiveLimit(initial=1))
    for _ in range(100):
        limiter.release(limiter.acquire(0), "other", ttft=100.0)
    assert limiter.limit.value == 1.0


def test_it_is_throttled_once_the_limit_is_at_its_minimum() -> None:
    limiter = Limiter(AdaptiveLimit(minimum=2, maximum=100))
    assert not limiter.limit.throttled
    limiter.release(limiter.acquire(0), "overloaded")
    assert limiter.limit.value == 2.0
    assert limiter.limit.throttled
    assert not fixed(2).limit.throttled, "a fixed limit has not fallen"


def rounds(limiter: Limiter, callers: int, count: int, capacity: int) -> list[int]:
    """Callers that always want another attempt, of a server that refuses all beyond its capacity.

    How many were in flight in each round trip.
    """
    running = [ticket for ticket in map(limiter.acquire, range(callers)) if ticket.granted]
    seen = []
    for _ in range(count):
        seen.append(len(running))
        granted = []
        for place, ticket in enumerate(running):
            granted += limiter.release(ticket, "answered" if place < capacity else "overloaded")
            again = limiter.acquire(ticket.call)
            if again.granted:
                granted.append(again)
        running = granted
    return seen


def test_under_load_it_settles_at_what_the_server_bears() -> None:
    seen = rounds(Limiter(), callers=200, count=200, capacity=50)
    assert seen[0] == 200
    settled = seen[20:]
    assert max(settled) <= 50 * 1.25
    assert min(settled) >= 50 * 0.6
    assert sum(settled) / len(settled) >= 50 * 0.8


def test_it_comes_back_when_the_server_bears_more_again() -> None:
    limiter = Limiter(AdaptiveLimit(initial=4, maximum=1000))
    seen = rounds(limiter, callers=400, count=60, capacity=1000)
    assert seen[0] == 4
    assert seen[40] >= 200
    assert seen == sorted(seen)


# The time to the first token


def crowd(limiter: Limiter, size: int, ttft: float, model: str = "m") -> None:
    """As many attempts at a time as may run, all with that time to the first token."""
    tickets = [limiter.acquire(call) for call in range(size)]
    for ticket in tickets:
        if not ticket.granted:
            limiter.withdraw(ticket)
    for ticket in tickets:
        limiter.release(ticket, "answered", model=model, ttft=ttft)


def test_first_tokens_that_become_slow_under_load_lower_the_limit_gently() -> None:
    limiter = Limiter()
    for _ in range(50):
        crowd(limiter, 10, ttft=0.2)
    assert limiter.limit.value == 10_000
    seen = []
    for _ in range(6):
        crowd(limiter, 40, ttft=2.0)
        seen.append(limiter.limit.value)
    assert seen == sorted(seen, reverse=True)
    assert seen[0] >= 39 * 0.9, "one crowd takes off a tenth at most"
    assert seen[-1] < 40 * 0.7


def test_a_server_that_queues_is_kept_near_what_it_can_do() -> None:
    limiter = Limiter()
    for _ in range(50):
        crowd(limiter, 10, ttft=1.0)
    seen = []
    for _ in range(40):  # it can do 20 at a time; whoever comes on top waits for those before
        running = min(100, int(limiter.limit.value))
        crowd(limiter, 100, ttft=max(1.0, running / 20))
        seen.append(running)
    assert seen[0] == 100
    assert 20 <= seen[-1] <= 50, "at twice the usual time: 40"


def test_slow_first_tokens_without_a_crowd_are_no_queueing() -> None:
    limiter = Limiter()
    for _ in range(100):
        crowd(limiter, 5, ttft=0.2)
    for _ in range(100):
        crowd(limiter, 5, ttft=20.0)
    assert limiter.limit.value == 10_000


def test_a_slow_model_beside_a_quick_one_is_no_queueing() -> None:
    limiter = Limiter()
    for _ in range(20):
        crowd(limiter, 50, ttft=0.2, model="small")
    for _ in range(20):
        crowd(limiter, 50, ttft=5.0, model="large")
    assert limiter.limit.value == 10_000


def test_after_a_long_slow_spell_the_usual_time_is_soon_the_usual_again() -> None:
    limiter = Limiter()
    for ttft in [2.0] * 40 + [0.2] * 20:
        crowd(limiter, 10, ttft=ttft)
    before = limiter.limit.value
    for _ in range(5):
        crowd(limiter, 20, ttft=1.0)
    assert limiter.limit.value < before


@pytest.mark.parametrize(
    "settings",
    [
        {"minimum": 0},
        {"minimum": 3, "maximum": 2},
        {"initial": 0},
        {"initial": 11, "maximum": 10},
    ],
    ids=str,
)
def test_bounds_that_cannot_work_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="concurrency limit: "):
        AdaptiveLimit(**settings)
