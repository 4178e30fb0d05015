"""Candidates beside what serves: shadows, canaries, audits, A/B. docs/shadow.md explains."""

from __future__ import annotations

from cascade_policies.shadow.assigning import Split, assign, call_key, keyed
from cascade_policies.shadow.canary import Canary
from cascade_policies.shadow.certified import Certified
from cascade_policies.shadow.comparing import checked_by, exact
from cascade_policies.shadow.keeping import kept
from cascade_policies.shadow.pairs import Comparison, compare_pairs, read_pairs
from cascade_policies.shadow.shadow import Shadow

__all__ = [
    "Canary",
    "Certified",
    "Comparison",
    "Shadow",
    "Split",
    "assign",
    "call_key",
    "checked_by",
    "compare_pairs",
    "exact",
    "kept",
    "keyed",
    "read_pairs",
]
