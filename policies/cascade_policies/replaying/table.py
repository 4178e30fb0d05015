"""What was recorded, as arrays: one row a prompt, one column a tier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cascade.errors import ConfigError

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

_FLAGS: Final = ("accepted", "failed")
_TEXTS: Final = ("ids", "tiers", "stops_billing")


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """One attempt for each prompt and tier: n rows, K columns.

    Numbers are float64 and NaN where they are not known: an unknown cost is never 0. Where
    ``failed``, there is no answer, and ``quality`` and ``score`` are not looked at.

    Attributes:
        ids: of the n prompts.
        tiers: names of the K columns, from the cheapest to the strongest.
        quality: what the answer is worth, such as 1.0 where it is right and 0.0 where not.
        score: the verifier's, in [0, 1]; 1.0 or 0.0 where it only accepts or rejects; NaN where
            it abstained.
        cost_low, cost_high: US dollars of the whole attempt, its check included.
        latency: seconds to the answer or the failure, the check not included.
        check_latency: seconds of the check.
        failed: whether there was no answer to check: an error, or a function's "not mine".
        stops_billing: K times whether closing a stream stops its billing; None for not known.
        accepted: what the verifier itself said; None where only scores are known.
        first_token: seconds to the first piece of the answer; None for all unknown.
        prompt_cost: the part of the cost that is the prompt's; None for all unknown.
        check_cost: the part of the cost that is the check's; None for nothing.

    Raises:
        ConfigError: an array has another shape, or a value is impossible.
    """

    ids: Sequence[str]
    tiers: Sequence[str]
    quality: Array
    score: Array
    cost_low: Array
    cost_high: Array
    latency: Array
    check_latency: Array
    failed: Flags
    stops_billing: Sequence[bool | None]
    accepted: Flags | None = None
    first_token: Array | None = None
    prompt_cost: Array | None = None
    check_cost: Array | None = None

    def __post_init__(self) -> None:
        shape = (len(self.ids), len(self.tiers))
        if not self.tiers:
            raise ConfigError("a table needs at least one tier")
        for field in fields(self):
            name = field.name
            value = getattr(self, name)
            if name not in _TEXTS and value is not None:
                kind = np.bool_ if name in _FLAGS else np.float64
                array: NDArray[Any] = np.asarray(value, dtype=kind)
                if array.shape != shape:
                    raise ConfigError(f"{name}: needs the shape {shape}; got {array.shape}")
                self._set(name, array)
        self._set("ids", tuple(self.ids))
        self._set("tiers", tuple(self.tiers))
        self._set("stops_billing", tuple(_known(stops) for stops in self.stops_billing))
        if len(self.stops_billing) != len(self.tiers):
            raise ConfigError(f"stops_billing: needs {len(self.tiers)} values, one a tier")
        self._check_values()

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_values(self) -> None:
        seconds = ("latency", "check_latency", "first_token")
        dollars = ("cost_low", "cost_high", "prompt_cost", "check_cost")
        for name in ("score", *seconds, *dollars):
            array = getattr(self, name)
            if array is None:
                continue
            most = 1.0 if name == "score" else np.inf
            bad = (array < 0) | (array > most) | np.isinf(array)
            if bad.any():
                row, column = np.argwhere(bad)[0]
                wanted = "a number in [0, 1]" if name == "score" else "a finite number, 0 or more"
                raise ConfigError(
                    f"{name} of {self.tiers[column]!r} in row {self.ids[row]!r} is "
                    f"{array[row, column]!r}: needs {wanted}"
                )

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[np.intp] | Flags | Sequence[int]) -> Table:
        """The table of these rows, in this order; a row may come more than once."""
        chosen = np.arange(len(self))[np.asarray(rows, dtype=None if len(rows) else np.intp)]
        changed: dict[str, Any] = {"ids": tuple([self.ids[row] for row in chosen])}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                changed[field.name] = value[chosen]
        return replace(self, **changed)


def _known(stops: Any) -> bool | None:
    """Three values, which an array can only hold as 1, 0 and NaN."""
    return None if stops is None or stops != stops else bool(stops)
