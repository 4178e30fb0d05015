"""What a search found, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cascade_policies.replaying.settings import UNCHECKED, Settings
from cascade_policies.tuning.certify import Test
from cascade_policies.tuning.goal import Goal
from cascade_policies.tuning.search import Found


def verdict(found: Found, goal: Goal) -> str:
    """The one sentence that matters."""
    limits = " and ".join(goal.words())
    if found.too_few:
        return (
            f"Too few rows: {found.certifying} are left to certify on, and {found.needed} without "
            f"a single bad one are needed for {limits} at a risk of {found.risk:.4g}: a recording "
            f"of about {found.rows_needed} prompts, and more where some answers are bad. Nothing "
            f"is certified."
        )
    if not found.certified:
        return (
            f"Nothing is certified: no policy could be shown to have {limits} on "
            f"{found.certifying} rows. The last tier alone has a quality of "
            f"{found.chosen.quality:.4f} there."
        )
    if not found.improves:
        return "Nothing cheaper than the last tier alone could be certified."
    return (
        f"Certified with {1.0 - found.risk:.4g} confidence on {found.certifying} rows that the "
        f"policy was not made on: {limits}."
    )


def savings(found: Found, goal: Goal, now: Test | None) -> Iterator[str]:
    """What the chosen policy comes to beside the last tier alone, and beside what there is now."""
    chosen = found.chosen
    yield f"Measured there: {_figures(chosen)}."
    for name, other in (("the last tier alone", found.top), ("the policy as it is now", now)):
        if other is None or other.settings == chosen.settings:
            continue
        parts = [f"{other.quality:.4f} quality ({chosen.quality - other.quality:+.4f})"]
        if other.cost > 0 and chosen.cost == chosen.cost:  # both are known
            parts.append(_compared("cost", other.cost, chosen.cost, dollars(other.cost)))
        if other.latency > 0 and chosen.latency == chosen.latency:
            shown = f"{other.latency:.3g} s"
            parts.append(_compared("time", other.latency, chosen.latency, shown))
        yield f"Beside {name}: {', '.join(parts)}."


def changes(now: Settings, chosen: Settings, names: Sequence[str]) -> list[str]:
    """What is different about the policy, tier by tier."""
    said = []
    before = dict(zip(now.tiers, now.thresholds, strict=True))
    for column in now.tiers:
        if column not in chosen.tiers:
            said.append(f"{names[column]}: left out")
    for place, (column, threshold) in enumerate(zip(chosen.tiers, chosen.thresholds, strict=True)):
        if threshold != before.get(column):
            was = _threshold(before.get(column))
            said.append(f"{names[column]}: threshold {was} → {_threshold(threshold)}")
        new, old = (each.start_after or (None,) * len(each.tiers) for each in (chosen, now))
        earlier = old[now.tiers.index(column)] if column in now.tiers else None
        if place and new[place] != earlier:
            said.append(f"{names[column]}: starts {_start(earlier)} → {_start(new[place])}")
    return said or ["nothing: the policy is already so"]


def dollars(cost: float) -> str:
    """A cost a call, for a thousand."""
    return "unknown" if cost != cost else f"${1000.0 * cost:.4g} per 1,000 calls"


def _figures(test: Test) -> str:
    time = "" if test.latency != test.latency else f", {test.latency:.3g} s in the mean"
    return (
        f"quality {test.quality:.4f}, {dollars(test.cost)}{time}, "
        f"{test.escalated:.1%} of the calls escalated"
    )


def _compared(what: str, before: float, after: float, shown: str) -> str:
    change = after / before - 1.0
    return f"{shown} ({abs(change):.1%} {'less' if change <= 0 else 'more'} {what})"


def _threshold(threshold: float | None) -> str:
    if threshold is None:
        return "the verifier's own"
    return "none" if threshold == UNCHECKED else f"{threshold:g}"


def _start(delay: float | None) -> str:
    return "when those before are out" if delay is None else f"{delay:g} s after the one before"
