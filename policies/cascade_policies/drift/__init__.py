"""Tells when a task's escalation rate or cost per call has changed. docs/drift.md explains."""

from __future__ import annotations

from cascade_policies.drift.baseline import Baseline
from cascade_policies.drift.ledger_watch import LedgerDriftWatch
from cascade_policies.drift.monitor import Drift
from cascade_policies.drift.store import detections, load, read_baselines, save
from cascade_policies.drift.watch import DriftWatch

__all__ = [
    "Baseline",
    "Drift",
    "DriftWatch",
    "LedgerDriftWatch",
    "detections",
    "load",
    "read_baselines",
    "save",
]
