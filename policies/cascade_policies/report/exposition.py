"""Prometheus's text format, and the names of the metrics: the same from a ledger and an engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from cascade_policies.report.buckets import edge

EDGES: Final = range(-96, 97, 8)
"""The buckets whose edges bound histograms: from 1 ms to 1000 s, four for a factor of ten."""

BOUNDS: Final = tuple(edge(bucket) for bucket in EDGES)
"""These bounds, in seconds."""

LABELS: Final = {
    "cascade_calls_total": ("policy", "outcome"),
    "cascade_escalated_calls_total": ("policy",),
    "cascade_call_latency_seconds": ("policy",),
    "cascade_cost_usd_total": ("policy", "bound"),
    "cascade_waste_usd_total": ("policy", "bound"),
    "cascade_routing_cost_usd_total": ("policy", "bound"),
    "cascade_unpriced_calls_total": ("policy",),
    "cascade_tier_calls_total": ("policy", "tier", "ending"),
    "cascade_escalations_total": ("policy", "tier", "kind", "verifier", "code"),
    "cascade_attempts_total": ("policy", "tier", "model", "outcome"),
    "cascade_extra_attempts_total": ("policy", "tier", "model", "kind"),
    "cascade_tokens_total": ("policy", "tier", "model", "direction"),
    "cascade_attempt_latency_seconds": ("policy", "tier", "model"),
    "cascade_time_to_first_token_seconds": ("policy", "tier", "model"),
}

_HELP: Final = {
    "cascade_calls_total": "Finished calls.",
    "cascade_escalated_calls_total": "Calls in which a tier escalated.",
    "cascade_call_latency_seconds": "How long calls took, but for those their caller cancelled.",
    "cascade_cost_usd_total": "What calls of known cost have cost: at least low, at most high.",
    "cascade_waste_usd_total": "The part of the cost that went to attempts not returned.",
    "cascade_routing_cost_usd_total": "The part of the cost that went to routers.",
    "cascade_unpriced_calls_total": "Calls whose cost is not known.",
    "cascade_tier_calls_total": "Calls that reached a tier, by how it ended in them.",
    "cascade_escalations_total": "Calls in which a later tier was started because of this one.",
    "cascade_attempts_total": "Calls to a model.",
    "cascade_extra_attempts_total": "Retries, repairs, replicas and stand-ins among them.",
    "cascade_tokens_total": "Tokens as providers counted them.",
    "cascade_attempt_latency_seconds": "How long answered attempts took, their check included.",
    "cascade_time_to_first_token_seconds": "How long the first token of an attempt took.",
}


class Histogram(NamedTuple):
    """Durations for one combination of labels.

    ``counts``: how many are within each of `BOUNDS` and beyond the one before; the last is of those
    beyond all.
    """

    counts: Sequence[int]
    seconds: float


Labels = tuple[str, ...]
Counters = Mapping[str, Iterable[tuple[Labels, float]]]
Histograms = Mapping[str, Iterable[tuple[Labels, Histogram]]]


def exposition(counters: Counters, histograms: Histograms) -> str:
    """The text that a Prometheus server reads.

    Args:
        counters: for each name its values, with the values of its `LABELS` in order.
        histograms: likewise.
    """
    lines: list[str] = []
    for name in LABELS:
        for kind, found in (("counter", counters), ("histogram", histograms)):
            if name in found:
                lines += (f"# HELP {name} {_HELP[name]}", f"# TYPE {name} {kind}")
        for values, value in counters.get(name, ()):
            lines.append(f"{name}{_labels(name, values)} {_number(value)}")
        for values, histogram in histograms.get(name, ()):
            lines += _histogram(name, values, histogram)
    return "".join(f"{line}\n" for line in lines)


def _histogram(name: str, values: Labels, histogram: Histogram) -> Iterator[str]:
    totals = list(accumulate(histogram.counts))
    for bound, total in zip((*BOUNDS, None), totals, strict=True):
        shown = "+Inf" if bound is None else f"{bound:.6g}"
        yield f"{name}_bucket{_labels(name, values, le=shown)} {total}"
    yield f"{name}_sum{_labels(name, values)} {_number(histogram.seconds)}"
    yield f"{name}_count{_labels(name, values)} {totals[-1]}"


def _labels(name: str, values: Labels, **more: str) -> str:
    pairs = (*zip(LABELS[name], values, strict=True), *more.items())
    return "{" + ",".join(f'{key}="{escape(value)}"' for key, value in pairs) + "}"


def escape(value: str) -> str:
    """A label's value: backslashes, quotes and line ends escaped, whatever the name holds."""
    value = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return value.replace("\r", " ")


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))
