"""The candidates that are worth certifying, made on the choosing rows alone.

For each choice of tiers and each λ of a logarithmic grid the best thresholds. As the best on few
rows is the luckiest, they are looked for on several reweightings of the rows (a bootstrap with
Poisson weights), and the ranks that are found are averaged. As the corners are only some of what
can be reached, there are candidates between neighbouring ones, halfway in rank and not in score
(scores may be anyhow distributed). Those near the front, evenly spaced in what they spend, are
ordered from the one most certain to hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from cascade_policies.replaying.settings import Settings
from cascade_policies.replaying.table import Array
from cascade_policies.tuning.corners import PRICES, Climber
from cascade_policies.tuning.goal import Goal
from cascade_policies.tuning.ladder import Ladder, Player, Values
from cascade_policies.tuning.schedules import schedules

_ALL: Final = 5  # tiers of which every choice is tried
_LONGEST: Final = 3  # tiers of a choice, where there are more to choose from
_KEPT: Final = 128  # candidates to certify
_SCHEDULED: Final = 12  # candidates that are tried with delays
_HOPELESS: Final = -1.5  # standard errors that the tightest limit is missed by
_NEAR: Final = 0.25  # what a candidate may be below the best mixture, times the rows' square root


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A policy, and what the choosing rows say of it."""

    settings: Settings
    quality: float
    cost: float
    latency: float
    margin: float
    """By how many standard errors the tightest limit holds; infinite where it must hold."""

    def spent(self, goal: Goal) -> float:
        """The mean of what is to be small."""
        return self.latency if goal.minimise == "latency" else self.cost


def find_candidates(ladder: Ladder, player: Player, goal: Goal) -> list[Candidate]:
    """Candidates in the order in which they are to be certified."""
    top = player.play(ladder.top)
    found = [_judged(each, player, top, goal) for each in _cascades(ladder, player, goal)]
    if ladder.delays:
        few = _spread(found, goal, _SCHEDULED, len(player.table))
        more = [each for one in few for each in schedules(one.settings, player.table, goal)]
        found += [_judged(each, player, top, goal) for each in more]
    return ordered(found, goal, len(player.table))


def _cascades(ladder: Ladder, player: Player, goal: Goal) -> list[Settings]:
    """Every candidate without delays that is near the best at some price."""
    climber = Climber(ladder, player, goal)
    count = len(ladder.policy.tiers)
    found: dict[Settings, None] = {}
    if count <= _ALL:
        choices = [c for size in range(1, count + 1) for c in combinations(range(count), size)]
    else:
        choices = [c for size in (1, 2) for c in combinations(range(count), size)]
        best = {chosen for chosen in climber.best(choices) if len(chosen) == 2}
        useful = {position for chosen in best for position in chosen}
        longer = {tuple(sorted({*pair, extra})) for pair in best for extra in useful}
        choices += sorted(each for each in longer if len(each) == _LONGEST)
    best_at = climber.best(choices)
    for at, chosen in enumerate(best_at):
        # A step beyond either end, as between the best of two prices another choice may be best.
        near = range(max(0, at - 1), min(len(PRICES) - 1, at + 1))
        for step in near:
            found.update(dict.fromkeys(climber.between(chosen, step)))
    found.update(dict.fromkeys(climber.from_top(best_at[0])))
    return list(found)


def _judged(settings: Settings, player: Player, top: Values, goal: Goal) -> Candidate:
    values = player.play(settings)
    return Candidate(
        settings,
        quality=float(np.mean(values.quality)),
        cost=float(np.mean(values.cost)),
        latency=float(np.mean(values.latency)),
        margin=_margin(values, top, goal),
    )


def _margin(values: Values, top: Values, goal: Goal) -> float:
    margins = []
    if goal.max_drop is not None:
        margins.append(_standard(values.quality - top.quality + goal.max_drop))
    if goal.min_accuracy is not None:
        margins.append(_standard(values.quality - goal.min_accuracy))
    if goal.max_cost is not None:
        margins.append(_standard(goal.max_cost - values.cost))
    if (limit := goal.max_latency) is not None:
        margins.append(
            _standard((values.latency <= limit.seconds).astype(np.float64) - limit.share)
        )
    return min(margins)


def _standard(gains: Array) -> float:
    """The mean in standard errors; one row more, of nothing gained, so that none is certain."""
    rows = len(gains)
    mean = float(np.mean(gains))
    spread = float(np.mean((gains - mean) ** 2)) + abs(mean) / (rows + 1)
    return mean / (spread / rows) ** 0.5 if spread else 0.0


def _front(candidates: Sequence[Candidate], goal: Goal) -> list[Candidate]:
    """Those that nothing safer spends as little as."""
    kept: list[Candidate] = []
    for one in sorted(candidates, key=lambda one: (one.spent(goal), -one.margin)):
        if not kept or one.margin > kept[-1].margin:
            kept.append(one)
    return kept


def _spread(candidates: Sequence[Candidate], goal: Goal, most: int, rows: int) -> list[Candidate]:
    """The best for each of so many amounts, evenly spaced, from the dearest down.

    The best by quality alone would be few and far between: on few rows one lucky candidate beats
    all that cost a little less, whose truth is as good.
    """
    spent = np.array([one.spent(goal) for one in candidates])
    above = np.array([one.quality for one in candidates]) - _hull(candidates, goal, spent)
    low, high = float(spent.min()), float(spent.max())
    width = (high - low) / most or 1.0
    best: dict[int, int] = {}
    for at, amount in enumerate(spent.tolist()):
        number = min(most - 1, int((amount - low) / width))
        if number not in best or above[at] > above[best[number]]:
            best[number] = at
    ordered = [best[number] for number in sorted(best, reverse=True)]
    # What costs more than the best of all is there because it is safer, not because it is better.
    dearer = spent > spent[int(np.argmax([one.quality for one in candidates]))]
    return [candidates[at] for at in ordered if dearer[at] or above[at] >= -_NEAR / rows**0.5]


def _hull(candidates: Sequence[Candidate], goal: Goal, spent: Array) -> Array:
    """The quality that mixtures of candidates reach for these amounts."""
    corners: list[tuple[float, float]] = []
    for point in sorted((one.spent(goal), one.quality) for one in candidates):
        if corners and point[0] == corners[-1][0]:
            corners.pop()
        while len(corners) > 1 and _turns(corners[-2], corners[-1], point):
            corners.pop()
        if not corners or point[1] > corners[-1][1]:
            corners.append(point)
    return np.asarray(np.interp(spent, *np.array(corners).T), np.float64)


def _turns(
    first: tuple[float, float], second: tuple[float, float], third: tuple[float, float]
) -> bool:
    """Whether the second lies below the line between the others."""
    (a, b), (c, d), (e, f) = first, second, third
    return (d - b) * (e - a) <= (f - b) * (c - a)


def ordered(candidates: Sequence[Candidate], goal: Goal, rows: int) -> list[Candidate]:
    """Those with a prospect of passing, from the safest: fewer, the closer they are together."""
    hopeful = [one for one in candidates if one.margin > _HOPELESS]
    if not hopeful:
        return list(candidates[:1])
    if goal.max_cost is None and goal.max_latency is None:
        return _spread(hopeful, goal, _KEPT, rows)
    # What is cheap may be the safest for one limit and the least safe for another.
    front = _front(hopeful, goal)
    return sorted(front[:: -(-len(front) // _KEPT)], key=lambda one: -one.margin)
