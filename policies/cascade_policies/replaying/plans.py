"""A policy and a recording, as the state machine takes them: a plan, and a row a call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from cascade.bind import may_overlap
from cascade.errors import ConfigError
from cascade.events import Plan, TierPlan
from cascade.histogram import Histogram
from cascade.latency import parse_quantile
from cascade.policy import Delay, Policy, Tier
from cascade.replay import NotRecordedError, Recorded, Replayed, Row, replay
from cascade_policies.recordings import Recording
from cascade_policies.replaying.matching import Place, places
from cascade_policies.replaying.samples import read_samples

_REMEDIES = {
    "repair": "tiers.{tier}.repairs=0",
    "retry": "tiers.{tier}.retries=0",
}


@dataclass(frozen=True, eq=False)
class PolicyReplay:
    """A policy over a recording; nothing is called, and no check is run.

    Args:
        policy: its models, prompts and checks must be those that were recorded.
        recording: what was recorded.

    Raises:
        ConfigError: the recording has not what the policy needs; it says what.
    """

    policy: Policy
    recording: Recording

    def __post_init__(self) -> None:
        if self.policy.router is not None:
            raise ConfigError(
                "router: needs what it said of each prompt, which the recording does not have",
                policy=self.policy.name,
            )
        _ = self.plan, self.rows

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Where the answers of each tier are recorded."""
        return tuple(places(tier, self.recording) for tier in self.policy.tiers)

    @cached_property
    def _samples(self) -> list[list[list[list[tuple[Recorded, ...]]]]]:
        """``[tier][member][choice][row]``: every member draws other samples of the same model."""
        found = []
        for tier, place in zip(self.policy.tiers, self.places, strict=True):
            read = {
                name: read_samples(self.recording, name, tier, place.verifier)
                for name in dict.fromkeys(name for member in place.columns for name in member)
            }
            members = []
            for at, columns in enumerate(place.columns):
                alike = [m for m, others in enumerate(place.columns) if others[0] == columns[0]]
                turn, of = alike.index(at), len(alike)
                own = [samples[turn::of] for samples in read[columns[0]]]
                stand_ins = [
                    [samples[at :: len(place.columns)] for samples in read[name]]
                    for name in columns[1:]
                ]
                members.append([own, *stand_ins])
            found.append(members)
        return found

    @cached_property
    def rows(self) -> list[Row]:
        """What was recorded for each prompt."""
        return [
            [[[choice[at] for choice in member] for member in tier] for tier in self._samples]
            for at in range(len(self.recording.rows))
        ]

    @cached_property
    def plan(self) -> Plan:
        """The policy as the state machine sees it; quantiles are those of the recorded times."""
        policy = self.policy
        tiers = tuple(self._tier_plan(index) for index in range(len(policy.tiers)))
        delays = tuple(
            self._quantile(index - 1, delay) if isinstance(delay, str) else delay
            for index, delay in enumerate(policy.delays)
        )
        return Plan(
            tiers=tiers,
            delays=delays,
            prefer=policy.preference,
            grace=policy.grace,
            deadline=policy.deadline,
            overlaps=may_overlap(tiers, delays[1:]),
        )

    def _tier_plan(self, index: int) -> TierPlan:
        tier, place = self.policy.tiers[index], self.places[index]
        after = tier.replica_after
        if isinstance(after, str):
            after = self._quantile(index, after, first_token=True)
        return TierPlan(
            members=len(place.columns),
            judged=tier.verify is not None,
            timeout=tier.timeout,
            verify_timeout=tier.verify_timeout,
            retries=tier.retries,
            repairs=tier.repairs,
            replica_after=after,
            fallbacks=len(tier.fallbacks),
            on_abstain=tier.on_abstain,
        )

    def _quantile(self, index: int, spec: Delay, *, first_token: bool = False) -> float | None:
        """As `cascade.bind.BoundTier.quantile`: of the slowest of the tier's models."""
        found = []
        for member in self._samples[index]:
            seen = Histogram()
            for samples in member[0]:
                for each in samples:
                    seconds = each.first_token if first_token else each.latency
                    if each.ended == "answered" and seconds == seconds:
                        seen.record(seconds, 0.0)
            found.append(seen.quantile(parse_quantile(str(spec)), 0.0))
        return max((seconds for seconds in found if seconds is not None), default=None)

    def run(self) -> list[Replayed]:
        """What each call comes to, in the order of the rows.

        Raises:
            ConfigError: some calls need what was not recorded; it names how many, the first, and
                what to change.
        """
        calls: list[Replayed] = []
        lacking: list[tuple[str, NotRecordedError]] = []
        best = self.policy.exhausted == "best"
        for row, recorded in zip(self.recording.rows, self.rows, strict=True):
            try:
                calls.append(replay(self.plan, recorded, best=best))
            except NotRecordedError as error:
                lacking.append((row.id, error))
        if lacking:
            raise self._refusal(lacking)
        return calls

    def _refusal(self, lacking: Sequence[tuple[str, NotRecordedError]]) -> ConfigError:
        first, error = lacking[0]
        alike = sum(each.needs == error.needs and each.at == error.at for _, each in lacking)
        tier: Tier = self.policy.tiers[error.at]
        remedy = next((fix for word, fix in _REMEDIES.items() if word in error.needs), "")
        without = f"; to replay without: --what-if {remedy.format(tier=tier.name)}"
        return ConfigError(
            f"needs {error.needs} in {alike} of {len(self.recording)} rows (first: {first!r}), "
            f"which the recording does not have{without if remedy else ''}",
            policy=self.policy.name,
            tier=tier.name,
        )
