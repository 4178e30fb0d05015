"""The load benchmarks: the soak finds what differs, and a hedge is as exact as its draws."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from benchmarks import hedge
from benchmarks.load_calls import GRACE, Books, Money
from benchmarks.load_faults import FAULTS, FaultsAtRandom, Served, Status
from benchmarks.load_ledger import Claim, Totals, claim, reconcile
from benchmarks.load_memory import LEAST_CALLS, MOST_BLOCKS, MOST_RESIDENT, Growth, Samples
from benchmarks.load_report import Report, shape
from benchmarks.soak import soak
from cascade import Answer, APIConnectionError, APIResponseError, Attempt, Cost, Usage
from cascade.testing import FaultyServer, Reply


def served(**changes: Any) -> Served:
    """A request that was answered well."""
    record = Served(7, 1, "m", "none", finished=True, tokens=3, counted=True)
    return record._replace(**changes)


WHOLE = Claim("m", "accepted", "whole", 7, 3)
CANCELLED = Claim("m", "cancelled", "perhaps")

SAME: list[tuple[list[Claim], list[Served]]] = [
    ([], []),
    ([WHOLE], [served()]),
    ([WHOLE, CANCELLED], [served()]),
    ([WHOLE, CANCELLED], [served(number=8, finished=False), served()]),
    ([Claim("m", "accepted", "whole", None, 3)], [served()]),
    ([Claim("m", "failed", "surely")], [served(finished=False)]),
    ([Claim("refused", "failed", "never")], []),
]

DIFFERENT: list[tuple[list[Claim], list[Served], str]] = [
    ([WHOLE], [], "not, or not of this call"),
    ([WHOLE], [served(number=8)], "not, or not of this call"),
    ([WHOLE], [served(model="other")], "is Served"),
    ([WHOLE], [served(finished=False)], "has it as aborted"),
    ([WHOLE], [served(tokens=4)], "counted 3 tokens"),
    ([WHOLE], [served(), served(number=8)], "no attempt of ours"),
    ([Claim("m", "failed", "surely")], [], "is not at the server"),
    ([Claim("m", "failed", "never")], [served()], "no attempt of ours"),
    ([CANCELLED], [served(), served(number=8)], "no attempt of ours"),
]


@pytest.mark.parametrize(("claims", "records"), SAME)
def test_the_same_story(claims: list[Claim], records: list[Served]) -> None:
    totals = Totals()
    assert reconcile(claims, records, totals) is None
    assert (totals.attempts, totals.starts) == (len(claims), len(records))
    assert totals.finishes + totals.aborts == totals.starts
    assert totals.tokens == totals.served


@pytest.mark.parametrize(("claims", "records", "says"), DIFFERENT)
def test_another_story(claims: list[Claim], records: list[Served], says: str) -> None:
    totals = Totals()
    assert says in (reconcile(claims, records, totals) or "")
    assert totals == Totals()


ATTEMPT = Attempt(
    number=1, tier="t", model="openai:m", member=0, kind="first", outcome="accepted", reason="",
    started=0.0, waited=0.1, latency=1.0, time_to_first_token=0.5, cost=Cost(0.0, 0.0),
)  # fmt: skip


def test_what_an_attempt_claims() -> None:
    answer = Answer("yes", finish_reason="stop", usage=Usage(1, 3), request_id="req-7")
    assert claim(replace(ATTEMPT, answer=answer)) == WHOLE
    failed = replace(ATTEMPT, outcome="failed", time_to_first_token=None)
    error = APIConnectionError("cannot connect")
    error.sent = False
    assert claim(replace(failed, error=error)).seen == "never"
    assert claim(replace(failed, error=APIConnectionError("broke"))).seen == "perhaps"
    assert claim(replace(failed, error=APIResponseError("HTML"))).seen == "surely"
    gone = replace(failed, outcome="cancelled")
    assert claim(gone).seen == "perhaps"
    assert claim(replace(gone, waited=1.0)).seen == "never"
    assert claim(replace(gone, time_to_first_token=0.2)).seen == "surely"


def test_a_request_of_no_call_differs() -> None:
    books = Books()
    books.add([served(call=5)])
    assert books.differing == 1
    assert "of no call" in books.differences[0]


def test_a_call_without_log_events_differs() -> None:
    books = Books()
    call = books.begin(1, "p", "httpx")
    books.end(call, "cancelled", None)
    assert call.ended is not None
    books.settle(call.ended + GRACE / 2)
    assert books.settled == 0  # the server may not have seen all of it
    books.settle(call.ended + GRACE)
    assert (books.settled, books.differing) == (1, 1)


FLAT = Growth(40.0, MOST_BLOCKS, MOST_RESIDENT)
STEEP = Growth(40.1, MOST_BLOCKS + 1, MOST_RESIDENT + 1)


@pytest.mark.parametrize(
    ("calls", "memory", "grows"),
    [
        (LEAST_CALLS, FLAT, 0),
        (LEAST_CALLS, STEEP, 3),
        (LEAST_CALLS, STEEP._replace(heap=None), 2),
        (LEAST_CALLS - 1, STEEP, 0),
    ],
)
def test_memory_must_be_flat_once_the_buffers_are_full(
    calls: int, memory: Growth, grows: int
) -> None:
    books = Books()
    books.settled = calls
    status = Status([], 0, 0, 0, 0, 0, 0)
    report = Report(calls, 1.0, 0, Counter(), books, status, memory)
    assert len(report.problems(max_growth=40.0)) == grows


def test_what_is_kept_is_seen_as_growth() -> None:
    samples = Samples()
    kept: list[object] = []
    for calls in (0, 1000, 2000, 3000):
        kept.append([bytearray(10_000) for _ in range(1000)])
        samples.take(calls)
        samples.take_at_rest(calls)
    heap, blocks, resident = samples.growth(since=1000)
    assert heap is None or heap > 9_000
    assert blocks is not None
    assert resident is not None
    assert 900 < blocks < 3000  # one or two for each
    assert samples.growth(since=2000) == Growth(None, None, None)  # two are no line


@pytest.mark.anyio
async def test_a_reservation_is_settled_once() -> None:
    money = Money()
    reserved = await money.reserve("p", 1.0)
    assert money.held == {reserved}
    money.settle(reserved, Cost(0.0, 0.0))
    assert (money.held, money.made) == (set(), 1)
    with pytest.raises(KeyError):
        money.settle(reserved, Cost(0.0, 0.0))


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_a_reply(name: str) -> None:
    assert isinstance(FAULTS[name](Random(1)), Reply)


def test_ended_requests_can_be_taken_and_are_forgotten() -> None:
    import http.client

    faults = FaultsAtRandom(1)
    with FaultyServer(default=faults) as server:
        address = server.url.removeprefix("http://")
        for number in (1, 2):
            connection = http.client.HTTPConnection(address, timeout=10)
            body = {"model": "m", "messages": [{"role": "user", "content": f"call {number}"}]}
            connection.request("POST", "/v1/chat/completions", json.dumps(body))
            server.wait_for(lambda: server.ledger.starts == number)  # noqa: B023  (waited for here)
            connection.close()
            server.wait_for(lambda: server.ledger.running == 0)
            (record,) = map(faults.served, server.take_ended())
            assert (record.number, record.call, record.model) == (number - 1, number, "m")
            assert server.requests == ()
        assert server.ledger.starts == 2


def test_a_short_soak_agrees() -> None:
    report = soak(calls=200, rate=100.0, in_flight=50, seed=7)
    assert report.problems(max_growth=0.0) == []
    assert sum(report.outcomes.values()) == report.books.settled == 200
    assert {"accepted", "cancelled"} <= report.outcomes.keys()
    assert report.status.aborts > 0
    assert report.books.totals.tokens == report.books.totals.served > 0
    assert report.books.money.made >= report.status.starts
    shown = json.loads(json.dumps(shape(report, [])))
    assert shown["ours"]["starts"] == shown["server"]["starts"] == report.status.starts


class TestHedge:
    """On distributions made up."""

    def test_quantiles_are_linear_between_the_recorded_values(self) -> None:
        fitted = hedge.Latencies((1.0, 2.0, 4.0))
        assert [fitted.quantile(q) for q in (0.0, 0.25, 0.5, 0.75, 1.0)] == [1, 1.5, 2, 3, 4]

    def test_the_curve_is_what_the_draws_say(self) -> None:
        fitted = hedge.Latencies((1.0, 2.0, 3.0, 50.0))
        random = Random(3)
        pairs = [(fitted.draw(random), fitted.draw(random)) for _ in range(40)]
        *rows, best = hedge.curve(fitted, draws=40, seed=3)
        for row in rows:
            delay = float("inf") if row.seconds is None else row.seconds
            expected = [min(a, delay + b) if a > delay else a for a, b in pairs]
            assert row.mean == pytest.approx(sum(expected) / 40, rel=1e-9)
            hedged = sum(a > delay for a, _ in pairs)
            assert row.extra_calls == pytest.approx(hedged / 40)
            assert row.extra_cost[0] == 0.0
        assert best.mean == pytest.approx(sum(map(min, pairs)) / 40)
        assert rows[-1].mean == pytest.approx(best.mean)  # both at once: the faster of the two
        assert rows[-1].extra_cost[1] == pytest.approx(1.0)

    def test_without_data_it_is_skipped_and_says_why(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        monkeypatch.setitem(os.environ, "CASCADE_DATA", str(tmp_path))
        monkeypatch.setattr("sys.argv", ["hedge"])
        assert hedge.main() == 0
        assert "skipped" in capsys.readouterr().out
