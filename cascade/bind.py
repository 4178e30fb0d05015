"""From what the user wrote to what the engine runs: names resolved, templates taken apart.

Done once a tier and engine, so that the hot path only looks up, renders and calls.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, Literal, cast

from msgspec import Struct
from msgspec.structs import replace

from cascade.errors import CascadeError, ConfigError, PromptError, nearest
from cascade.events import Plan, TierPlan
from cascade.latency import parse_quantile
from cascade.model import Limits
from cascade.policy import Delay, Policy, Tier
from cascade.quota import Quota
from cascade.targets import Providers, Target
from cascade.template import Template, with_examples, with_prompt, with_system
from cascade.types import Request
from cascade.verdict import Verifier
from cascade.verify import as_verifier, verifier_name

PROMPT = "prompt"
_LIMITED = attrgetter("limited")


class BoundTier:
    """A tier ready to run.

    Attributes:
        tier: as the user wrote it.
        targets: for each member its own model and then the stand-ins.
        verifier: the check, with the tier's threshold set; None accepts every whole answer.
        plan: what the state machine needs to know.
        enough: the verifier's hook of that name, for an ensemble only; else None.
        group: likewise its ``verify_group``.
        plain: whether it sends the caller's request as it is.
        variables: names its templates need beside ``prompt``.
        verifier_name: what records call the check; None without one.
        called: all models that it may call, those of its check among them.
    """

    __slots__ = (
        "_admits",
        "_params",
        "_prompt",
        "_quotas",
        "_system",
        "called",
        "enough",
        "group",
        "plain",
        "plan",
        "prefix",
        "targets",
        "tier",
        "variables",
        "verifier",
        "verifier_name",
    )

    def __init__(self, tier: Tier, providers: Providers, *, policy: str) -> None:
        self.tier = tier
        try:
            self.verifier = _bind_verifier(tier)
            self._params = _bind_params(tier, self.verifier)
            checking = [providers.target(model) for model in getattr(self.verifier, "models", ())]
            stand_ins = tuple(providers.target(model, tier) for model in tier.fallbacks)
            own = [providers.target(m, tier) for m in tier.models for _ in range(tier.samples)]
        except CascadeError as error:
            error.policy = error.policy or policy
            error.tier = error.tier or tier.name
            raise
        # An ensemble is judged together where its verifier can do that.
        self.enough = getattr(self.verifier, "enough", None) if tier.members > 1 else None
        self.group = getattr(self.verifier, "verify_group", None) if tier.members > 1 else None
        self.prefix = getattr(self.verifier, "prefix", None)
        self.verifier_name = None if self.verifier is None else verifier_name(self.verifier)
        self.targets = tuple((target, *stand_ins) for target in own)
        self.called = (*own, *stand_ins, *checking)
        self._quotas = tuple(dict.fromkeys(target.quota for target in (*own, *stand_ins)))
        self._admits = any(
            target.ready is not None or target.context_window is not None
            for target in (*own, *stand_ins)
        )
        self._prompt = None if tier.prompt is None else Template(tier.prompt)
        self._system = None if tier.system is None else Template(tier.system)
        templates = [t for t in (self._prompt, self._system) if t is not None]
        self.variables = frozenset[str]().union(*(t.names for t in templates)) - {PROMPT}
        prepares = getattr(self.verifier, "prepare", None) is not None
        self.plain = not (templates or tier.examples or self._params or prepares)
        after = tier.replica_after
        self.plan = TierPlan(
            members=tier.members,
            judged=self.verifier is not None,
            timeout=tier.timeout,
            verify_timeout=tier.verify_timeout,
            retries=tier.retries,
            repairs=tier.repairs,
            replica_after=None if isinstance(after, str) else after,
            fallbacks=len(stand_ins),
            on_abstain=tier.on_abstain,
        )

    @property
    def admits(self) -> bool:
        """Whether its models need more than their gate: readiness, or a place."""
        # Limits may be stated of a model after others that call it have been bound.
        return self._admits or any(map(_LIMITED, self._quotas))

    def plan_now(self) -> TierPlan:
        """What the state machine needs to know, with what a quantile is now."""
        after = self.tier.replica_after
        if not isinstance(after, str):
            return self.plan
        return replace(self.plan, replica_after=self.quantile("first_token", after))

    def quantile(self, what: Literal["total", "first_token"], spec: str) -> float | None:
        """The seconds that the slowest of its models takes at the quantile, if that is known."""
        q, now = parse_quantile(spec), time.time()
        gates = {target.gate for target, *_ in self.targets if target.gate is not None}
        known = [getattr(gate.latency, what).quantile(q, now) for gate in gates]
        return max((seconds for seconds in known if seconds is not None), default=None)

    def render(self, request: Request, variables: Mapping[str, str]) -> Request:
        """What this tier sends for the caller's request."""
        if self._prompt is not None or self._system is not None:
            values = {**variables, PROMPT: request.text}
            if self._prompt is not None:
                request = with_prompt(request, self._prompt.render(values))
            if self._system is not None:
                request = with_system(request, self._system.render(values))
        if self.tier.examples:
            request = with_examples(request, self.tier.examples)
        if self._params:
            request = request.with_params(**self._params)
        prepare = getattr(self.verifier, "prepare", None)
        if prepare is not None:
            prepared: Request = prepare(request)
            return prepared
        return request


