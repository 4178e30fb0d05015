"""A policy and a recording, as a search takes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cascade.errors import ConfigError
from cascade.policy import Policy, Tier
from cascade.verify import as_verifier
from cascade_policies.recordings import Recording
from cascade_policies.replaying.loading import table_of
from cascade_policies.replaying.matching import places
from cascade_policies.replaying.settings import UNCHECKED, Settings
from cascade_policies.replaying.table import Table
from cascade_policies.tuning.goal import Goal
from cascade_policies.tuning.ladder import Ladder, Threshold


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """Attributes:
    policy: what is tuned.
    table: its tiers' recorded answers, a column a tier, in order.
    ladder: what may be changed.
    texts: the prompts, for keeping near-duplicates together.
    """

    policy: Policy
    table: Table
    ladder: Ladder
    texts: list[str]


def subject_of(policy: Policy, recording: Recording, goal: Goal) -> Subject:
    """The policy's tiers in a recording.

    Raises:
        ConfigError: the recording lacks one of them, or the policy does what no search can
            account for.
    """
    if policy.router is not None:
        raise ConfigError("router: a search starts every call at the first tier: leave it out")
    found = [places(_plain(tier), recording) for tier in policy.tiers]
    table = table_of(
        recording,
        [place.columns[0][0] for place in found],
        verifiers=[place.verifier for place in found],
        allow_truncated=any(tier.allow_truncated for tier in policy.tiers),
    )
    thresholds: list[Threshold] = []
    tunable: list[bool] = []
    for column, tier in enumerate(policy.tiers):
        tunable.append(_tunable(table, column, tier))
        thresholds.append(UNCHECKED if tier.verify is None else tier.threshold)
    settings = Settings(
        tiers=tuple(range(len(policy.tiers))),
        thresholds=tuple(thresholds),
        start_after=_delays(policy),
        prefer=policy.preference,
        grace=policy.grace,
        deadline=policy.deadline,
        exhausted=policy.exhausted,
        on_abstain=tuple(tier.on_abstain for tier in policy.tiers),
    )
    ladder = Ladder(settings, tuple(tunable), delays=goal.timed)
    return Subject(policy, table, ladder, [_text(row.prompt, row) for row in recording.rows])


def _plain(tier: Tier) -> Tier:
    """See that a tier's answer is that of one call.

    Raises:
        ConfigError: it is not.
    """
    for key, much in (("repairs", tier.repairs > 0), ("fallbacks", bool(tier.fallbacks))):
        if much:
            raise ConfigError(
                f"{key} are in no certificate, as the recording has first answers: tune "
                f"without {key}",
                tier=tier.name,
            )
    return tier


def _tunable(table: Table, column: int, tier: Tier) -> bool:
    """Whether the tier's verifier takes a threshold, and what was recorded is told by one."""
    if tier.verify is None or getattr(as_verifier(tier.verify), "with_threshold", None) is None:
        return False
    score = table.score[:, column]
    known = ~table.failed[:, column] & ~np.isnan(score)
    if not known.any() or set(np.unique(score[known]).tolist()) <= {0.0, 1.0}:
        return False
    assert table.accepted is not None
    accepted = table.accepted[:, column]
    # A rejection above an accepted score was made by a part without a threshold.
    least = np.min(score[known & accepted], initial=np.inf)
    return bool((score[known & ~accepted] < least).all())


def _delays(policy: Policy) -> tuple[float | None, ...]:
    delays = policy.delays
    if any(isinstance(delay, str) for delay in delays):
        raise ConfigError(
            f"start_after = {policy.start_after!r}: a learned delay changes as it is learned: "
            "give seconds"
        )
    if all(delay is None for delay in delays):
        return ()
    return tuple(None if isinstance(delay, str) else delay for delay in delays)


def _text(prompt: object, row: object) -> str:
    if isinstance(prompt, str):
        return prompt
    import msgspec

    parts = (prompt, getattr(row, "messages", None), getattr(row, "variables", None))
    return msgspec.json.encode(parts).decode()
