"""`Heuristic`: rules over what can be seen of a request, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cascade.errors import ConfigError, nearest
from cascade.routing import Route
from cascade.types import Request
from cascade_policies.routers.conditions import Condition, conditions_of, covers
from cascade_policies.routers.features import Features

_KEYS = ("when", "start")


@dataclass(frozen=True, slots=True)
class Rule:
    """Where to begin when all conditions hold."""

    when: tuple[Condition, ...]
    start: str

    def __str__(self) -> str:
        return ", ".join(map(str, self.when))


class Heuristic:
    """Begins where the first rule says whose conditions all hold. Calls no model.

    A rule is a table ``{ when = { min_words = 400 }, start = "large" }``. Its conditions are
    ``min_`` or ``max_`` of ``chars``, ``words``, ``lines``, ``questions`` (question marks),
    ``messages`` and ``tools``; ``code`` (whether there is a fenced block), ``language`` (a code
    like ``"en"``, or a list of them) and ``regex``, which is searched for in time linear in the
    prompt's length. docs/routers.md says how much of a long prompt each looks at.

    Args:
        rules: in the order in which they are tried.
        otherwise: where to begin when no rule's conditions hold; by default at the first tier.

    Raises:
        ConfigError: a key, feature or value is wrong, a rule does nothing, or none can reach it.
    """

    name = "heuristic"

    def __init__(self, rules: Sequence[Mapping[str, Any]], *, otherwise: str | None = None) -> None:
        given: object = rules
        if not isinstance(given, list | tuple) or not given:
            raise ConfigError(f"rules={rules!r}: needs a list of one rule or more")
        self.otherwise = otherwise
        self.rules: tuple[Rule, ...] = ()
        for number, table in enumerate(rules, start=1):
            try:
                self.rules += (_rule(table),)
            except ConfigError as error:
                raise ConfigError(f"rules: rule {number}: {error.message}") from error
        self._check_reached()
        if otherwise is not None:
            self._check_use(otherwise)

    def check(self, choices: Sequence[str]) -> None:
        """Refuse names that are not among the choices, and rules that change nothing for them.

        Raises:
            ConfigError: there is one.
        """
        for number, rule in enumerate(self.rules, start=1):
            if rule.start not in choices:
                near = nearest(rule.start, choices)
                raise ConfigError(f"rules: rule {number}: start={rule.start!r}: {near}")
        if self.otherwise is None:
            self._check_use(choices[0])
        elif self.otherwise not in choices:
            near = nearest(self.otherwise, choices)
            raise ConfigError(f"otherwise={self.otherwise!r}: {near}")

    def route(self, request: Request, choices: Sequence[str], /) -> Route:
        """Where the first rule says that fits."""
        features = Features(request)
        for number, rule in enumerate(self.rules, start=1):
            if all(condition.holds(features) for condition in rule.when):
                seen = ", ".join(condition.seen(features) for condition in rule.when)
                reason = f"rule {number} ({rule}): the prompt has {seen}"
                return Route(rule.start, str(rule), reason)
        return Route(self.otherwise, "otherwise", "no rule fits")

    def evidence(self, request: Request) -> Mapping[str, Any]:
        """Every feature of the request, and which rules fit."""
        features = Features(request)
        return {
            "features": features.to_dict(),
            "rules": [
                {
                    "when": str(rule),
                    "start": rule.start,
                    "fits": all(condition.holds(features) for condition in rule.when),
                }
                for rule in self.rules
            ],
            "otherwise": self.otherwise,
        }

    def _check_reached(self) -> None:
        for later, rule in enumerate(self.rules):
            for earlier, other in enumerate(self.rules[:later]):
                if covers(other.when, rule.when):
                    raise ConfigError(
                        f"rules: rule {later + 1} ({rule}): is never reached, as rule "
                        f"{earlier + 1} ({other}) fits whenever it does"
                    )

    def _check_use(self, otherwise: str) -> None:
        last = self.rules[-1]
        if last.start == otherwise:
            raise ConfigError(
                f"rules: rule {len(self.rules)} ({last}): does nothing, as calls begin at "
                f"{otherwise!r} without it too"
            )

    def __repr__(self) -> str:
        return f"Heuristic({len(self.rules)} rules)"


def _rule(given: object) -> Rule:
    if not isinstance(given, Mapping):
        raise ConfigError(f"{given!r}: needs a table with 'when' and 'start'")
    for key in given:
        if key not in _KEYS:
            raise ConfigError(f"{key}: {nearest(str(key), _KEYS)}")
    for key in _KEYS:
        if key not in given:
            raise ConfigError(f"{key}: is missing")
    start = given["start"]
    if not isinstance(start, str) or not start:
        raise ConfigError(f"start={start!r}: needs a name")
    return Rule(conditions_of(given["when"]), start)
