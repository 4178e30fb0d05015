"""When everything happens: what `cascade.state` decides, as arrays of settings by prompts.

What one call comes to follows from three numbers a tier: when it starts, when it is decided, and
when something else ends it. They are worked out tier by tier, in the state machine's own order of
arithmetic, so that the results are equal to the last bit:

- Tier k starts at the earlier of its delay after tier k-1 and the moment all before it are out,
  unless by then an answer was accepted or the deadline has passed. A timer counts before an answer
  of the same instant; of two answers of one instant the lower tier's counts first.
- After the first accepted answer only lower tiers can win, for as long as the grace and the
  deadline last. To prefer the fastest is to have no grace.
- A tier ends when it is decided, when a lower one is accepted, or when the call is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cascade.errors import ConfigError
from cascade_policies.replaying.settings import UNCHECKED, Settings
from cascade_policies.replaying.table import Array, Flags, Table

ACCEPTED: Final = 0
EXHAUSTED: Final = 1
DEADLINE: Final = 2

_INF = np.inf


class Rules(NamedTuple):
    """M settings with the same tiers, as arrays of shape (m, K'), and (m,) for the last two."""

    thresholds: Array
    """NaN for what the verifier itself said."""
    delays: Array
    accepts_abstained: Flags
    grace: Array
    """0 where the fastest is preferred."""
    deadline: Array

    @classmethod
    def of(cls, settings: Sequence[Settings]) -> Rules:
        """Those of settings with equally many tiers."""
        never = [
            (0.0 if each.prefer == "fastest" else _number(each.grace), _number(each.deadline))
            for each in settings
        ]
        return cls(
            np.array([each.thresholds for each in settings], dtype=np.float64),
            np.array([each.delays for each in settings], dtype=np.float64),
            np.array([[a == "accept" for a in each.abstains] for each in settings]),
            *np.array(never, dtype=np.float64).reshape(-1, 2).T,
        )

    @property
    def timed(self) -> bool:
        """Whether anything hangs on how long an attempt takes."""
        return bool(np.isfinite(self.delays[:, 1:]).any() or np.isfinite(self.deadline).any())


def _number(limit: float | None) -> float:
    return _INF if limit is None else limit


class Column(NamedTuple):
    """One tier of the table, each array contiguous."""

    name: str
    quality: Array
    score: Array  # NaN where it abstained or there was no answer
    ok: Flags
    abstained: Flags
    accepted: Flags  # by the verifier itself
    latency: Array
    check: Array  # 0 where there is nothing to check
    unknown: Flags  # whether one of the two above is a 0 for want of a better number
    unknown_call: Flags  # whether the first is
    low: Array
    high: Array
    call_low: Array
    call_high: Array
    first_token: Array
    prompt: Array
    stops: bool

    @classmethod
    def of(cls, table: Table, index: int) -> Column:
        def column(array: Array | None, default: float = np.nan) -> Array:
            if array is None:
                return np.full(len(table), default)
            return np.ascontiguousarray(array[:, index])

        ok = ~table.failed[:, index]
        score = np.where(ok, table.score[:, index], np.nan)
        latency = column(table.latency)
        check = np.where(ok, column(table.check_latency), 0.0)
        low, high, spent = column(table.cost_low), column(table.cost_high), table.check_cost
        checking = 0.0 if spent is None else column(spent)
        said = np.zeros(len(table), bool) if table.accepted is None else table.accepted[:, index]
        return cls(
            table.tiers[index],
            column(table.quality),
            score,
            ok,
            ok & np.isnan(score),
            ok & said & ~np.isnan(score),
            np.nan_to_num(latency),
            np.nan_to_num(check),
            np.isnan(latency) | np.isnan(check),
            np.isnan(latency),
            low,
            high,
            low - checking,
            high - checking,
            column(table.first_token),
            column(table.prompt_cost),
            bool(table.stops_billing[index]),
        )

    def require_times(self) -> None:
        if self.unknown.any():
            raise ConfigError(
                f"{self.name}: start_after and deadline need the latency of every answer and of "
                f"its check: {int(self.unknown.sum())} rows have none"
            )

    def passed(self, thresholds: Array, accepts_abstained: Flags) -> Flags:
        """Whether the answers are accepted, by m thresholds of shape (m, 1)."""
        passed: Flags = self.score >= thresholds
        if (unchecked := thresholds == UNCHECKED).any():
            passed |= unchecked & self.ok
        if (own := np.isnan(thresholds)).any():
            passed |= own & self.accepted
        if accepts_abstained.any():
            passed |= accepts_abstained & self.abstained
        return passed

    def cut_short(self, elapsed: Array) -> tuple[Array, Array]:
        """As `cascade.replay.Recorded.cut_short`."""
        low, high, latency, first = self.call_low, self.call_high, self.latency, self.first_token
        known = ~np.isnan(self.prompt)
        base = np.where(known, self.prompt, 0.0)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            least = np.where(
                elapsed > first,
                np.minimum(low, base + (elapsed - first) * (low - base) / (latency - first)),
                0.0 * low,
            )
            if not self.stops:
                return least, np.broadcast_to(high, least.shape)
            so_far = np.minimum(high, base + elapsed * (high - base) / latency)
        return least, np.where(known & (elapsed < latency), so_far, high)


class _Span(NamedTuple):
    """One tier of the calls, times in arrays of shape (m, n); infinite for never."""

    column: Column
    checked: Flags  # (m, 1)
    passed: Flags
    on: Flags  # whether it was started
    start: Array
    answered: Array
    ended: Array  # when it is decided, if nothing comes between
    accepted: Array  # the same, where that is an acceptance in time


class Schedule:
    """When everything happens."""

    def __init__(self, columns: Sequence[Column], rules: Rules, rows: int) -> None:
        self.shape = (len(rules.deadline), rows)
        self._limit = rules.deadline[:, None]
        self.escalations = np.zeros(self.shape, np.int8)
        self.started = np.zeros(self.shape, np.int8)
        self._first = np.full(self.shape, _INF)  # when an answer was first accepted
        self._first_of = np.full(self.shape, -1, np.int8)  # and of which tier
        self._out: Array = np.zeros(self.shape)  # when all tiers so far are out
        self._spans: list[_Span] = []
        for k, column in enumerate(columns):
            self._spans.append(self._span(column, rules, k))
        self._finish(rules)

    def _span(self, column: Column, rules: Rules, k: int) -> _Span:
        if k == 0:
            start, on = np.zeros(self.shape), np.ones(self.shape, np.bool_)
        else:
            hedged = self._spans[-1].start + rules.delays[:, k, None]
            start = np.minimum(hedged, self._out)
            on = (start <= self._first) & (start < self._limit)
            self.escalations += on & (self._out < hedged)
            start = np.where(on, start, _INF)
        self.started += on
        thresholds = rules.thresholds[:, k, None]
        checked = thresholds != UNCHECKED
        passed = column.passed(thresholds, rules.accepts_abstained[:, k, None])
        answered = start + column.latency
        ended = answered + np.where(checked, column.check, 0.0)
        accepted = np.where(passed & (ended < self._limit), ended, _INF)
        np.copyto(self._first_of, k, where=accepted < self._first)
        np.minimum(self._first, accepted, out=self._first)
        self._out = np.where(passed, _INF, np.maximum(self._out, ended))
        return _Span(column, checked, passed, on, start, answered, ended, accepted)

    def _finish(self, rules: Rules) -> None:
        """Who wins, and when the call is over."""
        grace = rules.grace[:, None]
        # When waiting ends, whatever is undecided.
        self._stop = np.minimum(self._first + grace, self._limit)
        self.winner = self._first_of.copy()
        for k in reversed(range(len(self._spans))):
            np.copyto(self.winner, k, where=self._spans[k].accepted < self._stop)
        decided = np.where(self.winner < 0, self._out, 0.0)
        before = np.zeros(self.shape)  # when all tiers so far are decided
        for k, span in enumerate(self._spans):
            np.maximum(before, span.ended, out=before)
            np.copyto(decided, before, where=self.winner == k)
        self.latency = np.minimum(decided, self._stop)
        gone = np.where(self._out < self._limit, EXHAUSTED, DEADLINE)
        self.outcome = np.where(self.winner < 0, gone, ACCEPTED).astype(np.int8)
        for span in self._spans:
            if span.column.unknown.any():
                unknown = np.where(span.checked, span.column.unknown, span.column.unknown_call)
                self.latency[span.on & unknown] = np.nan

    def costs(self, *, timed: bool) -> tuple[Array, Array]:
        """The least and the most that all attempts cost."""
        low, high = np.zeros(self.shape), np.zeros(self.shape)
        lower = np.full(self.shape, _INF)  # when a tier before it is accepted
        for k, span in enumerate(self._spans):
            column = span.column
            charged = span.checked & column.ok
            least = np.where(charged, column.low, column.call_low)
            most = np.where(charged, column.high, column.call_high)
            if timed:
                until = np.minimum(self._stop, lower)
                judging, running = self._cut(k, span, until)
                np.copyto(least, column.call_low, where=judging)
                if running.any():
                    with np.errstate(invalid="ignore"):
                        cut_low, cut_high = column.cut_short(until - span.start)
                    np.copyto(least, cut_low, where=running)
                    np.copyto(most, cut_high, where=running)
                np.minimum(lower, span.accepted, out=lower)
            np.add(low, least, out=low, where=span.on)
            np.add(high, most, out=high, where=span.on)
        return low, high

    def _cut(self, k: int, span: _Span, until: Array) -> tuple[Flags, Flags]:
        """Whether the tier is cancelled while its answer is checked, or while it still runs."""
        running, open_ = span.answered >= until, span.ended >= until
        # An acceptance that ends the call at once comes after the same instant's lower tiers.
        at_once = (self._stop == self._first) & (self._first_of >= k)
        running &= ~(at_once & (span.answered == until))
        open_ &= ~(at_once & (span.ended == until))
        return span.on & open_ & ~running, span.on & running

    def best_rejected(self) -> NDArray[np.int8]:
        """The tier with the best-scored rejected answer, of equals the last; -1 for none."""
        best = np.full(self.shape, -1, np.int8)
        highest = np.full(self.shape, -2.0)
        for k, span in enumerate(self._spans):
            # Where nothing was accepted, only the deadline can come between.
            rejected = span.on & span.column.ok & ~span.passed & (span.ended < self._limit)
            score = np.where(np.isnan(span.column.score), -1.0, span.column.score)
            better = rejected & (score >= highest)
            np.copyto(best, k, where=better)
            np.copyto(highest, np.broadcast_to(score, self.shape), where=better)
        return best
