"""Spans and metrics for OpenTelemetry. docs/observability.md explains."""

from __future__ import annotations

from cascade_policies.otel.observer import OpenTelemetry

__all__ = ["OpenTelemetry"]
