"""Drives one call live: carries out what the state machine says, on anyio.

A call in which nothing can overlap runs inline in the caller's task, under one deadline scope. A
task group is opened only when a second attempt may run beside the first; then the caller's task
keeps the timers, and each attempt is a task that goes on with whatever its own events lead to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import copy
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup
from msgspec import Struct
from msgspec.structs import replace

from cascade.admission import Admission
from cascade.asking import HopelessAnswer, LiveAttempt, failure
from cascade.backoff import PATIENCE, full_jitter
from cascade.bind import BoundTier
from cascade.checking import check, check_group
from cascade.context import Asked
from cascade.errors import APITimeoutError, CascadeError, ProviderError
from cascade.events import (
    Aborted,
    Action,
    Answered,
    Began,
    Begin,
    Cancel,
    Declined,
    Elapsed,
    Event,
    Failed,
    Held,
    Judge,
    Judged,
    Plan,
    Refused,
    Start,
    Streamed,
)
from cascade.gate import Pass
from cascade.purse import Purse
from cascade.records import Observer
from cascade.routing import Route
from cascade.standing import NEVER
from cascade.state import State
from cascade.types import Answer, Message, Request
from cascade.verdict import Verdict

if TYPE_CHECKING:
    from cascade.backend import Backend, Timer
    from cascade.engine import Engine

Job = Start | Judge


class LiveCall(Struct, eq=False):
    """One call being run; made by `Engine.run`, which also turns it into a result."""

    _engine: Engine
    name: str
    tiers: Sequence[BoundTier]
    request: Request
    _variables: Mapping[str, str]
    state: State
    _backend: Backend
    clock: Callable[[], float]
    began: float
    ended: float
    attempts: list[LiveAttempt] = []
    best: bool = False  # settles for a rejected answer
    purse: Purse | None = None  # what pays, where something must
    route: Route | None = None
    routers: list[Observer] = []  # those that were asked, and want to know what came of it
    variant: str = ""
    on_end: Callable[[int], None] | None = None  # told the id of each attempt that ends
    on_change: Callable[[], None] | None = None  # told that the state has changed
    _asked: list[Asked] = []
    _rendered: dict[int, Request] = {}
    _tasks: TaskGroup | None = None
    _timer: Timer | None = None
    _armed: float = NEVER  # the time the timer is set for
    _open: list[int] = []
    _id: str = ""
    _pending: list[Job] = []

    @classmethod
    def of(
        cls,
        engine: Engine,
        name: str,
        tiers: Sequence[BoundTier],
        plan: Plan,
        request: Request,
        variables: Mapping[str, str],
        began: float | None = None,
    ) -> LiveCall:
        """A call that begins now, or began when its router was asked."""
        backend = engine.backend()
        clock = backend.clock
        began = clock() if began is None else began
        state = State(plan, engine.spend)
        return cls(engine, name, tiers, request, variables, state, backend, clock, began, began)

    @property
    def id(self) -> str:
        """For records and logs; made when first asked for."""
        if not self._id:
            self._id = token_hex(8)
        return self._id

    async def run(self) -> None:
        """Run to the state machine's `Finish`.

        When this returns or raises, no task of the call is left and every connection of a
        loser is closed.
        """
        state = self.state
        try:
            self._pending = pending = self._handle(Begin(self.clock(), self.began))
            if state.plan.overlaps:
                await self._run_overlapping()
                if state.finish is None:
                    # asyncio may fold a native cancellation into the one by which the group ends
                    # its tasks, and the group then keeps it to itself.
                    raise asyncio.CancelledError  # noqa: TRY301  (every attempt must end)
            # Or inline. The loop is here, and not in a method, to spare each await a frame.
            while state.finish is None:
                with self._backend.scope() as timer:
                    self._set(timer)
                    # Once the timer has fired, nothing new may start under it.
                    while pending and not timer.cancel_called:
                        job = pending.pop(0)
                        done = self._judge(job) if type(job) is Judge else self._call(job)
                        event = done if type(done) is Judged else await done
                        if event is not None:
                            pending += self._handle(event)
                    if not pending and state.finish is None:
                        self._arm()
                        await anyio.sleep_forever()  # until a retry is due
                if timer.cancel_called:  # be it before anything was waited for
                    self._feed(self._elapsed())
        except BaseException:  # cancellation above all; whatever it is, every attempt must end
            self._handle(Aborted(self.clock()))
            raise
        finally:
            self._drop_timer()
            self.ended = self.clock()

    async def _run_overlapping(self) -> None:
        try:
            async with anyio.create_task_group() as self._tasks:
                self._spawn_pending()
                while self.state.finish is None:
                    bell = self._backend.bell()
                    self._set(bell)
                    await bell.wait()
                    if self.state.finish is None:
                        self._feed(self._elapsed())
        except BaseExceptionGroup as group:
            # As it would come out of a call that runs inline.
            raise only(group) from None
        finally:
            for attempt in self.attempts:
                attempt.task = None  # it keeps what it raised, which leads back here

    def _set(self, timer: Timer) -> None:
        """From now on this is what goes off when the state machine wants to be woken."""
        self._drop_timer()
        self._timer = timer
        self._armed = NEVER
        self._arm()

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._backend.disarm(self._timer)

    def _arm(self) -> None:
        """Set the timer; while a call runs inline, it need be right only when it waits."""
        if self._armed != self.state.wake and self._timer is not None:
            self._armed = self.state.wake
            self._backend.arm(self._timer, self._armed)

    def _set_timer(self) -> None:
        if self.state.finish is None:
            self._arm()
        elif self._timer is not None:
            self._timer.cancel()  # wakes the caller's task, which keeps the timers

    def _elapsed(self) -> Elapsed:
        return Elapsed(self.clock())

    def _feed(self, event: Event) -> None:
        """Take an event in, and have its jobs begun, or done next when running inline."""
        self._pending += self._handle(event)
        self._arm()
        if self._tasks is not None:
            self._spawn_pending()

    def _spawn_pending(self) -> None:
        assert self._tasks is not None
        while self._pending:
            job = self._pending.pop(0)
            self._assign(job, self._tasks.start_soon(self._work, job))

    def _assign(self, job: Job, task: anyio.TaskHandle[None] | None) -> None:
        """Have the task cancelled with any attempt of the job."""
        for id_ in _attempts(job):
            self.attempts[id_].task = task

    async def _work(self, job: Job) -> None:
        """Do a job and then, in the same task, the first of the jobs it leads to."""
        while not self._dropped(job):
            done = self._judge(job) if type(job) is Judge else self._call(job)
            event = done if type(done) is Judged else await done
            if event is None:  # told already
                return
            self._pending += self._handle(event)
            # Cancelled, the task is of no use to others, though it may just have ended its job.
            if not self._pending or self._dropped(job) or not self._hand_over(job):
                break
            job = self._pending.pop(0)
            self._spawn_pending()  # the others, beside it
        self._spawn_pending()

    def _hand_over(self, ended: Job) -> bool:
        """Have the task of a job that has ended cancelled with the next job's attempts, only.

        False where the task is not known yet, as it runs before whoever made it goes on.
        """
        # Not in `_work`: a task keeps what it raises, and so the frames that know it.
        task = self.attempts[_attempts(ended)[0]].task
        self._assign(ended, None)
        self._assign(self._pending[0], task)
        return task is not None

    def _dropped(self, job: Job) -> bool:
        """Whether the job's attempts were cancelled, be it before their task ran."""
        return any(self.attempts[id_].cancelled is not None for id_ in _attempts(job))

    # Events in, actions out

    def _handle(self, event: Event) -> list[Job]:
        """Take an event in and carry its actions out, but for the jobs, which are returned."""
        state, overlaps = self.state, self.state.plan.overlaps
        if overlaps and event.at >= state.wake:
            # Before a replica is started for a stream that goes on.
            actions = self._tell_streamed() + state.handle(event)
        else:
            actions = state.handle(event)
        jobs: list[Job] = []
        for action in actions:
            if type(action) is Judge:
                jobs.append(action)
            elif type(action) is Start:
                target = self.tiers[action.tier].targets[action.member][action.choice]
                self.attempts.append(LiveAttempt(target, self.request, self.clock))
                self._open.append(action.attempt)
                jobs.append(action)
            elif type(action) is Cancel:
                attempt = self.attempts[action.attempt]
                attempt.cancelled = action.reason
                if attempt.task is not None:
                    attempt.task.cancel()
        if overlaps and self._tasks is not None:  # inline, it is looked at before it is waited for
            self._set_timer()
        if self.on_end is not None:
            self._tell_ended()
        if self.on_change is not None:
            self.on_change()
        return jobs

    def _tell_streamed(self) -> list[Action]:
        actions: list[Action] = []
        for id_, attempt in enumerate(self.attempts):
            if attempt.streamed_at is not None:  # even by then a timer may have been due
                actions += self.state.handle(Streamed(attempt.streamed_at, id_))
        return actions

    def _tell_ended(self) -> None:
        assert self.on_end is not None
        ended = [id_ for id_ in self._open if self.state.attempts[id_].ended is not None]
        for id_ in ended:
            self._open.remove(id_)
            self.on_end(id_)

    # Jobs

    async def _call(self, job: Start) -> Event | None:
        attempt = self.attempts[job.attempt]
        tier = self.tiers[job.tier]
        entered: Pass | None = None
        admission: Admission | None = None
        self._arm()
        try:
            if not tier.plain or job.repairs is not None:
                attempt.request = self._render(job)
            attempt.prefix = tier.prefix
            plan = self.state.plan
            if plan.overlaps and plan.tiers[job.tier].replica_after is not None:
                attempt.streamed_at = self.clock() if job.kind != "replica" else None
            target = attempt.target
            if tier.admits or self.purse is not None:
                admission = Admission(attempt, self.purse, tier.tier.timeout)
                await self._hold(job, admission.enter)
            if target.gate is not None:
                entered = target.gate.enter(self, self.clock())
                if entered.since is None:
                    await self._hold(job, partial(target.gate.wait, entered, self.clock))
            if self.state.attempts[job.attempt].ended is not None:
                return self._elapsed()  # it was given up while it waited
            if admission is not None:
                admission.begin()
            value = await attempt.begin()
            if attempt.cancelled is not None:
                return self._elapsed()  # what came all the same was told of as cancelled
            answer = attempt.take(value, allow_truncated=tier.tier.allow_truncated)
        except HopelessAnswer as hopeless:
            attempt.cut_off(hopeless.verdict)
            return Refused(self.clock(), job.attempt, hopeless.verdict)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  (see `failure`)
            # Without a name for it: its traceback holds this frame, which would hold it.
            return self._fail(job, await failure(error, attempt.target.name))
        finally:
            if entered is not None:
                self._leave(job, entered)
            if admission is not None:
                admission.leave()
        if answer is None:
            attempt.verdict = Verdict.reject("declined: no answer of its own", code="declined")
            return Declined(self.clock(), job.attempt)
        enough = tier.enough is not None and self._enough(job, tier.enough)
        return Answered(self.clock(), job.attempt, enough)

    async def _hold(self, job: Start, wait: Callable[[], Awaitable[None]]) -> None:
        """Wait for what is not the attempt's own doing, without its timeout running."""
        self._feed(Held(self.clock(), job.attempt))
        await wait()
        self._feed(Began(self.clock(), job.attempt))

    def _leave(self, job: Start, entered: Pass) -> None:
        """Hand the pass back, and say what came of the attempt."""
        attempt, now = self.attempts[job.attempt], self.clock()
        gate, error = attempt.target.gate, attempt.error
        assert gate is not None
        if attempt.answer is None and error is None and attempt.cancelled in (None, "timeout"):
            # Who was outrun may end late, and has not timed out for that.
            deadline = self.state.attempts[job.attempt].deadline
            if deadline <= now and deadline < self.state.deadline:  # its own, not the caller's
                error = APITimeoutError("no whole answer in time")
        first, whole = attempt.first_token, attempt.whole
        gate.leave(entered, now, attempt.answer, error, first, whole, attempt.declined)

    def _enough(self, job: Start, enough: Callable[..., bool]) -> bool:
        """Whether, with this one, the tier's answers so far settle its verdict."""
        answers = [
            attempt.answer
            for attempt, state in zip(self.attempts, self.state.attempts, strict=True)
            if state.tier == job.tier
            and (state.phase == "answered" or state.id == job.attempt)
            and attempt.answer is not None
        ]
        try:
            return bool(enough(answers, self.tiers[job.tier].tier.members))
        except Exception:  # noqa: BLE001  (a verifier is anyone's code; it will be asked again)
            return False

    def _render(self, job: Start) -> Request:
        if job.tier not in self._rendered:
            tier = self.tiers[job.tier]
            self._rendered[job.tier] = tier.render(self.request, self._variables)
        request = self._rendered[job.tier]
        if job.repairs is None:
            return request
        rejected = self.attempts[job.repairs]
        assert rejected.answer is not None
        assert rejected.verdict is not None
        return _with_feedback(request, rejected.answer, rejected.verdict.reason)

    def _fail(self, job: Start, error: CascadeError) -> Event:
        if self.attempts[job.attempt].cancelled is not None:
            return self._elapsed()
        if error.attempt is not None:  # one instance, raised again: the first record keeps it
            error = copy(error)
        error.policy, error.tier = self.name, self.tiers[job.tier].tier.name
        error.attempt = job.attempt + 1
        self.attempts[job.attempt].error = error
        if not isinstance(error, ProviderError) or not error.retryable:
            return Failed(self.clock(), job.attempt)
        if error.retry_after is not None and error.retry_after > PATIENCE:
            return Failed(self.clock(), job.attempt)
        tries = sum(
            other.tier == job.tier and other.member == job.member and other.choice == job.choice
            for other in self.state.attempts
        )
        delay = full_jitter(self._engine.random, tries, error.retry_after)
        return Failed(self.clock(), job.attempt, retryable=True, delay=delay)

    def _judge(self, job: Judge) -> Judged | Awaitable[Judged | None]:
        if self.tiers[job.tier].group is not None:
            return self._judge_group(job)
        id_, *others = job.attempts
        if others:
            return self._judge_each(job)
        began = self.clock()
        verdict = self._check(job.tier, id_)
        if isinstance(verdict, Verdict):
            return self._judged(id_, verdict, began)
        return self._judge_waiting(id_, verdict, began)

    def _check(self, tier: int, id_: int) -> Verdict | Awaitable[Verdict]:
        verifier = self.tiers[tier].verifier
        assert verifier is not None
        attempt = self.attempts[id_]
        return check(self._engine, verifier, self.request, attempt, self._asked, self.purse)

    def _judged(self, id_: int, verdict: Verdict, began: float) -> Judged:
        now = self.clock()
        self.attempts[id_].verdict = timed = verdict.timed(now - began)
        return Judged(now, (id_,), (timed,))

    async def _judge_waiting(self, id_: int, verdict: Awaitable[Verdict], began: float) -> Judged:
        self._arm()
        return self._judged(id_, await verdict, began)

    async def _judge_group(self, job: Judge) -> Judged:
        group = self.tiers[job.tier].group
        assert group is not None
        began = self.clock()
        attempts = [self.attempts[id_] for id_ in job.attempts]
        verdicts = await check_group(
            self._engine, group, self.request, attempts, self._asked, self.purse
        )
        now = self.clock()
        timed = tuple([verdict.timed(now - began) for verdict in verdicts])
        for attempt, verdict in zip(attempts, timed, strict=True):
            attempt.verdict = verdict
        return Judged(now, job.attempts, timed)

    async def _judge_each(self, job: Judge) -> None:
        """Judge several; each is told at once, so that a slow check costs no other its verdict."""

        async def judge(id_: int) -> None:
            began = self.clock()
            verdict = self._check(job.tier, id_)
            if not isinstance(verdict, Verdict):
                verdict = await verdict
            self._feed(self._judged(id_, verdict, began))

        async with anyio.create_task_group() as tasks:
            for id_ in job.attempts:
                tasks.start_soon(judge, id_)


def _attempts(job: Job) -> tuple[int, ...]:
    return (job.attempt,) if type(job) is Start else job.attempts


def _with_feedback(request: Request, answer: Answer, reason: str) -> Request:
    """The conversation so far, the rejected answer, and why it was rejected."""
    messages = [
        *request.messages,
        Message("assistant", answer.text or None, tool_calls=answer.tool_calls),
        # Chat completions want every tool call answered before anything else is said.
        *(Message("tool", reason, tool_call_id=call.id) for call in answer.tool_calls),
        Message(
            "user",
            f"That answer was not accepted: {reason}\n"
            "Answer the original request again, with this corrected and nothing else changed.",
        ),
    ]
    return replace(request, messages=tuple(messages))


def only(group: BaseException) -> BaseException:
    """The one exception in a group of one; the group itself when there are more."""
    while isinstance(group, BaseExceptionGroup) and len(group.exceptions) == 1:
        group = group.exceptions[0]
    return group
