"""A recording: rows times models of real answers, from which any policy can be replayed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from cascade.errors import ConfigError, nearest
from cascade_policies.data_lines import DataFileError, read_objects
from cascade_policies.recordings.header import (
    KEY,
    Header,
    RecordedModel,
    header_of,
    header_shape,
)
from cascade_policies.recordings.rows import RecordedAnswer, Row, RowError, row_of, shape

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

FIELDS: Final = (
    "correct",
    "cost_low_usd",
    "cost_usd",
    "failed",
    "input_tokens",
    "latency",
    "output_tokens",
    "prompt_cost_usd",
    "time_to_first_token",
)
"""What `Recording.column` knows, beside any other number that the rows have."""

VERDICT_FIELDS: Final = ("accepted", "cost_low_usd", "cost_usd", "latency", "score")
"""What `Recording.verdicts` knows."""


@dataclass(frozen=True, eq=False)
class Recording:
    """Rows times models of real answers.

    Attributes:
        rows: one a prompt, in the order of the file.
        header: what the file says of itself; empty where it says nothing.
        path: where it was read, or None.
    """

    rows: Sequence[Row]
    header: Header = field(default_factory=Header)
    path: Path | None = None

    @classmethod
    def load(cls, path: str | Path) -> Recording:
        """Read a file of JSON Lines, packed with gzip or not, with or without a header.

        Raises:
            DataFileError: it cannot be read, a row is wrong or its id was there before.
        """
        header, lines = Header(), dict[str, int]()
        rows: list[Row] = []
        for number, data in read_objects(path):
            try:
                if not rows and KEY in data and "id" not in data:
                    header = header_of(data[KEY])
                    continue
                row = row_of(data)
            except (RowError, ConfigError) as error:
                raise DataFileError(str(error), file=path, line=number) from None
            if row.id in lines:
                raise DataFileError(
                    f"id {row.id!r} is in line {lines[row.id]} already: give each row its own",
                    file=path,
                    line=number,
                )
            lines[row.id] = number
            rows.append(row)
        if not rows:
            raise DataFileError("has no rows", file=path)
        return cls(tuple(rows), header, Path(path))

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Of the rows, in their order."""
        return tuple(row.id for row in self.rows)

    @cached_property
    def models(self) -> tuple[str, ...]:
        """Names of the columns: those of the header, then as they come up in the rows."""
        found = dict.fromkeys(self.header.models)
        for row in self.rows:
            found.update(dict.fromkeys(row.models))
        return tuple(found)

    @cached_property
    def sha256(self) -> str:
        """The recording's identity: of its header (the date left out) and its rows, in order.

        Of the content, not of the file: packing, white space and the order of keys do not count.
        """
        header = replace(self.header, created=None)
        digest = sha256(canonical(header_shape(header)))
        for row in self.rows:
            digest.update(b"\n")
            digest.update(canonical(shape(row)))
        return digest.hexdigest()

    def model(self, name: str) -> RecordedModel:
        """What the header says of a column; empty where it says nothing.

        Raises:
            ConfigError: there is no such column.
        """
        self.require(name)
        return self.header.models.get(name, RecordedModel())

    def require(self, *names: str) -> None:
        """See that there are such columns.

        Raises:
            ConfigError: there is none of that name; the message has the nearest.
        """
        for name in names:
            if name not in self.models:
                where = "" if self.path is None else f" {self.path}"
                raise ConfigError(
                    f"the recording{where} has no model {name!r}: {nearest(name, self.models)}"
                )

    def answers(self, model: str) -> list[RecordedAnswer | None]:
        """What the model answered to each row; None where it was not asked.

        Raises:
            ConfigError: there is no such column.
        """
        self.require(model)
        return [row.models.get(model) for row in self.rows]

    def column(self, model: str, field: str) -> Array:
        """A number of each row, float64, NaN where it is missing.

        ``field`` is a number of `RecordedAnswer` (``latency``, ``output_tokens``, …); ``correct``,
        the quality in [0, 1]; ``failed``, 1.0 where there was no answer; ``cost_usd`` and
        ``cost_low_usd``, from the header's price and the tokens where the row has no cost;
        ``prompt_cost_usd``, the prompt's part of that; or any other number that the rows have.

        Tokens that are 0 are missing: no prompt is empty, and a provider that reports nothing
        is written down as 0 by some recorders. So no unknown cost becomes a call for free.

        Raises:
            ConfigError: there is no such column, or no row has such a number.
        """
        answers = self.answers(model)
        price = self.model(model).prices
        value = _READ.get(field)
        if value is None:
            return self._other(answers, model, field)
        found = (math.nan if a is None else value(a, price) for a in answers)
        return np.fromiter(found, dtype=np.float64, count=len(answers))

    def failed(self, model: str) -> Flags:
        """Where the model gave no answer, or was not asked.

        Raises:
            ConfigError: there is no such column.
        """
        failed: Flags = self.column(model, "failed") != 0.0  # NaN, not asked, is not 0 either
        return failed

    def verdicts(self, model: str, verifier: str, field: str = "score") -> Array:
        """What a verifier said of each answer, float64, NaN where it said nothing.

        ``field``: ``score``, or 1.0 and 0.0 where there is none but an outcome; ``accepted``, 1.0
        or 0.0; NaN for both where it abstained; ``latency`` in seconds; ``cost_usd``,
        ``cost_low_usd``.

        Raises:
            ConfigError: there is no such column, verifier or field.
        """
        if field not in VERDICT_FIELDS:
            raise ConfigError(f"field {field!r} of a verdict: {nearest(field, VERDICT_FIELDS)}")
        answers = self.answers(model)
        if verifier not in self.verifiers:
            raise ConfigError(
                f"the recording has no verdicts of {verifier!r}: "
                f"{nearest(verifier, self.verifiers)}"
            )
        found = (_verdict_number(answer, verifier, field) for answer in answers)
        return np.fromiter(found, dtype=np.float64, count=len(answers))

    @cached_property
    def verifiers(self) -> tuple[str, ...]:
        """Keys of the verdicts: those of the header, then as they come up in the rows."""
        found = dict.fromkeys(self.header.verifiers)
        for row in self.rows:
            for answer in row.models.values():
                found.update(dict.fromkeys(answer.verdicts))
        return tuple(found)

    def take(self, rows: Iterable[int]) -> Recording:
        """The recording of these rows only, in this order; each at most once."""
        chosen = tuple(self.rows[index] for index in rows)
        if len({row.id for row in chosen}) < len(chosen):
            raise ConfigError("a recording has each row once")
        return Recording(chosen, self.header)

    def _other(self, answers: list[RecordedAnswer | None], model: str, field: str) -> Array:
        found = np.array([_extra(answer, field) for answer in answers], dtype=np.float64)
        if np.isnan(found).all():
            known = {key for answer in answers if answer for key in answer.extra}
            raise ConfigError(
                f"the recording has no number {field!r} of {model!r}: "
                f"{nearest(field, {*FIELDS, *known})}"
            )
        return found


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and nothing between them."""
    return msgspec.json.encode(value, order="sorted")


def _known(value: float | None) -> float:
    return math.nan if value is None else value


def _input(answer: RecordedAnswer) -> float:
    return _known(answer.input_tokens or None)


def _output(answer: RecordedAnswer) -> float:
    silent = answer.input_tokens == 0 or (answer.output_tokens == 0 and bool(answer.output))
    return math.nan if silent else _known(answer.output_tokens)


def _dollars(answer: RecordedAnswer, price: Any) -> float:
    if answer.cost_usd is not None:
        return answer.cost_usd
    if price is None:
        return math.nan
    return float((_input(answer) * price.input + _output(answer) * price.output) / 1_000_000)


def _low(answer: RecordedAnswer, price: Any) -> float:
    return _dollars(answer, price) if answer.cost_low_usd is None else answer.cost_low_usd


def _prompt(answer: RecordedAnswer, price: Any) -> float:
    return math.nan if price is None else float(_input(answer) * price.input / 1_000_000)


_READ: Final[dict[str, Any]] = {
    "correct": lambda answer, _price: answer.quality,
    "cost_low_usd": _low,
    "cost_usd": _dollars,
    "failed": lambda answer, _price: float(answer.failed),
    "input_tokens": lambda answer, _price: _input(answer),
    "latency": lambda answer, _price: _known(answer.latency),
    "output_tokens": lambda answer, _price: _output(answer),
    "prompt_cost_usd": _prompt,
    "time_to_first_token": lambda answer, _price: _known(answer.time_to_first_token),
}


def _extra(answer: RecordedAnswer | None, field: str) -> float:
    value = None if answer is None else answer.extra.get(field)
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    return math.nan


def _verdict_number(answer: RecordedAnswer | None, verifier: str, field: str) -> float:
    verdict = None if answer is None else answer.verdicts.get(verifier)
    if verdict is None:
        return math.nan
    if field == "latency":
        return _known(verdict.latency)
    if field == "cost_usd":
        return _known(verdict.cost_usd)
    if field == "cost_low_usd":
        return _known(verdict.cost_usd if verdict.cost_low_usd is None else verdict.cost_low_usd)
    if verdict.outcome == "abstained":
        return math.nan
    said = 1.0 if verdict.outcome == "accepted" else 0.0
    return said if field == "accepted" or verdict.score is None else verdict.score