def _bind_verifier(tier: Tier) -> Verifier | None:
    if tier.verify is None:
        return None
    verifier = as_verifier(tier.verify)
    if tier.threshold is None:
        return verifier
    set_threshold = getattr(verifier, "with_threshold", None)
    if set_threshold is None:
        raise ConfigError(
            f"threshold={tier.threshold}: does nothing, as {_shown(tier.verify)} gives no scores"
        )
    return cast("Verifier", set_threshold(tier.threshold))


def _bind_params(tier: Tier, verifier: Verifier | None) -> Mapping[str, Any]:
    if not tier.constrain:
        return tier.params
    response_format = getattr(verifier, "response_format", None)
    if response_format is None:
        raise ConfigError(
            f"constrain=true: {_shown(tier.verify)} has no form to constrain a model to; "
            "a JsonSchema has one"
        )
    if "response_format" in tier.params:
        raise ConfigError("constrain=true and params.response_format: keep one of them")
    return {**tier.params, "response_format": response_format()}


def _shown(verify: object) -> str:
    return str(getattr(verify, "__name__", type(verify).__name__))


class BoundPolicy(Struct, frozen=True):
    """A policy ready to run: its tiers, and the plan of a call that overrides nothing.

    ``plan`` is None where it depends on how long the models take of late.
    """

    tiers: tuple[BoundTier, ...]
    plan: Plan | None
    templated: bool

    @classmethod
    def of(cls, policy: Policy, providers: Providers) -> BoundPolicy:
        """Resolve everything the policy names.

        Raises:
            ConfigError: something cannot be resolved; it names the policy and the tier.
        """
        tiers = tuple(BoundTier(tier, providers, policy=policy.name) for tier in policy.tiers)
        try:
            routing = [providers.target(each) for each in getattr(policy.router, "models", ())]
        except CascadeError as error:
            error.policy = policy.name
            raise
        state_limits(policy, tiers, routing)
        check_quantiles(policy, tiers)
        check_declared(policy, tiers)
        learns = any(isinstance(after, str) for after in _delays(policy))
        plan = None if learns else make_plan(policy, tiers)
        return cls(tiers, plan, any(tier.variables for tier in tiers))

    def check_variables(self, given: Mapping[str, str], *, first: int) -> None:
        """Every variable a template needs is given, and none is given that no template needs.

        Raises:
            PromptError: naming the variable, and the tier that needs it.
        """
        for name, value in given.items():
            if not isinstance(value, str):
                raise PromptError(f"variable {name!r} is {type(value).__name__}: give text")
        for tier in self.tiers[first:]:
            for name in sorted(tier.variables - given.keys()):
                raise PromptError(
                    f"variable {name!r} is missing: pass variables={{{name!r}: …}}",
                    tier=tier.tier.name,
                )
        refuse_unused(given, self.variables, "tier")

    @property
    def variables(self) -> frozenset[str]:
        """What the templates of its tiers need beside ``prompt``."""
        return frozenset[str]().union(*(tier.variables for tier in self.tiers))


