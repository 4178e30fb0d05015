"""The ``[budget]`` of a project file, and what makes no sense in one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from math import isfinite
from typing import Final, Literal, NamedTuple, get_args

from msgspec import Struct

from cascade.errors import ConfigError, nearest
from cascade_policies.budget.windows import KINDS, Kind, find_zone

Dollars = float  # `faults` sees to the value. No `msgspec.Meta`: processes crash as they end
# (msgspec issue 717).
Change = Literal["hedges", "start", "only"]
Orphans = Literal["charge", "free"]


class Limits(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The most that may be spent, in US dollars.

    Attributes:
        per_call: by one call.
        hour: from one full hour to the next.
        day: from midnight to midnight.
        month: of the calendar.
    """

    per_call: Dollars | None = None
    hour: Dollars | None = None
    day: Dollars | None = None
    month: Dollars | None = None

    def windows(self) -> dict[Kind, float]:
        """The limits of windows, as far as there are any."""
        limits: dict[Kind, float | None] = {kind: getattr(self, kind) for kind in KINDS}
        return {kind: limit for kind, limit in limits.items() if limit is not None}


class TaskBudget(Limits, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one task may spend, within what all may.

    Attributes:
        allow: which changes of a step its calls may get; by default all.
    """

    allow: list[Change] | None = None


class Step(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How calls are made while money is short.

    Attributes:
        above: it holds for every call when what is left has fallen to this fraction, and for a
            rising share of calls on the way there from the step before; see docs/budgets.md.
        hedges: False: tiers and replicas start one after the other.
        start: ``lower``: begin one tier below the one that the router or the effort names.
        only: ``cheapest``: the first tier that calls a model, and the functions before it.
    """

    above: float
    hedges: bool = True
    start: Literal["lower"] | None = None
    only: Literal["cheapest"] | None = None

    @property
    def changes(self) -> tuple[Change, ...]:
        """What it changes of a call."""
        said = {"hedges": not self.hedges, "start": self.start, "only": self.only}
        return tuple(change for change in get_args(Change) if said[change])

    def but(self, allow: Collection[Change] | None) -> Step:
        """The same without what is not allowed."""
        if allow is None:
            return self
        return Step(
            above=self.above,
            hedges=self.hedges or "hedges" not in allow,
            start=self.start if "start" in allow else None,
            only=self.only if "only" in allow else None,
        )


class BudgetSettings(Limits, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A ``[budget]``: limits for all tasks together, limits of single tasks, and how to save.

    Attributes:
        timezone: IANA name of the zone whose hours, days and months count.
        tasks: limits of a task, by its name.
        steps: how calls are made as money runs short, from plenty to nothing.
        orphans: what attempts may have cost whose process was killed: ``charge`` counts all that
            was reserved for them as spent, so that the limits hold whatever happened; ``free``
            nothing.
    """

    timezone: str = "UTC"
    tasks: dict[str, TaskBudget] = {}
    steps: list[Step] = []
    orphans: Orphans = "charge"

    def of(self, task: str) -> Limits:
        """The task's own limits."""
        return self.tasks.get(task, _NONE)

    def per_call_of(self, task: str) -> float | None:
        """US dollars that a call of the task may cost: the lower of the two limits."""
        limits = (self.per_call, self.of(task).per_call)
        return min((limit for limit in limits if limit is not None), default=None)


_NONE = Limits()

_USD = "US dollars above 0"
NEEDS: Final = {
    "per_call": _USD,
    "hour": _USD,
    "day": _USD,
    "month": _USD,
    "timezone": "the name of a time zone, like Europe/Berlin",
    "tasks": "a table for each task, like [budget.tasks.NAME]",
    "steps": "a list of tables, like { above = 0.2, hedges = false }",
    "orphans": "'charge' or 'free'",
    "allow": "a list of 'hedges', 'start' and 'only'",
    "above": "a fraction, from 0 to less than 1",
    "hedges": "true or false",
    "Step.start": "'lower'",
    "only": "'cheapest'",
}
"""What each key takes, for the messages of `cascade_policies.strict`."""


class Fault(NamedTuple):
    """What makes no sense, and where: the path of a key below ``[budget]``."""

    path: tuple[str | int, ...]
    message: str


def faults(settings: BudgetSettings, tasks: Collection[str] | None = None) -> Iterator[Fault]:
    """What is wrong with settings that have the right types; each message has its remedy.

    Args:
        settings: to be looked at.
        tasks: names of the tasks there are, where that is known.
    """
    yield from _wrong_limits(settings, ())
    if _no_limits(settings) and not settings.tasks:
        yield Fault((), "sets no limit: give per_call, hour, day, month or [budget.tasks.NAME]")
    try:
        find_zone(settings.timezone)
    except ConfigError as error:
        yield Fault(("timezone",), error.message)
    for name, task in settings.tasks.items():
        path = ("tasks", name)
        yield from _wrong_limits(task, path)
        if tasks is not None and name not in tasks:
            yield Fault(path, f"no task {name!r}: {nearest(name, tasks)}")
        if _no_limits(task) and task.allow is None:
            yield Fault(path, "says nothing: give per_call, hour, day, month or allow")
        if task.allow is not None and not settings.steps:
            yield Fault((*path, "allow"), "does nothing: there are no 'steps' to allow")
    yield from _wrong_steps(settings)


def check(settings: BudgetSettings, tasks: Collection[str] | None = None) -> None:
    """Refuse settings that make no sense.

    Raises:
        ConfigError: the first of their `faults`.
    """
    for path, message in faults(settings, tasks):
        keys = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
        raise ConfigError(f"budget{keys}: {message}")


def _no_limits(limits: Limits) -> bool:
    return limits.per_call is None and not limits.windows()


def _wrong_limits(limits: Limits, path: tuple[str, ...]) -> Iterator[Fault]:
    for key in ("per_call", *KINDS):
        limit = getattr(limits, key)
        if limit is not None and not (isfinite(limit) and 1e-9 <= limit <= 1e9):
            yield Fault((*path, key), f"{limit!r}: needs US dollars, from 1e-9 to 1e9")
    windows = limits.windows()
    for shorter, longer in (("hour", "day"), ("day", "month"), ("hour", "month")):
        if shorter in windows and longer in windows:
            low, high = windows[shorter], windows[longer]
            if low >= high:
                message = f"{low:g} does nothing: the limit of the {longer} is {high:g}"
                yield Fault((*path, shorter), message)


def _wrong_steps(settings: BudgetSettings) -> Iterator[Fault]:
    if not settings.steps:
        return
    limits: list[Limits] = [settings, *settings.tasks.values()]
    if not any(each.windows() for each in limits):
        yield Fault(("steps",), "do nothing: set a limit of the hour, the day or the month")
    if not any(step.changes for step in settings.steps):
        yield Fault(("steps",), "change nothing: give hedges = false, start or only")
    before: Step | None = None
    for index, step in enumerate(settings.steps):
        if not 0 <= step.above < 1:
            yield Fault(("steps", index, "above"), f"{step.above!r}: needs {NEEDS['above']}")
        if before is not None and step.above >= before.above:
            message = f"{step.above:g}: needs less than {before.above:g}, that of the step before"
            yield Fault(("steps", index, "above"), message)
        if before is not None and step.changes == before.changes:
            yield Fault(("steps", index), "does nothing: it is as the step before")
        before = step
