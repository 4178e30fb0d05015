"""The sets of ``python -m benchmarks.frontier``, which says what is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from msgspec.structs import replace

from benchmarks import frontier_data
from benchmarks.frontier_choices import Choices, compare
from benchmarks.frontier_points import (
    POINTS,
    Point,
    Reference,
    clairvoyant,
    near,
    oracle,
    play,
    played_point,
    point,
    sequence,
    singles,
)
from benchmarks.frontier_published import PUBLISHED, published, references
from benchmarks.frontier_report import Section
from benchmarks.frontier_rivals import TOP
from benchmarks.frontier_tuned import certificate, tuned
from benchmarks.recorded_json import CHEAP, GPT_4O
from benchmarks.routers import GPT_35, SONNET
from cascade_policies.replaying import Settings, Table

HAIKU, GPT_4, TURBO = "claude-3-haiku-20240307", "gpt-4-0613", "gpt-4-turbo-2024-04-09"
MARCH, JUNE = "gpt-4-0314", "gpt-3.5-turbo-0613"
DROPS = (0.02, 0.05)
"""How far below the top model tuning and its rivals may go."""


def figures() -> Section:
    """What others published."""
    lines = published()
    return Section(
        title="published figures", scored=tuple(lines), references=tuple(references(lines))
    )


def bfcl(*, drops: tuple[float, ...] = DROPS) -> Section:
    """Function calls."""
    rows, known = frontier_data.bfcl()
    at = known.tiers.index
    points = singles(known)
    alone = {each.name: each for each in points}
    old = cascade(known, GPT_35, GPT_4)
    new = cascade(known, HAIKU, SONNET)
    settings = Settings(
        tiers=(at(TURBO), at(SONNET)),
        thresholds=(1.0, 1.0),
        start_after=(None, 0.0),
        prefer="fastest",
        exhausted="best",
    )
    race = played_point(f"{TURBO} ‖ {SONNET}", "policy", play(known, settings))
    choices = tuple(compare(known, rows, drop, {"tuned, certified": tuned}) for drop in drops)
    return Section(
        title=f"BFCL, {len(known)} function calls",
        points=(*points, old, new, race, *_chosen(choices), oracle(known)),
        choices=choices,
        notes=(
            *(certificate(known, rows, drop) for drop in drops),
            *(_rejected_right(known, name) for name in (GPT_35, HAIKU)),
        ),
        references=(
            *_cost_and_accuracy(alone[GPT_35], 76.1, 0.27),
            *_cost_and_accuracy(alone[GPT_4], 92.2, 15.29),
            *_cost_and_accuracy(old, 90.4, 2.79, escalated=16.3),
            *_cost_and_accuracy(alone[HAIKU], 82.7, 0.19),
            *_cost_and_accuracy(alone[SONNET], 93.3, 2.19),
            *_cost_and_accuracy(new, 90.6, 0.51, escalated=10.0),
            Reference(f"{race.name}, %", 93.9, race.accuracy[0], POINTS),
            near(f"{race.name}, p95 s", 2.42, race.p95),
            near(f"{TURBO}, p95 s", 3.92, alone[TURBO].p95),
            near(f"{SONNET}, p95 s", 2.57, alone[SONNET].p95),
        ),
    )


def cascade(known: Table, *models: str) -> Point:
    """A cascade of these models, the last without a check."""
    settings = sequence(*map(known.tiers.index, models))
    return played_point(" → ".join(models), "policy", play(known, settings))


def _chosen(choices: tuple[Choices, ...]) -> list[Point]:
    """What was chosen, for the plot: by tuning under each task, otherwise under the last."""
    return [
        replace(way.point, name=f"{way.name} (drop {task.drop:.0%})")
        for task in choices
        for way in task.ways
        if way.point.kind == "tuned" or (task is choices[-1] and way.name != TOP)
    ]


def _rejected_right(known: Table, name: str) -> str:
    column = known.tiers.index(name)
    wrongly = (known.quality[:, column] == 1) & (known.score[:, column] == 0)
    rows = [row for row, is_so in zip(known.ids, wrongly, strict=True) if is_so]
    return f"{name}: right answers that the check rejects: {', '.join(rows) or 'none'}"


def zeroeval() -> Section:
    """Grade-school maths."""
    rows, known, vote = frontier_data.zeroeval()
    points = singles(known)
    pair = _voted(vote, f"{' + '.join(CHEAP)}, else {GPT_4O}")
    large = next(each for each in points if each.name == GPT_4O)
    return Section(
        title=f"ZeroEval GSM, {len(rows)} grade-school problems",
        points=(*points, pair, oracle(known)),
        references=(
            Reference(f"{pair.name}, %", 96.66, pair.accuracy[0], POINTS),
            Reference(f"{pair.name}, escalated, %", 10.5, pair.escalated, 1.5),
            Reference(f"{GPT_4O}, %", 96.21, large.accuracy[0], POINTS),
        ),
        notes=(
            "Tokens are estimates (cl100k_base); models that the price list lacks have no cost",
        ),
    )


def spider() -> Section:
    """Text to SQL."""
    rows, known, vote = frontier_data.spider()
    large_ones = np.array(["GPT" in name or "CodeX" in name for name in known.tiers], np.float64)
    points = [
        replace(single, large=100.0 * is_large)
        for single, is_large in zip(singles(known), large_ones, strict=True)
    ]
    right, asked = clairvoyant(known.quality, np.tile(large_ones, (len(known), 1)))
    best = replace(point("oracle", "oracle", right), large=100.0 * float(asked.mean()))
    small, large = frontier_data.SMALL_SQL, frontier_data.LARGE_SQL
    pair = _voted(vote, f"{small[0]} where {small[1]} agrees, else {large}")
    pair = replace(pair, large=pair.escalated)
    return Section(
        title=f"Spider, {len(rows)} questions to SQL",
        points=(*points, pair, best),
        references=(
            Reference(f"{pair.name}, %", 86.4, pair.accuracy[0], POINTS),
            Reference(f"{pair.name}, escalated, %", 25.5, pair.escalated, POINTS),
        ),
        notes=("No costs: what the queries' own prompts and models cost was not recorded",),
    )


def _voted(vote: frontier_data.Voted, name: str) -> Point:
    calls = play(vote.table, sequence(0, 1), vote.calls, timed=False)
    return played_point(name, "policy", calls)


def llmdrift() -> Section:
    """Is it a prime?"""
    _, known = frontier_data.drift()
    code = known.tiers.index(frontier_data.CODE)
    points = singles(known)
    march = points[known.tiers.index(MARCH)]
    free = replace(points[code], kind="policy", name=f"{frontier_data.CODE}, no model")
    checked = cascade(known, JUNE, MARCH)
    models = np.arange(len(known.tiers)) != code
    chosen = clairvoyant(known.quality[:, models], known.cost_high[:, models])
    best = point("oracle of the models", "oracle", *chosen)
    return Section(
        title=f"LLMDrift, {len(known)} numbers: prime or not",
        points=(*points[:code], *points[code + 1 :], checked, free, best),
        references=(
            *_cost_and_accuracy(march, 84.0, 13.83),
            *_cost_and_accuracy(checked, 89.1, 4.28),
        ),
        notes=(
            "The check knows the answer, so it rejects nothing that is right and nothing that is "
            "wrong gets by; the last model is not checked",
        ),
    )


def _cost_and_accuracy(
    found: Point, accuracy: float, dollars: float, *, escalated: float | None = None
) -> list[Reference]:
    cost = None if found.dollars is None else found.dollars[0]
    expected = [
        Reference(f"{found.name}, %", accuracy, found.accuracy[0], POINTS),
        near(f"{found.name}, US$ per 1000", dollars, cost),
    ]
    if escalated is not None:
        name = f"{found.name}, escalated, %"
        expected.append(Reference(name, escalated, found.escalated, POINTS))
    return expected


SECTIONS: Mapping[str, Callable[[], Section]] = {
    "published": figures,
    "bfcl": bfcl,
    "zeroeval": zeroeval,
    "spider": spider,
    "llmdrift": llmdrift,
}
NEEDS: Mapping[str, tuple[str, ...]] = {
    "published": tuple(PUBLISHED),
    "bfcl": ("bfcl",),
    "zeroeval": ("zeroeval",),
    "spider": ("spider",),
    "llmdrift": ("drift",),
}
