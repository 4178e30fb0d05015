"""How long a model takes, remembered so that a delay can be a quantile of it."""

from __future__ import annotations

import re
from typing import Any

from cascade.errors import ConfigError
from cascade.histogram import Histogram

VERSION = 1
"""Of what `ModelLatency.to_dict` gives; the buckets and the half-life are part of it."""

_SPEC = re.compile(r"p([0-9]{1,2}(?:\.[0-9]{1,3})?)")


def parse_quantile(spec: str) -> float:
    """The quantile that ``"p95"`` or ``"p99.9"`` means: 0.95, 0.999.

    Raises:
        ConfigError: anything else, ``"p0"`` and ``"p100"`` among it.
    """
    match = _SPEC.fullmatch(spec)
    quantile = float(match[1] + "e-2") if match else 0.0
    if quantile == 0.0:
        shown = spec if len(spec) <= 40 else spec[:40] + "..."
        raise ConfigError(
            f"{shown!r} is neither seconds nor a quantile: needs 'p' and a percentage above 0 "
            "and below 100 with at most 3 decimals, like 'p95' or 'p99.9'"
        )
    return quantile


class ModelLatency:
    """How long the attempts at one model take.

    Record attempts that were answered (whatever the verdict), and as ``cut`` those that were
    cancelled or ran into their timeout. One that failed says nothing of how long an answer takes.

    Attributes:
        first_token: seconds to the first token.
        per_token: seconds a token, after the first.
        total: seconds to the whole answer.
    """

    __slots__ = ("first_token", "per_token", "total")

    def __init__(self) -> None:
        self.first_token = Histogram()
        self.per_token = Histogram()
        self.total = Histogram()

    def record(
        self,
        seconds: float,
        now: float,
        *,
        first_token: float | None = None,
        tokens: int | None = None,
        cut: bool = False,
    ) -> None:
        """Take in an attempt that ended after so many seconds.

        Args:
            now: Unix time; see `Histogram`.
            first_token: seconds to the first token; None when none came or it was not streamed.
            tokens: of the answer, when known.
        """
        self.total.record(seconds, now, cut=cut)
        if first_token is not None:
            self.first_token.record(first_token, now)
            if tokens is not None and tokens > 1 and not cut:
                self.per_token.record((seconds - first_token) / (tokens - 1), now)
        elif cut:
            self.first_token.record(seconds, now, cut=True)

    def merge(self, other: ModelLatency) -> None:
        """Add what another one has seen."""
        self.first_token.merge(other.first_token)
        self.per_token.merge(other.per_token)
        self.total.merge(other.total)

    def remove(self, other: ModelLatency) -> None:
        """Take back one time that another one was merged."""
        self.first_token.remove(other.first_token)
        self.per_token.remove(other.per_token)
        self.total.remove(other.total)

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return {"version": VERSION, **{key: getattr(self, key).to_dict() for key in self.__slots__}}

    @classmethod
    def from_dict(cls, data: Any) -> ModelLatency:
        """From what `to_dict` gave.

        Raises:
            ConfigError: another version, or something else; whoever keeps the data starts anew.
        """
        if not isinstance(data, dict) or data.get("version") != VERSION:
            raise ConfigError(f"no latencies: needs an object with 'version' {VERSION}")
        made = cls()
        for key in cls.__slots__:
            setattr(made, key, Histogram.from_dict(data.get(key)))
        return made
