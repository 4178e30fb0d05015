"""Drives one call live: carries out what the state machine says, on anyio.

A call in which nothing can overlap runs inline in the caller's task, under one deadline scope. A
task group is opened only when a second attempt may run beside the first; then the caller's task
keeps the timers, and each attempt is a task that goes on with whatever its own events lead to.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import TaskGroup

from cascade.backoff import full_jitter
from cascade.bind import BoundTier, Target
from cascade.context import Check, current_check
from cascade.cost import Cost
from cascade.errors import (
    CascadeError,
    ContentPolicyError,
    EmptyAnswerError,
    ProviderError,
    TruncatedAnswerError,
)
from cascade.events import (
    Aborted,
    Action,
    Answered,
    Began,
    Begin,
    Cancel,
    CancelReason,
    Declined,
    Elapsed,
    Event,
    Failed,
    Finish,
    Held,
    Judge,
    Judged,
    Plan,
    Start,
    WakeAt,
)
from cascade.provider import Call
from cascade.state import State
from cascade.types import Answer, Message, Request
from cascade.verdict import Verdict, Verifier

if TYPE_CHECKING:
    from cascade.engine import Engine

Job = Start | Judge

# A loop may fire a timer this much early (asyncio: one tick of its clock).
_TICK = 1e-6


class LiveAttempt:
    """What the driver knows of an attempt beside what the state machine knows."""

    __slots__ = (
        "answer",
        "begun",
        "cancelled",
        "chunks",
        "clock",
        "error",
        "first_at",
        "request",
        "scope",
        "spent",
        "target",
        "verdict",
    )

    def __init__(self, target: Target, request: Request, clock: Callable[[], float]) -> None:
        self.target = target
        self.request = request
        self.clock = clock
        self.begun: float | None = None
        self.first_at: float | None = None
        self.chunks: list[str] = []
        self.answer: Answer | None = None
        self.verdict: Verdict | None = None
        self.error: CascadeError | None = None
        self.cancelled: CancelReason | None = None
        self.spent: list[Cost] = []
        self.scope: anyio.CancelScope | None = None

    def on_delta(self, text: str) -> None:
        """Take note of a piece of the answer."""
        if self.first_at is None:
            self.first_at = self.clock()
        self.chunks.append(text)


class LiveCall:
    """One call being run; made by `Engine.run`, which also turns it into a result."""

    def __init__(
        self,
        engine: Engine,
        name: str,
        tiers: Sequence[BoundTier],
        plan: Plan,
        request: Request,
        variables: Mapping[str, str],
    ) -> None:
        self.name = name
        self.tiers = tiers
        self.request = request
        self.state = State(plan)
        self.attempts: list[LiveAttempt] = []
        self.clock = engine.clock()
        self.began = self.ended = self.clock()
        self.on_end: Callable[[int], None] | None = None  # told the id of each attempt that ends
        self._engine = engine
        self._variables = variables
        self._rendered: dict[int, Request] = {}
        self._tasks: TaskGroup | None = None
        self._timer: anyio.CancelScope | None = None
        self._open: list[int] = []
        self._pending: list[Job] = []

    async def run(self) -> None:
        """Run to the state machine's `Finish`.

        When this returns or raises, no task of the call is left and every connection of a
        loser is closed.
        """
        try:
            self._pending = self._handle(Begin(self.began))
            if self.state.plan.overlaps:
                await self._run_overlapping()
            else:
                await self._run_inline()
        except BaseException:  # cancellation above all; whatever it is, every attempt must end
            self._handle(Aborted(self.clock()))
            raise
        finally:
            self.ended = self.clock()

    # The two ways to run

    async def _run_inline(self) -> None:
        while self.state.finish is None:
            with anyio.CancelScope(deadline=self.state.wake) as self._timer:
                # Once the timer has fired, nothing new may start under it.
                while self._pending and not self._timer.cancel_called:
                    self._feed(await self._perform(self._pending.pop(0)))
                if not self._pending and self.state.finish is None:
                    await anyio.sleep_forever()  # until a retry is due
            if self._timer.cancelled_caught:
                self._feed(self._elapsed())

    async def _run_overlapping(self) -> None:
        async with anyio.create_task_group() as self._tasks:
            self._spawn_pending()
            while self.state.finish is None:
                with anyio.CancelScope(deadline=self.state.wake) as self._timer:
                    await anyio.sleep_forever()
                if self.state.finish is None:
                    self._feed(self._elapsed())

    def _elapsed(self) -> Elapsed:
        now = self.clock()
        return Elapsed(self.state.wake if 0 < self.state.wake - now < _TICK else now)

    def _feed(self, event: Event) -> None:
        """Take an event in, and have its jobs begun, or done next when running inline."""
        self._pending += self._handle(event)
        if self._tasks is not None:
            self._spawn_pending()

    def _spawn_pending(self) -> None:
        assert self._tasks is not None
        for job in self._pending:
            self._tasks.start_soon(self._work, job, self._scope(job))
        self._pending.clear()

    def _scope(self, job: Job) -> anyio.CancelScope:
        """A scope by which the job can be cancelled even before its task runs."""
        scope = anyio.CancelScope()
        for id_ in (job.attempt,) if isinstance(job, Start) else job.attempts:
            self.attempts[id_].scope = scope
        return scope

    async def _work(self, job: Job, scope: anyio.CancelScope) -> None:
        """Do a job and then, in the same task, the first of the jobs it leads to."""
        while not scope.cancel_called:
            event = None
            with scope:
                event = await self._perform(job)
            if event is None:  # cancelled
                return
            self._pending += self._handle(event)
            if not self._pending:
                return
            job = self._pending.pop(0)
            scope = self._scope(job)
            self._spawn_pending()

    # Events in, actions out

    def _handle(self, event: Event) -> list[Job]:
        jobs: list[Job] = []
        for action in self.state.handle(event):
            self._carry_out(action, jobs)
        if self.on_end is not None:
            self._tell_ended()
        return jobs

    def _carry_out(self, action: Action, jobs: list[Job]) -> None:
        match action:
            case Start():
                target = self.tiers[action.tier].targets[action.member][action.choice]
                request = self._render(action)
                self.attempts.append(LiveAttempt(target, request, self.clock))
                self._open.append(action.attempt)
                jobs.append(action)
            case Judge():
                jobs.append(action)
            case Cancel():
                attempt = self.attempts[action.attempt]
                attempt.cancelled = action.reason
                if attempt.scope is not None:
                    attempt.scope.cancel()
            case WakeAt():
                if self._timer is not None:
                    self._timer.deadline = action.at
            case Finish():
                if self._tasks is not None and self._timer is not None:
                    self._timer.cancel()  # wakes the caller's task, which keeps the timers

    def _tell_ended(self) -> None:
        assert self.on_end is not None
        ended = [id_ for id_ in self._open if self.state.attempts[id_].ended is not None]
        for id_ in ended:
            self._open.remove(id_)
            self.on_end(id_)

    def _render(self, action: Start) -> Request:
        if action.tier not in self._rendered:
            tier = self.tiers[action.tier]
            self._rendered[action.tier] = tier.render(self.request, self._variables)
        request = self._rendered[action.tier]
        if action.repairs is None:
            return request
        rejected = self.attempts[action.repairs]
        assert rejected.answer is not None
        assert rejected.verdict is not None
        return _with_feedback(request, rejected.answer, rejected.verdict.reason)

    # Jobs

    async def _perform(self, job: Job) -> Event:
        if isinstance(job, Start):
            return await self._call(job)
        return await self._judge(job)

    async def _call(self, job: Start) -> Event:
        attempt = self.attempts[job.attempt]
        target = attempt.target
        try:
            if target.ready is not None:
                self._feed(Held(self.clock(), job.attempt))
                await target.ready(target.model)
                self._feed(Began(self.clock(), job.attempt))
                if self.state.attempts[job.attempt].ended is not None:
                    return self._elapsed()  # it was given up while it waited
            attempt.begun = self.clock()
            answer = await target.provider.complete(
                Call(target.model, attempt.request, attempt.on_delta)
            )
        except ProviderError as error:
            return self._fail(job, error)
        except Exception as error:  # noqa: BLE001  (a provider is anyone's code; it must not end the call)
            return self._fail(job, _wrapped(error, target.name))
        now = self.clock()
        if answer is None:
            attempt.verdict = Verdict.reject("declined: no answer of its own", code="declined")
            return Declined(now, job.attempt)
        first = None if attempt.first_at is None else attempt.first_at - attempt.begun
        attempt.answer = answer = answer.timed(now - attempt.begun, first)
        flaw = _flaw(answer, self.tiers[job.tier].tier.allow_truncated)
        if flaw is not None:
            return self._fail(job, flaw)
        return Answered(now, job.attempt)

    def _fail(self, job: Start, error: CascadeError) -> Failed:
        error.policy, error.tier, error.attempt = (
            self.name,
            self.tiers[job.tier].tier.name,
            job.attempt + 1,
        )
        self.attempts[job.attempt].error = error
        if not isinstance(error, ProviderError) or not error.retryable:
            return Failed(self.clock(), job.attempt)
        tries = sum(
            other.tier == job.tier and other.member == job.member and other.choice == job.choice
            for other in self.state.attempts
        )
        delay = full_jitter(self._engine.random, tries, error.retry_after)
        return Failed(self.clock(), job.attempt, retryable=True, delay=delay)

    async def _judge(self, job: Judge) -> Event:
        tier = self.tiers[job.tier]
        assert tier.verifier is not None
        attempts = [self.attempts[id_] for id_ in job.attempts]
        group = getattr(tier.verifier, "verify_group", None)
        if group is not None and tier.tier.members > 1:
            verdicts = await self._checked_group(group, attempts)
        elif len(attempts) == 1:
            verdicts = (await self._checked(tier.verifier, attempts[0]),)
        else:
            verdicts = await self._checked_each(tier.verifier, attempts)
        for attempt, verdict in zip(attempts, verdicts, strict=True):
            attempt.verdict = verdict
        return Judged(self.clock(), job.attempts, verdicts)

    async def _checked(self, verifier: Verifier, attempt: LiveAttempt) -> Verdict:
        """The verdict; an abstention with the reason when the verifier crashes."""
        assert attempt.answer is not None
        token = current_check.set(Check(self._engine, attempt.spent))
        try:
            verdict = verifier.verify(self.request, attempt.answer)
            if inspect.isawaitable(verdict):
                verdict = await verdict
            if not isinstance(verdict, Verdict):
                raise TypeError(f"a verifier returns a Verdict; got {type(verdict).__name__}")  # noqa: TRY301
        except Exception as error:  # noqa: BLE001  (a verifier is anyone's code; a crash is an abstention)
            return _crash(error)
        finally:
            current_check.reset(token)
        return verdict

    async def _checked_each(
        self, verifier: Verifier, attempts: Sequence[LiveAttempt]
    ) -> tuple[Verdict, ...]:
        verdicts: dict[int, Verdict] = {}

        async def check(index: int) -> None:
            verdicts[index] = await self._checked(verifier, attempts[index])

        async with anyio.create_task_group() as tasks:
            for index in range(len(attempts)):
                tasks.start_soon(check, index)
        return tuple(verdicts[index] for index in range(len(attempts)))

    async def _checked_group(
        self, verify_group: Callable[..., Any], attempts: Sequence[LiveAttempt]
    ) -> tuple[Verdict, ...]:
        token = current_check.set(Check(self._engine, attempts[0].spent))
        try:
            verdicts = verify_group(self.request, [attempt.answer for attempt in attempts])
            if inspect.isawaitable(verdicts):
                verdicts = await verdicts
            if len(verdicts) != len(attempts):
                raise TypeError(f"{len(verdicts)} verdicts on {len(attempts)} answers")  # noqa: TRY301
        except Exception as error:  # noqa: BLE001  (as above)
            return (_crash(error),) * len(attempts)
        finally:
            current_check.reset(token)
        return tuple(verdicts)


def _flaw(answer: Answer, allow_truncated: bool) -> ProviderError | None:
    """Why the answer cannot be judged at all, or None."""
    if answer.finish_reason == "content_filter":
        return ContentPolicyError("the provider filtered the answer")
    if answer.finish_reason == "length" and not allow_truncated:
        return TruncatedAnswerError(
            "the answer was cut off at max_tokens; raise it, or set allow_truncated"
        )
    if not answer.text.strip() and not answer.tool_calls:
        return EmptyAnswerError("the model answered neither text nor a tool call")
    return None


def _wrapped(error: Exception, target: str) -> CascadeError:
    if isinstance(error, CascadeError):
        return error
    wrapped = ProviderError(f"{target} raised {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped


def _crash(error: Exception) -> Verdict:
    return Verdict.abstain(
        f"the verifier crashed: {type(error).__name__}: {error}", code="check.crash"
    )


def _with_feedback(request: Request, answer: Answer, reason: str) -> Request:
    feedback = (
        f"That answer was not accepted: {reason}\n"
        "Answer the original request again, with this corrected and nothing else changed."
    )
    answered = Message("assistant", answer.text or None, tool_calls=answer.tool_calls)
    return replace(request, messages=(*request.messages, answered, Message("user", feedback)))