def refuse_unused(given: Mapping[str, str], known: frozenset[str], what: str) -> None:
    """Refuse a variable that nothing uses.

    Raises:
        PromptError: there is one; it has the nearest right name.
    """
    for name in sorted(given.keys() - known):
        remedy = nearest(name, known) if known else "its templates have no variables"
        raise PromptError(f"variable {name!r} is used by no {what}: {remedy}")


def state_limits(
    policy: Policy, tiers: Sequence[BoundTier], routing: Sequence[Target] = ()
) -> None:
    """Have the models keep to what a policy states of them, in place of what was stated before.

    Raises:
        ConfigError: it states different limits of one model; it names the policy and the tier.
    """
    called = [(target, tier.tier.name) for tier in tiers for target in tier.called]
    stated: dict[Quota, Limits] = {}
    for target, name in (*called, *((target, None) for target in routing)):
        if target.limits is None:
            continue
        held = stated.setdefault(target.quota, target.limits)
        if held != target.limits:
            raise ConfigError(
                f"limits: {target.name} has {held} already, and all its calls share them",
                policy=policy.name,
                tier=name,
            )
    for quota, limits in stated.items():
        quota.state(limits)


def _delays(policy: Policy) -> tuple[Delay, ...]:
    return (*policy.delays, *(tier.replica_after for tier in policy.tiers))


def check_declared(policy: Policy, tiers: tuple[BoundTier, ...]) -> None:
    """The variables that the policy declares are those that its templates use.

    Raises:
        ConfigError: one is used and not declared, or declared and not used.
    """
    if policy.variables is None:
        return
    declared = set(policy.variables)
    for tier in tiers:
        for name in sorted(tier.variables - declared):
            known = {*declared, PROMPT}
            raise ConfigError(
                f"a template uses {{{{{name}}}}}, which is not declared: {nearest(name, known)}",
                policy=policy.name,
                tier=tier.tier.name,
            )
    used = frozenset[str]().union(*(tier.variables for tier in tiers))
    for name in sorted(declared - used):
        raise ConfigError(
            f"variables: {name!r} is used by no template: put {{{{{name}}}}} in one, or drop it",
            policy=policy.name,
        )


def check_quantiles(policy: Policy, tiers: tuple[BoundTier, ...]) -> None:
    """Refuse a quantile of what is not timed: functions are not.

    Raises:
        ConfigError: there is one; it names the policy and the tier.
    """
    timed = [any(target.gate is not None for target, *_ in tier.targets) for tier in tiers]
    for index, tier in enumerate(policy.tiers):
        for key, spec, of in (
            ("start_after", policy.delays[index], index - 1),
            ("replica_after", tier.replica_after, index),
        ):
            if isinstance(spec, str) and not timed[of]:
                raise ConfigError(
                    f"{key}={spec!r}: {policy.tiers[of].name} is a function, which is not timed: "
                    "give seconds",
                    policy=policy.name,
                    tier=tier.name,
                )


def make_plan(policy: Policy, tiers: tuple[BoundTier, ...], *, first: int = 0) -> Plan:
    """The policy as the state machine sees it, quantiles as they are now."""
    plans = tuple([tier.plan_now() for tier in tiers])
    delays = tuple(
        [
            tiers[index - 1].quantile("total", delay) if isinstance(delay, str) else delay
            for index, delay in enumerate(policy.delays)
        ]
    )
    return Plan(
        tiers=plans,
        delays=delays,
        prefer=policy.preference,
        grace=policy.grace,
        deadline=policy.deadline,
        first=first,
        overlaps=may_overlap(plans[first:], delays[first + 1 :]),
    )


def may_overlap(tiers: Sequence[TierPlan], delays: Sequence[float | None]) -> bool:
    """Whether an attempt may ever run beside another."""
    return any(delay is not None for delay in delays) or any(
        tier.members > 1 or tier.replica_after is not None for tier in tiers
    )
