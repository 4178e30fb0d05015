"""The engine: binds policies, runs calls, owns what they share. And `cascade` itself."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from random import Random
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypedDict, Unpack
from weakref import WeakKeyDictionary

import anyio
from anyio.lowlevel import RunVar

from cascade.asking import LiveAttempt, failure
from cascade.backend import AsyncioBackend, Backend, TrioBackend, running_loop
from cascade.bind import BoundPolicy, Providers, Target, check_quantiles, make_plan
from cascade.context import current_check
from cascade.cost import Cost, total
from cascade.errors import ConfigError, PromptError, ProviderError, UnknownPolicyError, nearest
from cascade.latency import ModelLatency
from cascade.live import LiveCall
from cascade.logs import CallLog
from cascade.plugins import entry_points_of
from cascade.policy import Delay, Exhausted, Model, Policy, Prefer
from cascade.record import attempt_cost, result
from cascade.result import Result
from cascade.retry_budget import RetryBudget, shared_budget
from cascade.transport import Transport, check_client, make_transport
from cascade.types import Answer, Prompt, Request

if TYPE_CHECKING:
    from cascade.release import Release
    from cascade.stream import CascadeStream
    from cascade.transports.httpx import HttpxTransport

PolicyLike = Policy | str | Path

CLOSE_TIMEOUT = 5.0
"""Seconds that closing an engine may take."""


class Overrides(TypedDict, total=False):
    """Settings of a policy that one call may change; see `Policy`."""

    start_after: Delay | Sequence[Delay]
    prefer: Prefer | None
    grace: float | None
    deadline: float | None
    exhausted: Exhausted


class Engine:
    """Runs calls, and owns what they share: the connection pool and the providers.

    Use it as an async context manager; on leaving, every connection is closed. One engine
    belongs to one event loop. `cascade` uses an engine of its own, one a loop.

    Args:
        http: which HTTP client to use: ``"aiohttp"``, ``"httpx"``, or ``"auto"`` for aiohttp where
            it can be used; see `cascade.transport.make_transport`. Or a client of yours, which
            stays open: an ``httpx2.AsyncClient``, ``httpx.AsyncClient``,
            ``aiohttp.ClientSession``, or any `Transport`.
        random: the source of jitter.
        retry_budget: what retries, repairs and hedges draw on; by default the one of the process.
    """

    def __init__(
        self,
        *,
        http: Any = "auto",
        random: Random | None = None,
        retry_budget: RetryBudget | None = None,
    ) -> None:
        self.random = random or Random()  # noqa: S311  (jitter, no secret)
        check_client(http)
        self._client = http
        self._transport: Transport | None = None
        self._http: HttpxTransport | None = None  # beside a transport over another client
        self._budget = shared_budget() if retry_budget is None else retry_budget
        self._providers = Providers(self, self.random)
        self._bound: WeakKeyDictionary[Policy, BoundPolicy] = WeakKeyDictionary()
        self._backend: Backend | None = None
        self._closed = False

    async def __aenter__(self) -> Engine:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close providers and connections; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        # Shielded, or leaving the block under cancellation would leave connections open for good.
        with anyio.move_on_after(CLOSE_TIMEOUT, shield=True):
            async with AsyncExitStack() as stack:
                for transport in (self._transport, self._http):
                    if transport is not None and transport is not self._client:
                        stack.push_async_callback(transport.aclose)
                await self._providers.aclose()

    @property
    def transport(self) -> Transport:
        """How all calls are sent, over one pool of connections; made when first needed."""
        if self._transport is None:
            self._require_open()
            self._transport = make_transport(self._client)
        return self._transport

    @property
    def http(self) -> Any:
        """A client with httpx's interface: the transport's own if it has one, else another."""
        from cascade.transports.httpx import HttpxTransport

        if isinstance(self.transport, HttpxTransport):
            return self.transport.client
        if self._http is None:
            self._require_open()
            self._http = HttpxTransport.of_our_own()
        return self._http.client

    def backend(self) -> Backend:
        """The async library that runs us, and what all calls share on it."""
        loop = running_loop()
        if self._backend is None or self._backend.loop is not loop:
            self._backend = TrioBackend() if loop is None else AsyncioBackend(loop)
        return self._backend

    def latencies(self) -> dict[str, Any]:
        """How long each model has taken so far: plain data for JSON, for a later `learn`."""
        return {name: latency.to_dict() for name, latency in self._providers.latencies().items()}

    def learn(self, latencies: Mapping[str, Any]) -> None:
        """Add what `latencies` gave, of this engine or of another; unknown models are kept too.

        Raises:
            ConfigError: it is of another version, or something else.
        """
        for name, data in latencies.items():
            self._providers.learn(name, ModelLatency.from_dict(data))

    def spend(self) -> bool:
        """Whether the retry budget has an extra attempt to give; it is given."""
        return self._budget.withdraw(monotonic())

    def _require_open(self) -> None:
        if self._closed:
            raise ConfigError("this engine is closed; make a new one")

    def bind(self, policy: PolicyLike) -> BoundPolicy:
        """Resolve everything a policy names, so that a mistake shows before a call.

        Raises:
            ConfigError: an unknown model, provider, verifier or key, naming policy and tier.
        """
        self._require_open()
        if not isinstance(policy, Policy):
            policy = find(policy)
        bound = self._bound.get(policy)
        if bound is None:
            bound = self._bound[policy] = BoundPolicy.of(policy, self._providers)
        return bound

    async def run(
        self,
        policy: PolicyLike,
        prompt: Prompt,
        *,
        start: str | int = 0,
        variables: Mapping[str, str] | None = None,
        **overrides: Unpack[Overrides],
    ) -> Result:
        """Answer a prompt; see `cascade`."""
        call, best = self.prepare(policy, prompt, start, variables, overrides)
        return await self.carry_out(call, best=best)

    def stream(
        self,
        policy: PolicyLike,
        prompt: Prompt,
        *,
        release: Release = "accepted",
        start: str | int = 0,
        variables: Mapping[str, str] | None = None,
        **overrides: Unpack[Overrides],
    ) -> CascadeStream:
        """Answer a prompt, event by event; see `cascade.stream.cascade_stream`."""
        from cascade.stream import CascadeStream

        return CascadeStream(self, policy, prompt, release, start, variables, overrides)

    def prepare(
        self,
        policy: PolicyLike,
        prompt: Prompt,
        start: str | int,
        variables: Mapping[str, str] | None,
        overrides: Overrides,
    ) -> tuple[LiveCall, bool]:
        """A call that is ready for `carry_out`, and whether it settles for a rejected answer."""
        if not isinstance(policy, Policy):
            policy = find(policy)
        bound = self.bind(policy)
        first = 0 if start == 0 and start is not False else _first(policy, start)
        plan = bound.plan
        if overrides:
            policy = _overridden(policy, overrides)
            check_quantiles(policy, bound.tiers)
        if overrides or first or plan is None:
            plan = make_plan(policy, bound.tiers, first=first)
        values = variables or {}
        try:
            request = Request.of(prompt)
            if bound.templated or values:
                bound.check_variables(values, first=first)
        except PromptError as error:
            error.policy = policy.name
            raise
        call = LiveCall.of(self, policy.name, bound.tiers, plan, request, values)
        return call, policy.exhausted == "best"

    async def carry_out(self, call: LiveCall, *, best: bool) -> Result:
        """Run a call that `prepare` made."""
        self._budget.deposit(monotonic())
        log = CallLog.of(call)
        try:
            if log is None:
                await call.run()
                return result(call, best=best)
            with log:
                await call.run()
                log.result = result(call, best=best)
                return log.result
        finally:
            call.on_end = None  # the log and the call would hold each other
            check = current_check.get()
            if check is not None:  # a call made by a verifier is part of what the check costs
                check.spent.append(total(attempt_cost(attempt) for attempt in call.attempts))

    async def complete(
        self, model: Model, request: Request, *, spent: list[Cost] | None = None
    ) -> tuple[Answer, Cost]:
        """Call one model, once, unchecked; what `cascade.context.call_model` does.

        The cost is appended to ``spent`` too, even when the call fails or is cancelled.

        Raises:
            ProviderError: the call failed.
        """
        self._require_open()
        return await self.complete_target(self._providers.target(model), request, spent=spent)

    async def complete_target(
        self, target: Target, request: Request, *, spent: list[Cost] | None = None
    ) -> tuple[Answer, Cost]:
        """As `complete`, for a model that is resolved already."""
        clock, gate = self.backend().clock, target.gate
        attempt = LiveAttempt(target, request, clock)
        entered = None
        try:
            if target.ready is not None:
                await target.ready(target.model)
            if gate is not None:
                entered = gate.enter(attempt, clock())
                if not entered.turn.granted:
                    await gate.wait(entered, clock)
            answer = attempt.take(await attempt.begin())
        except (Exception, CancelledError) as error:  # noqa: BLE001  (see `failure`)
            attempt.error = await failure(error, target.name)
            raise attempt.error from attempt.error.__cause__
        finally:
            if gate is not None and entered is not None:
                gate.leave(
                    entered,
                    clock(),
                    answer=attempt.answer,
                    error=attempt.error,
                    first_token=attempt.first_token,
                )
            cost = attempt_cost(attempt)
            if spent is not None:
                spent.append(cost)
        if answer is None:
            raise ProviderError(f"{target.name} declined: it has no answer of its own")
        return answer, cost


async def cascade(
    policy: PolicyLike,
    prompt: Prompt,
    *,
    start: str | int = 0,
    variables: Mapping[str, str] | None = None,
    **overrides: Unpack[Overrides],
) -> Result:
    """Answer a prompt with the cheapest tier whose answer passes its check.

    Args:
        policy: a `Policy`, the path of a policy file, or the name of a policy on the search path.
        prompt: text, a list of chat messages, or a `Request`.
        start: the tier to begin at, by name or position.
        variables: values for the ``{{name}}`` places of the tiers' templates.
        **overrides: ``start_after``, ``prefer``, ``grace``, ``deadline``, ``exhausted``: instead
            of the policy's own, for this call.

    Returns:
        The result, with every attempt, its cost and its time.

    Raises:
        CascadeExhausted: every tier was rejected or failed.
        DeadlineExceededError: the deadline passed first.
        ConfigError: the policy cannot run (unknown model, missing key, …); nothing was called.
        PromptError: the prompt or its variables do not fit; nothing was called.
    """
    engine = await default_engine()
    return await engine.run(policy, prompt, start=start, variables=variables, **overrides)


_default: RunVar[tuple[Engine, AsyncGenerator[Engine, None]] | None] = RunVar(
    "cascade_engine", None
)


async def default_engine() -> Engine:
    """The engine of the running loop: made when first needed, closed when the loop ends."""
    held = _default.get()
    if held is None:
        # A loop that ends closes the async generators begun on it (asyncio.run and trio.run both
        # do), which is the only hook for "the loop is about to end" that both offer.
        lifetime = _lifetime()
        held = (await anext(lifetime), lifetime)
        _default.set(held)
    return held[0]


async def _lifetime() -> AsyncGenerator[Engine, None]:
    engine = Engine()
    try:
        yield engine
    finally:
        # The engine leads to the loop, and the loop is the key under which the engine is kept.
        _default.set(None)
        await engine.aclose()


def find(policy: PolicyLike) -> Policy:
    """The policy itself, from a file path or a name if need be.

    Raises:
        UnknownPolicyError: there is none of that name.
        PolicyFileError: the file is wrong.
    """
    if isinstance(policy, Policy):
        return policy
    if not isinstance(policy, str | Path):
        raise ConfigError(f"a policy is a Policy, a path or a name; got {type(policy).__name__}")
    return _policy_finder()(policy)


def _policy_finder() -> Callable[[str | Path], Policy]:
    for point in entry_points_of("cascade.policies").values():
        finder: Callable[[str | Path], Policy] = point.load()
        return finder
    raise UnknownPolicyError("nothing is installed that finds policies by name or path")


def _first(policy: Policy, start: str | int) -> int:
    if isinstance(start, str):
        return policy.index(start)
    if isinstance(start, bool) or not isinstance(start, int):
        raise ConfigError(
            f"start={start!r}: needs the name or the position of a tier", policy=policy.name
        )
    if not 0 <= start < len(policy.tiers):
        raise ConfigError(
            f"start={start}: the policy has tiers 0 to {len(policy.tiers) - 1}", policy=policy.name
        )
    return start


def _overridden(policy: Policy, overrides: Overrides) -> Policy:
    for key in overrides:
        if key not in Overrides.__annotations__:
            raise ConfigError(
                f"{key}: {nearest(key, Overrides.__annotations__)}", policy=policy.name
            )
    return replace(policy, **overrides)
