"""The engine: binds policies, runs calls, owns what they share."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from secrets import token_hex
from time import monotonic, time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack
from weakref import WeakKeyDictionary

import anyio

from cascade.admission import Admission
from cascade.asking import LiveAttempt, failure
from cascade.backend import AsyncioBackend, Backend, TrioBackend, running_loop
from cascade.bind import BoundPolicy
from cascade.budget import Budget
from cascade.context import current_check
from cascade.cost import Cost
from cascade.errors import ConfigError, ProviderError
from cascade.finding import PolicyLike, find
from cascade.latency import ModelLatency
from cascade.live import LiveCall
from cascade.logs import CallLog, warn
from cascade.overrides import Overrides
from cascade.policy import Model, Policy
from cascade.preparing import prepare
from cascade.project import ProjectSource, open_project
from cascade.purse import Purse
from cascade.record import attempt_cost, call_cost, call_end, call_record, result, shown
from cascade.records import CallRecord, EngineObserver, Observer
from cascade.result import Result
from cascade.retry_budget import RetryBudget, shared_budget
from cascade.routing import Entry, Route
from cascade.targets import Providers, Target
from cascade.transport import Transport, check_client, make_transport
from cascade.types import Answer, Prompt, Request

if TYPE_CHECKING:
    from cascade.release import Release
    from cascade.stream import CascadeStream
    from cascade.transports.httpx import HttpxTransport

CLOSE_TIMEOUT = 5.0
"""Seconds that closing an engine may take."""


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
        budget: what must allow each attempt that costs money, if anything must.
        observers: who is told of every finished call; see `cascade.records.Observer`.
        project: the path of a project file, or a `ProjectSource`: names of policies are then its
            own, and it adds a ledger and a budget where it has them. None is no project; `cascade`
            uses the one around the working directory.

    Raises:
        ConfigError: the project has a mistake, or an argument is impossible.

    Attributes:
        budget: as given.
        random: as given, or one of its own.
    """

    def __init__(
        self,
        *,
        http: Any = "auto",
        random: Random | None = None,
        retry_budget: RetryBudget | None = None,
        budget: Budget | None = None,
        observers: Sequence[Observer] = (),
        project: str | Path | ProjectSource | None = None,
    ) -> None:
        self.random = random or Random()  # noqa: S311  (jitter, no secret)
        check_client(http)
        self._client = http
        self._transport: Transport | None = None
        self._http: HttpxTransport | None = None  # beside a transport over another client
        self._retries = shared_budget() if retry_budget is None else retry_budget
        source = open_project(project) if isinstance(project, str | Path) else project
        self._source: ProjectSource | None = source
        self._given = budget, tuple(observers)
        self._observers: tuple[Observer, ...] = ()
        self._opened: dict[int, EngineObserver] = {}  # those that are to be told when it closes
        self._providers = Providers(self, self.random)
        self._bound: WeakKeyDictionary[Policy, BoundPolicy] = WeakKeyDictionary()
        self._backend: Backend | None = None
        self._closed = False
        self._take_settings()

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
                for observer in self._opened.values():
                    stack.push_async_callback(observer.engine_closed, self)
                for transport in (self._transport, self._http):
                    if transport is not None and transport is not self._client:
                        stack.push_async_callback(transport.aclose)
                await self._providers.aclose()

    def reload(self) -> None:
        """Read the project's files again, for the calls that begin from now on.

        Changes to them are noticed without it, within a second or so: this is to know that they
        are right. Calls in flight go on as they began.

        Raises:
            PolicyFileError: a file has a mistake; what was read before stays in use.
            ConfigError: the engine has no project.
        """
        if self._source is None:
            raise ConfigError("this engine has no project to read again: Engine(project=…)")
        self._source.reload()
        self._take_settings()

    def find(self, policy: PolicyLike) -> Policy | Entry:
        """The policy that is meant; a name or path is the project's, if there is one.

        Raises:
            UnknownPolicyError: there is none of that name.
            PolicyFileError: the file is wrong.
        """
        if self._source is not None and isinstance(policy, str | Path):
            found = self._source.find(policy)
            self._take_settings()
            return found
        return find(policy)

    def _take_settings(self) -> None:
        budget, observers = self._given
        settings = {} if self._source is None else self._source.settings()
        self.budget: Budget | None = settings.get("budget") if budget is None else budget
        self._observers = (*observers, *settings.get("observers", ()))
        for observer in self._observers:
            if isinstance(observer, EngineObserver) and id(observer) not in self._opened:
                self._opened[id(observer)] = observer
                observer.engine_opened(self)

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
        return self._retries.withdraw(monotonic())

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
            policy = self.find(policy)
        if isinstance(policy, Entry):
            raise ConfigError("is a router over policies: bind those", policy=policy.name)
        bound = self._bound.get(policy)
        if bound is None:
            bound = self._bound[policy] = BoundPolicy.of(policy, self._providers)
        return bound

    async def run(
        self,
        policy: PolicyLike,
        prompt: Prompt,
        *,
        start: str | int | None = None,
        variables: Mapping[str, str] | None = None,
        **overrides: Unpack[Overrides],
    ) -> Result:
        """Answer a prompt; see `cascade`."""
        call = await prepare(self, policy, prompt, start, variables, overrides)
        return await self.carry_out(call)

    def stream(
        self,
        policy: PolicyLike,
        prompt: Prompt,
        *,
        release: Release = "accepted",
        start: str | int | None = None,
        variables: Mapping[str, str] | None = None,
        **overrides: Unpack[Overrides],
    ) -> CascadeStream:
        """Answer a prompt, event by event; see `cascade.stream.cascade_stream`."""
        from cascade.stream import CascadeStream

        return CascadeStream(self, policy, prompt, release, start, variables, overrides)

    async def carry_out(self, call: LiveCall) -> Result:
        """Run a call that `prepare` made."""
        self._retries.deposit(monotonic())
        log = CallLog.of(call)
        try:
            if log is None and not self._observers and not call.routers:
                await call.run()
                return result(call)
            logged: list[Observer] = [] if log is None else [log]
            return await self._observed(call, [*logged, *self._observers, *call.routers])
        finally:
            check = current_check.get()
            if check is not None:  # a call made by a verifier is part of what the check costs
                check.spent.append(call_cost(call))
            for attempt in call.attempts:  # their tracebacks lead back to the attempts
                attempt.error = attempt.crash = None

    async def _observed(self, call: LiveCall, told: Sequence[Observer]) -> Result:
        """Run the call, and tell those of it, however it ends."""
        began = time() - (call.clock() - call.began)
        found, error = None, None
        try:
            await call.run()
            found = result(call)
        except BaseException as raised:
            error = raised
            raise
        else:
            return found
        finally:
            call.on_end = None  # the log and the call would hold each other
            record = call_record(call, began, found, error)
            error = None  # its traceback leads back here
            _tell(told, record)

    def give_up(self, policy: str, request: Request, route: Route, error: BaseException) -> None:
        """Tell of a call that ended while its router was asked, before it had a tier."""
        record = CallRecord(
            id=token_hex(8),
            began=time() - route.latency,
            policy=policy,
            request=request,
            outcome=call_end(error),
            result=None,
            error=shown(error),
            attempts=(),
            cost=route.cost,
            waste=route.cost,
            latency=route.latency,
            escalations=0,
            first="",
            route=route,
        )
        _tell(self._observers, record)
        check = current_check.get()
        if check is not None:
            check.spent.append(route.cost)

    async def complete(
        self,
        model: Model,
        request: Request,
        *,
        spent: list[Cost] | None = None,
        purse: Purse | None = None,
    ) -> tuple[Answer, Cost]:
        """Call one model, once, unchecked; what `cascade.context.call_model` does.

        The cost is appended to ``spent`` too, even when the call fails or is cancelled, and taken
        from the ``purse``.

        Raises:
            ProviderError: the call failed.
            BudgetExceededError: there is no money for it.
        """
        self._require_open()
        target = self._providers.target(model)
        return await self.complete_target(target, request, spent=spent, purse=purse)

    async def complete_target(
        self,
        target: Target,
        request: Request,
        *,
        spent: list[Cost] | None = None,
        purse: Purse | None = None,
    ) -> tuple[Answer, Cost]:
        """As `complete`, for a model that is resolved already."""
        clock, gate = self.backend().clock, target.gate
        attempt = LiveAttempt(target, request, clock)
        entered = None
        admission = Admission(attempt, purse, None)
        try:
            await admission.enter()
            if gate is not None:
                entered = gate.enter(attempt, clock())
                if not entered.turn.granted:
                    await gate.wait(entered, clock)
            admission.begin()
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
                    declined=attempt.declined,
                )
            admission.leave()
            cost = attempt_cost(attempt)
            if spent is not None:
                spent.append(cost)
            attempt.error = None  # whose traceback leads back here
        if answer is None:
            raise ProviderError(f"{target.name} declined: it has no answer of its own")
        return answer, cost


def _tell(observers: Sequence[Observer], record: CallRecord) -> None:
    for observer in observers:
        try:
            observer.call_finished(record)
        except Exception as failed:  # noqa: BLE001  (anyone's code; the call has ended)
            warn("cascade.observer_failed", observer=repr(observer), exc_info=failed)
