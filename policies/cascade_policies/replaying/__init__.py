"""Any policy over a recording: call by call through the state machine, or whole grids at once."""

from cascade_policies.replaying.loading import table_of
from cascade_policies.replaying.schedule import ACCEPTED, DEADLINE, EXHAUSTED, Rules
from cascade_policies.replaying.settings import UNCHECKED, Settings
from cascade_policies.replaying.table import Table
from cascade_policies.replaying.vectorised import Evaluator, Means, Outcomes, evaluate

__all__ = [
    "ACCEPTED",
    "DEADLINE",
    "EXHAUSTED",
    "UNCHECKED",
    "Evaluator",
    "Means",
    "Outcomes",
    "Rules",
    "Settings",
    "Table",
    "evaluate",
    "table_of",
]
