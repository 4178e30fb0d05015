"""What is to be recorded, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade.errors import ConfigError
from cascade.policy import Policy
from cascade_policies.golden.golden_set import GoldenSet
from cascade_policies.golden.scorer import Scorer
from cascade_policies.recordings.recording import Recording


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be recorded.

    Attributes:
        policy: its tiers are asked, each alone.
        golden: what they are asked.
        scorer: says how good an answer is.
        scored_by: what the header says of the scorer.
        path: of the recording; one that is there is gone on with.
        samples: answers for each row and tier.
        concurrency: calls at a time.
        rate: calls begun in a minute; None for no limit.
    """

    policy: Policy
    golden: GoldenSet
    scorer: Scorer
    scored_by: Mapping[str, Any]
    path: Path
    samples: int = 1
    concurrency: int = 4
    rate: float | None = None

    def __post_init__(self) -> None:
        for key, least in (("samples", 1), ("concurrency", 1)):
            if getattr(self, key) < least:
                raise ConfigError(f"--{key} {getattr(self, key)}: needs {least} or more")
        if self.rate is not None and not 0 < self.rate < float("inf"):
            raise ConfigError(f"--rate {self.rate}: needs calls a minute, above 0")


@dataclass(frozen=True)
class Recorded:
    """What came of it.

    Attributes:
        recording: as it is in the file now.
        asked: calls that were made this time.
        kept: answers that were there already.
        stopped: why it ended before all was asked; None when it did not.
    """

    recording: Recording
    asked: int
    kept: int
    stopped: str | None
