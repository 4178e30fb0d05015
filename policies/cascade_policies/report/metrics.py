"""What an engine's calls add up to, in memory, for Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from operator import itemgetter
from typing import Final

from cascade.cost import Cost
from cascade.records import CallRecord
from cascade.result import Attempt
from cascade_policies.report.exposition import BOUNDS, Histogram, Labels, exposition
from cascade_policies.report.rollups import SAME

_ANSWERED: Final = ("accepted", "rejected")
_ABSTAINED: Final = "abstained:"
_CODE_CHARS: Final = 80  # of a code; what a function of the user's gives as one has any length


class _Counter(defaultdict[Labels, float]):
    """One metric: a number for each combination of labels."""

    def __init__(self) -> None:
        super().__init__(int)


class _Durations:
    """One histogram."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds


class _Histograms(defaultdict[Labels, _Durations]):
    def __init__(self) -> None:
        super().__init__(_Durations)

    def copied(self) -> list[tuple[Labels, Histogram]]:
        pairs = sorted(self.items(), key=itemgetter(0))
        return [(key, Histogram(its.counts.copy(), its.seconds)) for key, its in pairs]


class Metrics:
    """An `Observer` that counts calls, attempts, costs and durations since it was made.

    ``Engine(observers=[metrics])``, and give `text` to whoever asks for ``/metrics``. The names
    are those of ``cascade report --prometheus``; docs/reports.md lists them.
    """

    def __init__(self) -> None:
        self._calls = _Counter()
        self._escalated = _Counter()
        self._cost = _Counter()
        self._waste = _Counter()
        self._routing = _Counter()
        self._unpriced = _Counter()
        self._tiers = _Counter()
        self._escalations = _Counter()
        self._attempts = _Counter()
        self._extra = _Counter()
        self._tokens = _Counter()
        self._latency = _Histograms()
        self._attempt_latency = _Histograms()
        self._first_token = _Histograms()

    def call_finished(self, record: CallRecord, /) -> None:
        """Take note of a call; see `Observer`."""
        policy, outcome = record.policy, record.outcome
        self._calls[policy, outcome] += 1
        if outcome != "cancelled":
            self._latency[policy,].add(record.latency)
        self._escalated[policy,] += record.escalations > 0
        if _add(self._cost, policy, record.cost):
            self._unpriced[policy,] += 1
        _add(self._waste, policy, record.waste)
        if record.route is not None and record.route.cost.high:
            _add(self._routing, policy, record.route.cost)
        for attempt in record.attempts:
            self._attempt(policy, attempt)
        if len(record.attempts) == 1 and outcome == "accepted":
            self._tiers[policy, record.attempts[0].tier, "accepted"] += 1
        else:
            self._reached(record)

    def _attempt(self, policy: str, attempt: Attempt) -> None:
        tier, model = attempt.tier, attempt.model
        key = (policy, tier, model)
        self._attempts[policy, tier, model, _outcome(attempt)] += 1
        if attempt.kind != "first":
            self._extra[policy, tier, model, attempt.kind] += 1
        if attempt.outcome in _ANSWERED:
            self._attempt_latency[key].add(attempt.latency)
        if attempt.time_to_first_token is not None:
            self._first_token[key].add(attempt.time_to_first_token)
        usage = None if attempt.answer is None else attempt.answer.usage
        if usage is not None:
            self._tokens[policy, tier, model, "input"] += usage.input_tokens or 0
            self._tokens[policy, tier, model, "output"] += usage.output_tokens or 0

    def _reached(self, record: CallRecord) -> None:
        """Count how each tier ended that the call reached."""
        tiers: dict[str, list[Attempt]] = {}
        for attempt in record.attempts:
            tiers.setdefault(attempt.tier, []).append(attempt)
        out = escalated(record, list(tiers.values()))
        for name, its in tiers.items():
            decided, ending = _ending(record, name, its, name in out)
            self._tiers[record.policy, name, ending] += 1
            if name in out and decided is not None:
                verifier = "" if decided.outcome == "failed" else decided.verifier or ""
                code = _code(decided)
                self._escalations[record.policy, name, ending, verifier, code] += 1

    def text(self) -> str:
        """Everything so far, in Prometheus's text format. From any thread."""
        counters = {
            "cascade_calls_total": self._calls,
            "cascade_escalated_calls_total": self._escalated,
            "cascade_cost_usd_total": self._cost,
            "cascade_waste_usd_total": self._waste,
            "cascade_routing_cost_usd_total": self._routing,
            "cascade_unpriced_calls_total": self._unpriced,
            "cascade_tier_calls_total": self._tiers,
            "cascade_escalations_total": self._escalations,
            "cascade_attempts_total": self._attempts,
            "cascade_extra_attempts_total": self._extra,
            "cascade_tokens_total": self._tokens,
        }
        histograms = {
            "cascade_call_latency_seconds": self._latency,
            "cascade_attempt_latency_seconds": self._attempt_latency,
            "cascade_time_to_first_token_seconds": self._first_token,
        }
        # Each is copied in one go first: the loop's thread may be adding to it.
        return exposition(
            {name: sorted(counter.items()) for name, counter in counters.items()},
            {name: found.copied() for name, found in histograms.items()},
        )


def _add(counter: _Counter, policy: str, cost: Cost) -> bool:
    """Add a cost, and say whether it is unknown."""
    if cost.low is None or cost.high is None:
        return True
    counter[policy, "low"] += cost.low
    counter[policy, "high"] += cost.high
    return False


def escalated(record: CallRecord, tiers: list[list[Attempt]]) -> set[str]:
    """The tiers because of which a later one was started.

    Args:
        tiers: the attempts of each tier, in the order in which these were started.
    """
    names = [its[0].tier for its in tiers]
    if record.escalations == 0:
        return set()
    if record.escalations == len(tiers) - 1:
        return set(names[:-1])
    return {
        its[0].tier
        for index, its in enumerate(tiers)
        if any(_started_by(later, its[-1], record.attempts) for later in tiers[index + 1 :])
    }


def _started_by(tier: list[Attempt], last: Attempt, attempts: Sequence[Attempt]) -> bool:
    """Whether a tier was started after ``last``, in the moment when all before it had ended."""
    first = tier[0]
    ended = [
        one.started + one.latency
        for one in attempts
        if one.number < first.number and one.tier != first.tier
    ]
    return last.number < first.number and abs(first.started - max(ended)) <= SAME


def _ending(
    record: CallRecord, tier: str, attempts: list[Attempt], out: bool
) -> tuple[Attempt | None, str]:
    """The attempt that decided a tier, and how the tier ended."""
    if record.outcome == "accepted" and record.result is not None and record.result.tier == tier:
        return None, "accepted"
    decided = [attempt for attempt in attempts if attempt.outcome != "cancelled"]
    passed = any(attempt.outcome == "accepted" for attempt in decided)
    if passed or not decided or not (
        out or record.outcome == "exhausted" or len(decided) == len(attempts)
    ):  # fmt: skip
        return None, "undecided"
    return decided[-1], _outcome(decided[-1])


def _outcome(attempt: Attempt) -> str:
    if attempt.outcome == "rejected" and attempt.reason.startswith(_ABSTAINED):
        return "abstained"
    return attempt.outcome


def _code(attempt: Attempt) -> str:
    if attempt.error is not None:
        return type(attempt.error).__name__
    return "" if attempt.verdict is None else attempt.verdict.code[:_CODE_CHARS]
