"""What the user writes: a policy of ordered tiers. Checked when made, frozen afterwards."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from cascade.cost import Price
from cascade.errors import ConfigError
from cascade.latency import parse_quantile
from cascade.model import ModelSpec, check_address
from cascade.provider import Provider
from cascade.routing import RouterLike, as_router, check_choices
from cascade.verdict import Verifier

Model = str | ModelSpec | Provider | Callable[..., Any]
Prefer = Literal["cheapest", "fastest"]
Exhausted = Literal["raise", "best"]
OnAbstain = Literal["escalate", "accept"]
Priority = Literal["critical", "normal", "background"]
Effort = Literal["fast", "balanced", "best"]
Delay = float | str | None
"""Seconds; a quantile of what the model has taken so far, like ``"p95"``; or None for never."""

DEFAULT_TIMEOUT = 120.0
DEFAULT_VERIFY_TIMEOUT = 30.0
DEFAULT_RETRIES = 2


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Tier:
    """One rung of a policy: a model, a function, or an ensemble of them, and its check.

    Attributes:
        model: ``"provider:model"``, a plain function, a `Provider`, a `ModelSpec`, or a list of
            these: an ensemble, whose members run together and are judged together.
        verify: a verifier or a plain function; None accepts every whole answer.
        name: for logs and errors; by default the model's name.
        prompt: template around the prompt, with ``{{prompt}}`` and any ``{{variable}}``.
        system: template of a system message put before the others.
        examples: what a good answer looks like: pairs of a user's text and the answer to it, put
            before the prompt as turns of the chat.
        params: parameters for the model under their chat-completions names.
        threshold: the score from which the verifier accepts.
        timeout: seconds an attempt may take; None for no limit but the call's deadline.
        verify_timeout: seconds a check may take before it counts as an abstention.
        retries: further tries of one model after a failure that may pass.
        repairs: further tries after a rejection, with the verifier's reason fed back.
        samples: answers asked of each model at once, judged together.
        replica_after: seconds without a token, the first or the next, after which a second,
            identical call starts; the first answer is taken and the other call cancelled. Or
            ``"p95"``: as long as the first token takes at that quantile of the model's calls.
        fallbacks: stand-in models, tried in order when a model has failed for good.
        on_abstain: what an abstention means: ``escalate`` or ``accept``.
        allow_truncated: judge an answer cut off at ``max_tokens`` instead of failing it.
        constrain: have the model decode under the verifier's own JSON schema.
        base_url: where the provider's API is, instead of its default.
        api_key: the key, or better ``env:NAME``, the variable that has it.
        price: US dollars per million tokens, instead of the published price.
        cancel_stops_billing: whether a stream that is closed early is billed only as far as it
            came; None for what is known of the provider. See docs/costs.md.

    Raises:
        ConfigError: a value is impossible, or would do nothing.
    """

    model: Model | Sequence[Model]
    verify: Verifier | Callable[..., Any] | None = field(default=None, kw_only=True)
    name: str = field(default="", kw_only=True)
    prompt: str | None = field(default=None, kw_only=True)
    system: str | None = field(default=None, kw_only=True)
    examples: Sequence[tuple[str, str]] = field(default=(), kw_only=True)
    params: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    threshold: float | None = field(default=None, kw_only=True)
    timeout: float | None = field(default=DEFAULT_TIMEOUT, kw_only=True)
    verify_timeout: float | None = field(default=DEFAULT_VERIFY_TIMEOUT, kw_only=True)
    retries: int = field(default=DEFAULT_RETRIES, kw_only=True)
    repairs: int = field(default=0, kw_only=True)
    samples: int = field(default=1, kw_only=True)
    replica_after: Delay = field(default=None, kw_only=True)
    fallbacks: Sequence[Model] = field(default=(), kw_only=True)
    on_abstain: OnAbstain = field(default="escalate", kw_only=True)
    allow_truncated: bool = field(default=False, kw_only=True)
    constrain: bool = field(default=False, kw_only=True)
    base_url: str | None = field(default=None, kw_only=True)
    api_key: str | None = field(default=None, kw_only=True, repr=False)
    price: Price | None = field(default=None, kw_only=True)
    cancel_stops_billing: bool | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not self.models:
            raise ConfigError("a tier needs a model", tier=self.name or None)
        for model in (*self.models, *self.fallbacks):
            _model_name(model)
        if not self.name:
            object.__setattr__(self, "name", " + ".join(_model_name(m) for m in self.models))
        self._check_address()
        self._check_numbers()
        self._check_sense()

    @property
    def models(self) -> tuple[Model, ...]:
        """The members of the tier, one or more."""
        if isinstance(self.model, Sequence) and not isinstance(self.model, str):
            return tuple(self.model)
        return (self.model,)

    @property
    def members(self) -> int:
        """How many attempts are judged together."""
        return len(self.models) * self.samples

    def _check_address(self) -> None:
        try:
            check_address(self.base_url)
        except ConfigError as error:
            error.tier = self.name
            raise

    def _check_numbers(self) -> None:
        if isinstance(self.verify, str):
            raise ConfigError(
                f"verify={self.verify!r}: names are for policy files; here give the verifier, "
                f"as in cascade.verifiers.make({self.verify!r}, {{}})",
                tier=self.name,
            )
        for key in ("retries", "repairs"):
            self._require(key, _whole(getattr(self, key), 0), "a whole number, 0 or more")
        self._require("samples", _whole(self.samples, 1), "a whole number, 1 or more")
        for key in ("timeout", "verify_timeout"):
            self._require(key, _positive(getattr(self, key)), "seconds above 0, or None")
        self._require("replica_after", _delay(self.replica_after), f"{_DELAY}, or None")
        object.__setattr__(self, "examples", _pairs(self.examples))
        fits = self.examples is not None
        self._require("examples", fits, "pairs of texts: what is asked, and the answer")
        fits = self.threshold is None or 0 <= self.threshold <= 1
        self._require("threshold", fits, "a number in [0, 1]")
        self._require("on_abstain", self.on_abstain in ("escalate", "accept"),
                      "'escalate' or 'accept'")  # fmt: skip
        fits = self.cancel_stops_billing is None or isinstance(self.cancel_stops_billing, bool)
        self._require("cancel_stops_billing", fits, "True, False or None")

    def _check_sense(self) -> None:
        if self.verify is None:
            for key, default in (("threshold", None), ("repairs", 0), ("constrain", False)):
                value = getattr(self, key)
                self._require(key, value == default, "a 'verify' beside it: nothing is checked")
            for key, several in (("samples", self.samples > 1), ("model", len(self.models) > 1)):
                self._require(key, not several, "a 'verify' beside it: several answers need one")
        if self.prompt is not None:
            fits = "{{prompt}}" in self.prompt.replace(" ", "")
            self._require("prompt", fits, "a template with {{prompt}} in it")
        if all(isinstance(model, ModelSpec) for model in (*self.models, *self.fallbacks)):
            for key in ("base_url", "api_key", "price", "cancel_stops_billing"):
                fits = getattr(self, key) is None
                self._require(key, fits, "to be said of the ModelSpec: the tier has no other model")
        fits = not (self.cancel_stops_billing and self.params.get("stream") is False)
        self._require("cancel_stops_billing", fits, "a stream, and params has stream=False")

    def _require(self, key: str, fits: bool, wanted: str) -> None:
        if not fits:
            value = getattr(self, key)
            raise ConfigError(f"{key}={value!r}: needs {wanted}", tier=self.name or None)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Policy:
    """Ordered tiers, the rule by which they start, and what to do when all are rejected.

    Attributes:
        name: for logs and errors.
        tiers: from the cheapest to the strongest.
        start_after: when tier k starts while the tier before it is still undecided: None (never:
            a cascade), 0 (at once: a race), seconds after the start of tier k-1 (a hedge), or a
            list of these, one a tier, beginning with None for the first. ``"p95"`` is the time
            within which that share of the calls to tier k-1's model are answered, and never as
            long as too few have been seen. Whatever it says, the next tier starts as soon as
            every started one is out.
        prefer: which accepted answer wins: ``cheapest`` (the lowest accepted tier; waits for
            lower tiers that still run) or ``fastest`` (the first accepted one). By default
            ``fastest`` for a race and ``cheapest`` otherwise.
        grace: seconds that an accepted answer waits for lower tiers; None waits until they are
            decided.
        deadline: seconds the whole call may take.
        exhausted: ``raise``, or ``best`` to return the best-scored answer as not accepted.
        router: what picks the tier to begin at, where the caller does not; see docs/routers.md.
        priority: how much it matters when money is short: ``critical`` is never degraded,
            ``background`` is first.
        variables: the names that its templates may use beside ``prompt``; None does not say. One
            that no template uses, or a template that uses another, is a mistake.
        efforts: what a caller's ``effort`` changes, by its name: any of the call's overrides, and
            ``start``. By default ``fast`` races all tiers and ``best`` begins at the last.

    Raises:
        ConfigError: a value is impossible, or would do nothing.
    """

    name: str
    tiers: Sequence[Tier]
    start_after: Delay | Sequence[Delay] = field(default=None, kw_only=True)
    prefer: Prefer | None = field(default=None, kw_only=True)
    grace: float | None = field(default=None, kw_only=True)
    deadline: float | None = field(default=None, kw_only=True)
    exhausted: Exhausted = field(default="raise", kw_only=True)
    router: RouterLike | None = field(default=None, kw_only=True)
    priority: Priority = field(default="normal", kw_only=True)
    variables: Sequence[str] | None = field(default=None, kw_only=True)
    efforts: Mapping[Effort, Mapping[str, Any]] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        if isinstance(self.tiers, Tier) or not isinstance(self.tiers, Sequence):
            raise ConfigError("tiers: needs a list of tiers, as in [Tier(…)]", policy=self.name)
        object.__setattr__(self, "tiers", tuple(self.tiers))
        if not self.name:
            raise ConfigError("a policy needs a name")
        if not self.tiers:
            raise ConfigError("a policy needs at least one tier", policy=self.name)
        self._check_names()
        self._check_start()
        self._require("prefer", self.prefer in (None, "cheapest", "fastest"),
                      "'cheapest' or 'fastest'")  # fmt: skip
        self._require("exhausted", self.exhausted in ("raise", "best"), "'raise' or 'best'")
        fits = self.priority in get_args(Priority)
        self._require("priority", fits, "'critical', 'normal' or 'background'")
        if self.router is not None:
            self._require("router", len(self.tiers) > 1, "a second tier to begin at")
            self._check_router(self.router)
        fits = _table(self.efforts) and not set(self.efforts) - set(get_args(Effort))
        self._require("efforts", fits, "tables named 'fast', 'balanced' or 'best'")
        self._check_efforts()
        self._require("deadline", _positive(self.deadline), "seconds above 0, or None")
        fits = _delay(self.grace, quantile=False)
        self._require("grace", fits, "seconds, 0 or more, or None")
        waits = self.preference == "cheapest" and any(d is not None for d in self.delays)
        self._require("grace", self.grace is None or waits,
                      "tiers that overlap and prefer='cheapest': nothing waits here")  # fmt: skip

    @property
    def delays(self) -> tuple[Delay, ...]:
        """``start_after`` of each tier; the first is None."""
        if isinstance(self.start_after, Sequence) and not isinstance(self.start_after, str):
            return (None, *self.start_after[1:])
        return (None,) + (self.start_after,) * (len(self.tiers) - 1)

    @property
    def preference(self) -> Prefer:
        """``prefer``, or its default: ``fastest`` when every tier starts at once."""
        if self.prefer is not None:
            return self.prefer
        race = len(self.tiers) > 1 and all(delay == 0 for delay in self.delays[1:])
        return "fastest" if race else "cheapest"

    def index(self, tier: str) -> int:
        """Position of the tier of that name.

        Raises:
            ConfigError: there is none; the message has the nearest right name.
        """
        from cascade.errors import nearest

        names = [t.name for t in self.tiers]
        if tier not in names:
            raise ConfigError(f"no tier {tier!r}: {nearest(tier, names)}", policy=self.name)
        return names.index(tier)

    def _check_efforts(self) -> None:
        from cascade.overrides import check_effort  # overrides know policies

        for effort in self.efforts:
            check_effort(self, effort)

    def _check_router(self, given: RouterLike) -> None:
        try:
            router = as_router(given)
            check_choices(router, [tier.name for tier in self.tiers])
        except ConfigError as error:
            error.policy = error.policy or self.name
            raise
        object.__setattr__(self, "router", router)

    def _check_names(self) -> None:
        names = [tier.name for tier in self.tiers]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(
                    f"two tiers are named {name!r}: give one another 'name'", policy=self.name
                )

    def _check_start(self) -> None:
        wanted = "None, 0, seconds above 0, 'p95', or a list of these with one value a tier"
        if isinstance(self.start_after, Sequence) and not isinstance(self.start_after, str):
            self._require("start_after", len(self.start_after) == len(self.tiers), wanted)
            first = self.start_after[0]
            self._require("start_after", not first, "None for the first tier: it starts at once")
        fits = all(_delay(delay) for delay in self.delays)
        self._require("start_after", fits, wanted)
        dead = self.start_after is not None and len(self.tiers) == 1
        self._require("start_after", not dead, "a second tier to start")

    def _require(self, key: str, fits: bool, wanted: str) -> None:
        if not fits:
            value = getattr(self, key)
            raise ConfigError(f"{key}={value!r}: needs {wanted}", policy=self.name)


def _model_name(model: Model) -> str:
    if isinstance(model, ModelSpec):
        return model.name
    if isinstance(model, str):
        if not model:
            raise ConfigError("a tier needs a model; got an empty name")
        return model
    name = getattr(model, "name", None) or getattr(model, "__name__", None)
    if isinstance(model, Provider) or callable(model):
        return str(name or type(model).__name__)
    raise ConfigError(
        f"a model is 'provider:model', a function or a Provider; got {type(model).__name__}"
    )


def _pairs(examples: Any) -> tuple[tuple[str, str], ...] | None:
    if isinstance(examples, str) or not isinstance(examples, Sequence):
        return None
    pairs = []
    for pair in examples:
        if not isinstance(pair, Sequence) or len(pair) != 2:
            return None
        asked, answer = pair
        if not (isinstance(asked, str) and isinstance(answer, str)):
            return None
        pairs.append((asked, answer))
    return tuple(pairs)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _positive(value: Any) -> bool:
    return value is None or (_number(value) and 0 < value < math.inf)


_DELAY = "seconds, 0 or more, a quantile like 'p95'"


def _delay(value: Any, *, quantile: bool = True) -> bool:
    if quantile and isinstance(value, str):
        try:
            return parse_quantile(value) > 0
        except ConfigError:
            return False
    return value is None or (_number(value) and 0 <= value < math.inf)


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _table(value: Any) -> bool:
    return isinstance(value, Mapping)
