"""The audit: calls by kind, what each costs, what it seems to need, and what that would save."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from cascade.cost import Cost, total
from cascade_policies.audit.calls import Call, Reading
from cascade_policies.audit.groups import (
    Family,
    Group,
    families,
    name_groups,
    quantile,
    shown_template,
)
from cascade_policies.audit.needs import Level, Need, need_of
from cascade_policies.audit.repeats import (
    Linked,
    Repeated,
    Rephrasing,
    repeated,
    says_input_again,
)
from cascade_policies.audit.saving import Models, middle, routed_cost, suggest_models

_RANK: Final[dict[Level, int]] = {"code": 0, "small": 1, "mid": 2, "frontier": 3, "unknown": 4}


_WORTH: Final = 0.8
"""A family is taken apart when that makes its needs, by rank and calls, this much smaller."""


class Finding(Struct, frozen=True, kw_only=True):
    """What is said of one kind of call.

    Attributes:
        group: the calls themselves.
        cost: of the calls whose price is known.
        unpriced: calls whose price is not known; in no sum.
        share: of the known bill, 0 to 1; None where nothing of it is known.
        routed: what the same calls would cost as proposed; None where that is not known.
    """

    group: Group
    need: Need
    cost: Cost
    unpriced: int
    share: float | None
    p50: float | None
    p95: float | None
    answer_p50: float | None
    answer_p95: float | None
    repeated: Repeated
    rephrasing: Rephrasing | None
    routed: Cost | None

    @property
    def name(self) -> str:
        """The group's."""
        return self.group.name

    @property
    def template(self) -> str:
        """The template on one line."""
        return shown_template(self.group)


class Audit(Struct, frozen=True, kw_only=True):
    """Everything that was found, the largest share of the bill first.

    Attributes:
        cost: of all calls whose price is known.
        routed: what they would cost as proposed; kinds for which that is not known stay as they
            are.
    """

    reading: Reading
    findings: Sequence[Finding]
    cost: Cost
    unpriced: int
    routed: Cost
    models: Models


def audit_calls(reading: Reading, *, small: str | None = None, mid: str | None = None) -> Audit:
    """Group calls and judge each group. Deterministic.

    Args:
        reading: what `read_calls` gave.
        small: the model proposed for small work, as ``provider:model``; by default one of the
            provider that most of the bill goes to.
        mid: the same for work between.
    """
    groups = [group for family in families(reading.calls) for group in _settled(family)]
    groups.sort(key=lambda group: group.calls[0].line)
    name_groups(groups)
    linked = Linked(groups)
    costs = [_known(group.calls) for group in groups]
    everything = total(costs)
    models = suggest_models(reading.calls, small, mid)
    findings = [
        _finding(group, cost, middle(everything), linked, models)
        for group, cost in zip(groups, costs, strict=True)
    ]
    findings.sort(key=lambda one: (-(one.share or 0.0), -len(one.group.calls), one.name))
    return Audit(
        reading=reading,
        findings=findings,
        cost=everything,
        unpriced=sum(one.unpriced for one in findings),
        routed=total(one.cost if one.routed is None else one.routed for one in findings),
        models=models,
    )


def _settled(family: Family) -> list[Group]:
    """The family as one group, unless its parts taken apart need cheaper models."""
    whole, parts = family
    if len(parts) == 1:
        return parts
    if not (together := _rank(whole) * len(whole.calls)):
        return [whole]
    apart = sum(_rank(part) * len(part.calls) for part in parts)
    return parts if apart <= _WORTH * together else [whole]


def _rank(group: Group) -> int:
    return _RANK[need_of(group, says_input_again(group)).level]


def _known(calls: Sequence[Call]) -> Cost:
    return total(call.cost for call in calls if call.cost.low is not None)


def _finding(group: Group, cost: Cost, bill: float, linked: Linked, models: Models) -> Finding:
    rephrasing = linked.rephrasing(group)
    need = need_of(group, rephrasing)
    unpriced = sum(call.cost.low is None for call in group.calls)
    priced = unpriced < len(group.calls)
    return Finding(
        group=group,
        need=need,
        cost=cost,
        unpriced=unpriced,
        share=middle(cost) / bill if priced and bill else None,
        p50=quantile(group.latencies, 0.5),
        p95=quantile(group.latencies, 0.95),
        answer_p50=quantile(group.answer_lengths, 0.5),
        answer_p95=quantile(group.answer_lengths, 0.95),
        repeated=repeated(group.calls),
        rephrasing=rephrasing,
        routed=routed_cost(group.calls, need, models) if priced else None,
    )
