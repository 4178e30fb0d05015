"""What is asked of a policy: what must hold, and what is to be small."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite
from typing import Final, Literal

from cascade.errors import ConfigError

Minimise = Literal["cost", "latency"]

_LATENCY: Final = re.compile(r"p(\d{1,2}(?:\.\d+)?)\s*=\s*(\d+(?:\.\d+)?)\s*(ms|s)?")


@dataclass(frozen=True, slots=True)
class LatencyLimit:
    """That a share of all calls takes no longer than so many seconds."""

    share: float
    seconds: float

    @classmethod
    def parse(cls, text: str) -> LatencyLimit:
        """``p95=2s`` or ``p99.5=800ms``.

        Raises:
            ConfigError: it has another form.
        """
        found = _LATENCY.fullmatch(text.strip())
        if found is None or not float(found[1]) or not float(found[2]):
            raise ConfigError(f'--max-latency {text!r}: write "p95=2s" or "p99.5=800ms"')
        seconds = float(found[2]) / (1000.0 if found[3] == "ms" else 1.0)
        return cls(float(found[1]) / 100.0, seconds)

    def __str__(self) -> str:
        return f"p{100 * self.share:g}={self.seconds:g}s"


@dataclass(frozen=True, slots=True)
class Goal:
    """What to minimise, and what must hold with this confidence.

    Attributes:
        min_accuracy: the mean quality of the answers is at least this.
        max_drop: it is at most so much below that of the last tier alone.
        max_cost: a call costs at most so many US dollars in the mean.
        max_latency: a share of the calls takes at most so long.
        minimise: ``cost``, the mean US dollars of a call, or ``latency``, its mean seconds.
        confidence: that all of it holds, over all recordings that might have been drawn.

    Raises:
        ConfigError: a value is impossible, or nothing is said of quality.
    """

    min_accuracy: float | None = None
    max_drop: float | None = None
    max_cost: float | None = None
    max_latency: LatencyLimit | None = None
    minimise: Minimise = "cost"
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if self.min_accuracy is None and self.max_drop is None:
            raise ConfigError(
                "give --min-accuracy or --max-drop: the cheapest policy of any quality is no goal"
            )
        _require("min_accuracy", self.min_accuracy, 0.0, 1.0)
        _require("max_drop", self.max_drop, 0.0, 1.0)
        _require("confidence", self.confidence, 0.0, 1.0)
        if self.max_cost is not None and not (self.max_cost > 0.0 and isfinite(self.max_cost)):
            raise ConfigError(f"max_cost={self.max_cost!r}: needs US dollars above 0")
        if self.minimise not in ("cost", "latency"):
            raise ConfigError(f"minimise={self.minimise!r}: needs 'cost' or 'latency'")

    @property
    def risk(self) -> float:
        """1 - confidence."""
        return 1.0 - self.confidence

    @property
    def timed(self) -> bool:
        """Whether latencies are needed."""
        return self.max_latency is not None or self.minimise == "latency"

    def words(self) -> list[str]:
        """What must hold, each in a few words."""
        said = []
        if self.min_accuracy is not None:
            said.append(f"quality at least {self.min_accuracy:g}")
        if self.max_drop is not None:
            said.append(f"quality at most {self.max_drop:g} below the last tier's")
        if self.max_cost is not None:
            said.append(f"mean cost at most ${self.max_cost:g} a call")
        if self.max_latency is not None:
            limit = self.max_latency
            said.append(f"{100 * limit.share:g}% of the calls within {limit.seconds:g} s")
        return said

    def options(self) -> list[str]:
        """The same as options of ``cascade tune``."""
        pairs = (
            ("--min-accuracy", self.min_accuracy),
            ("--max-drop", self.max_drop),
            ("--max-cost", self.max_cost),
            ("--max-latency", self.max_latency),
        )
        given = [word for name, value in pairs if value is not None for word in (name, str(value))]
        return [*given, "--minimise", self.minimise, "--confidence", f"{self.confidence:g}"]


def _require(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low < value < high:
        raise ConfigError(f"{name}={value!r}: needs a number between {low:g} and {high:g}")
