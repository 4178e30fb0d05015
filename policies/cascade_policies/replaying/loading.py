"""Columns of a recording as a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cascade.errors import ConfigError
from cascade_policies.recordings import Recording
from cascade_policies.replaying.samples import not_whole
from cascade_policies.replaying.table import Array, Table


def table_of(
    recording: Recording,
    columns: Sequence[str],
    *,
    verifiers: Sequence[str | None] | None = None,
    allow_truncated: bool = False,
) -> Table:
    """The first answers of some columns, and what their verifiers said of them.

    As in a replay of a policy, a verdict without a cost is taken to be free, and one without a
    time to have taken none. A row in which a model was not asked counts as failed, at an unknown
    cost.

    Args:
        recording: what was recorded.
        columns: of it, from the cheapest to the strongest.
        verifiers: for each column the key of its verdicts; None for one without a check, whose
            answers score 1. By default what the recording's header says of the column.
        allow_truncated: whether an answer cut off at ``max_tokens`` is one.

    Raises:
        ConfigError: the recording does not have a column or a verifier.
    """
    recording.require(*columns)
    if verifiers is None:
        verifiers = [recording.model(column).verifier for column in columns]
    if len(verifiers) != len(columns):
        raise ConfigError(f"verifiers: needs {len(columns)} keys, one a column")
    pairs = list(zip(columns, verifiers, strict=True))

    def numbers(field: str) -> Array:
        return np.column_stack([recording.column(column, field) for column in columns])

    def said(field: str, unchecked: float) -> Array:
        rows = len(recording)
        return np.column_stack(
            [
                np.full(rows, unchecked) if key is None else recording.verdicts(column, key, field)
                for column, key in pairs
            ]
        )

    failed = np.column_stack(
        [
            [a is None or not_whole(a, allow_truncated) for a in recording.answers(column)]
            for column in columns
        ]
    )
    checking = np.nan_to_num(said("cost_usd", 0.0))
    return Table(
        ids=recording.ids,
        tiers=columns,
        quality=numbers("correct"),
        score=said("score", 1.0),
        cost_low=numbers("cost_low_usd") + checking,
        cost_high=numbers("cost_usd") + checking,
        latency=numbers("latency"),
        check_latency=np.nan_to_num(said("latency", 0.0)),
        failed=failed,
        stops_billing=[recording.model(column).stops_billing for column in columns],
        accepted=said("accepted", 1.0) == 1.0,
        first_token=numbers("time_to_first_token"),
        prompt_cost=numbers("prompt_cost_usd"),
        check_cost=checking,
    )
