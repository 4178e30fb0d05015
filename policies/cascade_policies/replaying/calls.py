"""A table and settings, as the state machine takes them: a plan, and a row a call."""

from __future__ import annotations

from collections.abc import Iterator
from math import isnan

from cascade.bind import may_overlap
from cascade.events import Plan, TierPlan
from cascade.replay import NAN, Recorded, Replayed, Row, replay
from cascade.verdict import Verdict
from cascade_policies.replaying.settings import UNCHECKED, Settings
from cascade_policies.replaying.table import Array, Table


def plan_of(settings: Settings) -> Plan:
    """The settings as a plan: one attempt a tier, and no limits but the call's deadline."""
    tiers = tuple(
        TierPlan(judged=threshold != UNCHECKED, on_abstain=meaning)
        for threshold, meaning in zip(settings.thresholds, settings.abstains, strict=True)
    )
    delays = (None, *(settings.start_after[1:] or (None,) * (len(tiers) - 1)))
    return Plan(
        tiers=tiers,
        delays=delays,
        prefer=settings.prefer,
        grace=settings.grace,
        deadline=settings.deadline,
        overlaps=may_overlap(tiers, delays[1:]),
    )


def rows_of(table: Table, settings: Settings) -> Iterator[Row]:
    """What was recorded for each prompt, as the settings' tiers and thresholds have it.

    Raises:
        ConfigError: the table has not what the settings need.
    """
    settings.check(table)
    columns = [
        _column(table, column, threshold)
        for column, threshold in zip(settings.tiers, settings.thresholds, strict=True)
    ]
    for row in zip(*columns, strict=True):
        yield tuple([(((recorded,),),) for recorded in row])


def replay_all(table: Table, settings: Settings) -> list[Replayed]:
    """What the calls come to, each played through the state machine.

    Raises:
        ConfigError: the table has not what the settings need.
    """
    plan, best = plan_of(settings), settings.exhausted == "best"
    return [replay(plan, row, best=best) for row in rows_of(table, settings)]


def _column(table: Table, column: int, threshold: float | None) -> list[Recorded]:
    def numbers(array: Array | None, default: float = NAN) -> list[float]:
        if array is None:
            return [default] * len(table)
        values: list[float] = array[:, column].tolist()
        return values

    said = [False] * len(table) if table.accepted is None else table.accepted[:, column].tolist()
    score, failed = numbers(table.score), table.failed[:, column].tolist()
    return [
        Recorded(
            latency=latency,
            low=low,
            high=high,
            verdict=None if failed[row] else _verdict(score[row], threshold, said[row]),
            ended="failed" if failed[row] else "answered",
            first_token=first,
            check_latency=check,
            check_cost=spent,
            prompt_cost=prompt,
            stops=table.stops_billing[column],
            quality=quality,
        )
        for row, (latency, low, high, first, check, spent, prompt, quality) in enumerate(
            zip(
                numbers(table.latency),
                numbers(table.cost_low),
                numbers(table.cost_high),
                numbers(table.first_token),
                numbers(table.check_latency),
                numbers(table.check_cost, 0.0),
                numbers(table.prompt_cost),
                numbers(table.quality),
                strict=True,
            )
        )
    ]


def _verdict(score: float, threshold: float | None, accepted: bool) -> Verdict:
    if isnan(score):
        return Verdict.abstain("the check could not tell")
    if accepted if threshold is None else score >= threshold:
        return Verdict.accept(score=score)
    return Verdict.reject("the score is below the threshold", score=score)
