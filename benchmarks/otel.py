"""What the observers `OpenTelemetry`, `Metrics`, `DriftWatch` and `LedgerDriftWatch` cost a call.

    python -m benchmarks.otel [--json] [--check]

Microseconds of processor time on the thread that hands the calls over, which is the loop's, at the
best of ten rounds of 2,000 calls; one in four of them has two attempts, and each attempt a verdict.
Spans go to a `BatchSpanProcessor` whose exporter drops them, metrics to an `InMemoryMetricReader`.

no SDK         opentelemetry-api alone, as it is where the application sets nothing up
sampled out    spans of which the sampler wants none
spans          spans alone; ``content``: with prompts and answers
metrics        metrics alone

With ``--check`` the exit code is 1 when ``no SDK`` takes more than 15 µs a call, `DriftWatch` more
than 15 or `LedgerDriftWatch` more than 10.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import thread_time

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NoOpTracerProvider

from benchmarks.ledger_calls import call
from cascade.records import CallRecord, Observer
from cascade_policies.drift import DriftWatch, LedgerDriftWatch
from cascade_policies.otel import OpenTelemetry
from cascade_policies.report.metrics import Metrics

CALLS, ROUNDS = 2000, 10
TARGETS = {"OpenTelemetry, no SDK": 15.0, "DriftWatch": 15.0, "LedgerDriftWatch": 10.0}


class _Dropping(InMemorySpanExporter):
    """Keeps nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.shutdown()


@contextmanager
def _tracers() -> Iterator[TracerProvider]:
    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(_Dropping(), max_queue_size=100_000))
    try:
        yield tracers
    finally:
        tracers.shutdown()


def cost(observer: Observer, calls: list[CallRecord]) -> float:
    """Microseconds a call."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = thread_time()
        for record in calls:
            observer.call_finished(record)
        best = min(best, thread_time() - began)
    return best / len(calls) * 1e6


def measure() -> dict[str, float]:
    """Of each observer."""
    calls = [call(number) for number in range(CALLS)]
    found = {"OpenTelemetry, no SDK": cost(OpenTelemetry(), calls)}
    nothing = NoOpMeterProvider()
    off = TracerProvider(sampler=ALWAYS_OFF)
    found["OpenTelemetry, sampled out"] = cost(OpenTelemetry(off, nothing), calls)
    with _tracers() as tracers:
        found["OpenTelemetry, spans"] = cost(OpenTelemetry(tracers, nothing), calls)
        content = OpenTelemetry(tracers, nothing, content=True)
        found["OpenTelemetry, spans with content"] = cost(content, calls)
    meters = MeterProvider([InMemoryMetricReader()])
    found["OpenTelemetry, metrics"] = cost(OpenTelemetry(NoOpTracerProvider(), meters), calls)
    simple: dict[str, Callable[[], Observer]] = {"Metrics": Metrics, "DriftWatch": DriftWatch}
    for name, make in simple.items():
        found[name] = cost(make(), calls)
    with tempfile.TemporaryDirectory() as folder:
        watch = LedgerDriftWatch(Path(folder) / "ledger.db")
        found["LedgerDriftWatch"] = cost(watch, calls)
        watch.close()
    return found


def main() -> int:
    """Measure, print, and say by the exit code whether the targets hold."""
    parser = argparse.ArgumentParser(description="What observers cost a call.")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--check", action="store_true", help="exit code 1 when a target is missed")
    options = parser.parse_args()
    found = measure()
    if options.json:
        print(json.dumps({name: round(value, 3) for name, value in found.items()}))
    else:
        for name, value in found.items():
            print(f"{name:<36} {value:8.2f} µs a call")
    late = [name for name, most in TARGETS.items() if found[name] > most]
    if options.check and late:
        print(f"too slow: {', '.join(late)}", file=sys.stderr)
    return 1 if options.check and late else 0


if __name__ == "__main__":
    sys.exit(main())
