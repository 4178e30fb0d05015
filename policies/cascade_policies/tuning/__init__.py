"""The cheapest policy whose quality is certified, from one recording."""

from cascade_policies.tuning.certify import Test
from cascade_policies.tuning.goal import Goal, LatencyLimit
from cascade_policies.tuning.ladder import Ladder
from cascade_policies.tuning.schedules import Mixture, mix
from cascade_policies.tuning.search import Found, tune
from cascade_policies.tuning.split import Split, split

__all__ = [
    "Found",
    "Goal",
    "Ladder",
    "LatencyLimit",
    "Mixture",
    "Split",
    "Test",
    "mix",
    "split",
    "tune",
]
