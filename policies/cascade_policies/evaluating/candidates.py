"""What is compared: each recorded model alone, and the policy over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from cascade.errors import ConfigError
from cascade.policy import Policy
from cascade_policies.recordings.identity import differences
from cascade_policies.recordings.recording import Array, Flags, Recording
from cascade_policies.replaying.plans import PolicyReplay


@dataclass(frozen=True, eq=False)
class Candidate:
    """One way to answer the prompts; arrays have a number for each row.

    Attributes:
        name: of the model or the policy.
        kind: which of the two.
        quality: in [0, 1]; 0 where there is no answer.
        cost: the most it may have cost, in US dollars; NaN where it is not known.
        latency: seconds; NaN where they are not known.
        tier: which column's answer it is; None where there is none.
    """

    name: str
    kind: Literal["model", "policy"]
    quality: Array
    cost: Array
    latency: Array
    tier: Sequence[str | None]


@dataclass(frozen=True, eq=False)
class Field:
    """All candidates, on the rows on which they can be compared.

    Attributes:
        recording: these rows alone.
        candidates: the models in the order of the recording, and then the policy.
        unasked: how many rows are left out because a model was not asked.
        unscorable: ids of the rows left out because no answer of any model could be scored.
        doubtful: by model, on how many rows its answer could not be scored and another's could;
            these count as wrong.
    """

    recording: Recording
    candidates: Sequence[Candidate]
    unasked: int
    unscorable: Sequence[str]
    doubtful: dict[str, int]


def compete(recording: Recording, policy: Policy | None = None) -> Field:
    """The candidates of a recording, and the policy replayed over it.

    An answer that could not be scored is wrong where another one to the same prompt could: else
    a model would gain by answers on which the scorer fails.

    Raises:
        ConfigError: no row has an answer of every model, or the recording has not what the
            policy needs, or something else than it has.
    """
    if policy is not None and (other := differences(recording.header, policy)):
        raise ConfigError(
            f"was recorded otherwise: {'; '.join(other)}: record it again, to another file",
            policy=policy.name,
        )
    names = list(recording.models)
    asked = _asked(recording, names)
    known = {name: recording.column(name, "correct") for name in names}
    failed = {name: recording.failed(name) for name in names}
    blank = {name: np.isnan(known[name]) & ~failed[name] for name in names}
    lost = np.all([blank[name] for name in names], axis=0) & asked
    rows = np.flatnonzero(asked & ~lost)
    if not len(rows):
        what = "no answer has a quality: score it with --golden" if asked.any() else "no answers"
        raise ConfigError(f"no row can be compared: {what}")
    kept = recording.take(rows.tolist())
    candidates = [_model(kept, name, known[name][rows], failed[name][rows]) for name in names]
    if policy is not None:
        candidates.append(_policy(kept, policy))
    doubtful = {name: int(blank[name][rows].sum()) for name in names}
    return Field(
        kept,
        candidates,
        unasked=int((~asked).sum()),
        unscorable=[recording.ids[index] for index in np.flatnonzero(lost)],
        doubtful={name: count for name, count in doubtful.items() if count},
    )


def _asked(recording: Recording, names: Sequence[str]) -> Flags:
    found: list[bool] = [all(name in row.models for name in names) for row in recording.rows]
    return np.array(found, dtype=np.bool_)


def _model(recording: Recording, name: str, quality: Array, failed: Flags) -> Candidate:
    # A model alone is not checked: neither the check's time nor its cost is its.
    return Candidate(
        name,
        "model",
        np.where(failed | np.isnan(quality), 0.0, quality),
        recording.column(name, "cost_usd"),
        recording.column(name, "latency"),
        [None if gone else name for gone in failed.tolist()],
    )


def _policy(recording: Recording, policy: Policy) -> Candidate:
    replay = PolicyReplay(policy, recording)
    calls = replay.run()
    names = [tier.name for tier in policy.tiers]
    column: Any = [None if call.tier is None else names[call.tier] for call in calls]
    quality = np.array([call.quality for call in calls], dtype=np.float64)
    return Candidate(
        policy.name,
        "policy",
        np.where(np.isnan(quality), 0.0, quality),
        np.array([call.high for call in calls], dtype=np.float64),
        np.array([call.latency for call in calls], dtype=np.float64),
        column,
    )
