"""Many calls against a server that fails at random, and whether both tell the same story of them.

    python -m benchmarks.soak [--calls N] [--rate R] [--in-flight N] [--seed S] [--json]

A `FaultyServer` in a process of its own answers half of the requests well and half with one of some
fifty faults, in five wire formats. Here cascades, races and hedges with retries, repairs, replicas
and ensembles are mixed over both transports, arriving at random (Poisson), with a bound on those in
flight. One caller in six is cancelled, half of them by an anyio scope, half natively. One tier in
eight is at a port that refuses, never reads or speaks no TLS, or has a name that does not resolve.

Asserted, with exit code 1 and the first call that differs when it is not so:

- every attempt we recorded was seen by the server as far as it must have been
  (benchmarks/load_ledger.py), and the server has seen nothing else: starts, finishes, aborts, and
  the tokens of each answer;
- the log events tell the same attempts as the results and errors. Of a call whose caller was
  cancelled there is no result: its attempts are those of the log;
- when all is over, no task, connection, file or call is left, here and at the server, and no
  reservation: of money, or of a place at a provider's limit;
- memory is flat in the second half of the run (of 40,000 calls and more: before, the bounded
  buffers of each model fill up). Three figures say so, each the slope of a line through samples
  (benchmarks/load_memory.py): what is in use, large and small, and what is resident.

Not among the faults, because they would take most of the time: connecting that times out, bodies of
100 MB, and streams of a million chunks. They are in the fault matrix (tests/faults).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any, Final

import anyio
import anyio.to_thread

from benchmarks.load_calls import GRACE, Books, Call, Listener, current
from benchmarks.load_faults import RemoteServer, Status, faulty_server
from benchmarks.load_memory import LEAST_CALLS, Samples
from benchmarks.load_policies import mixed_policies, places_of
from benchmarks.load_report import Report, shape, summary
from cascade import CallError, Engine, Policy, Result
from cascade.live import LiveCall

TRANSPORTS: Final = ("aiohttp", "httpx")
_RESTS: Final = 10
_SLOWEST_END: Final = 30.0  # seconds that the server may take to see the last connection close


class ShortWaits(Random):
    """Jitter of a fiftieth, so that the waits before retries do not take most of the time."""

    def uniform(self, a: float, b: float) -> float:
        """A fiftieth of what is asked for."""
        return super().uniform(a, b) / 50


class Soak:
    """One run."""

    def __init__(self, server: RemoteServer, *, calls: int, seed: int, in_flight: int) -> None:
        self._server = server
        self._calls = calls
        self._random = Random(seed)  # noqa: S311  (no secret)
        self._slots = anyio.Semaphore(in_flight)
        self._asking = anyio.Lock()
        self._books = Books()
        self._outcomes: Counter[str] = Counter()
        self._memory = Samples()
        self._begun = self._over = self._held = 0
        self._seconds = 0.0
        self._status = Status([], 0, 0, 0, 0, 0, 0)

    async def run(self, rate: float) -> Report:
        """Make the calls, wait for the server, and look at what is left."""
        started = time.monotonic()
        tasks_before, files_before, limits = len(asyncio.all_tasks()), _open_files(), 0
        with places_of(self._server.url) as places:
            policies = mixed_policies(places, self._random)
            async with AsyncExitStack() as stack:
                engines = {
                    name: await stack.enter_async_context(
                        Engine(http=name, random=ShortWaits(1), budget=self._books.money)
                    )
                    for name in TRANSPORTS
                }
                async with anyio.create_task_group() as watch:
                    watch.start_soon(self._watch)
                    async with anyio.create_task_group() as tasks:
                        await self._arrive(tasks, engines, policies, rate)
                    self._seconds = time.monotonic() - started
                    await self._wait_for_the_server()
                    watch.cancel_scope.cancel()
                    limits = sum(map(_held_at_limits, engines.values()))
            await self._until(lambda status: status.connections == 0)
            del engines, policies
        for _ in range(50):  # connections are closed in the loop's next turns
            await asyncio.sleep(0.1)
            if _open_files() <= files_before and len(asyncio.all_tasks()) <= tasks_before:
                break
        gc.collect()
        left = {
            "tasks": len(asyncio.all_tasks()) - tasks_before,
            "open files": _open_files() - files_before,
            "connections at the server": self._status.connections,
            "requests running at the server": self._status.running,
            "places at a provider's limit": limits,
            "reservations of money": len(self._books.money.held),
            "calls in memory": sum(isinstance(it, LiveCall) for it in gc.get_objects()),
        }
        return Report(
            self._begun,
            self._seconds,
            self._held,
            self._outcomes,
            self._books,
            self._status,
            self._memory.growth(self._calls / 2),
            left,
        )

    async def _arrive(
        self,
        tasks: anyio.abc.TaskGroup,
        engines: dict[str, Engine],
        policies: list[Policy],
        rate: float,
    ) -> None:
        due, rest = time.monotonic(), self._calls // _RESTS
        for number in range(self._calls):
            due += self._random.expovariate(rate)
            await anyio.sleep(max(0.0, due - time.monotonic()))
            try:
                self._slots.acquire_nowait()
            except anyio.WouldBlock:
                self._held += 1
                await self._slots.acquire()
                due = max(due, time.monotonic())  # no burst to make up for it
            transport = self._random.choice(TRANSPORTS)
            policy = self._random.choice(policies)
            call = self._books.begin(number, policy.name, transport)
            self._begun += 1
            tasks.start_soon(self._call, engines[transport], policy, call)
            if self._calls >= LEAST_CALLS and (number + 1) % rest == 0:
                await self._rest()
                due = time.monotonic()

    async def _rest(self) -> None:
        """Wait until all calls are settled, and see how much memory is in use then."""
        await self._until(lambda _: self._books.settled == self._begun)
        self._memory.take_at_rest(self._over)

    async def _call(self, engine: Engine, policy: Policy, call: Call) -> None:
        current.set(call)
        told: Result | CallError | None = None
        outcome = "cancelled"
        prompt = f"This is call {call.number}. Say yes."
        try:
            told = await self._perhaps_cancelled(engine, policy, prompt)
        except CallError as error:
            told = error
            outcome = "deadline" if "Deadline" in type(error).__name__ else "exhausted"
        except Exception as error:  # noqa: BLE001  (anything else is what we look for)
            self._books.differ(f"{call} raised {type(error).__name__}: {error}")
            outcome = "error"
        if isinstance(told, Result):
            outcome = told.outcome
        self._slots.release()
        self._over += 1
        self._outcomes[outcome] += 1
        self._books.end(call, outcome, told)
        del told  # an error holds this frame by its traceback, and the frame would hold the error

    async def _perhaps_cancelled(
        self, engine: Engine, policy: Policy, prompt: str
    ) -> Result | None:
        """The result, or None when the caller was cancelled before there was one."""
        luck, after = self._random.random(), self._random.uniform(0.0, 0.1)
        if luck < 1 / 12:
            with anyio.move_on_after(after):
                return await engine.run(policy, prompt)
            return None
        if luck > 2 / 12:
            return await engine.run(policy, prompt)
        task = asyncio.ensure_future(engine.run(policy, prompt))
        handle = asyncio.get_running_loop().call_later(after, task.cancel)
        await asyncio.wait([task])
        handle.cancel()
        return None if task.cancelled() else task.result()

    # The server's side

    async def _watch(self) -> None:
        while True:
            await self._ask()
            self._memory.take(self._over)
            self._progress()
            await anyio.sleep(0.5)

    async def _ask(self) -> None:
        async with self._asking:
            asked = time.monotonic()
            self._status = await anyio.to_thread.run_sync(self._server.status)
            self._books.add(self._status.ended)
            self._books.settle(asked)

    async def _wait_for_the_server(self) -> None:
        await anyio.sleep(GRACE)
        await self._until(lambda status: status.running == 0)
        await anyio.sleep(1.0)

    async def _until(self, holds: Any) -> None:
        with anyio.move_on_after(_SLOWEST_END):
            while True:
                await self._ask()
                if holds(self._status):
                    return
                await anyio.sleep(0.1)

    def _progress(self) -> None:
        if sys.stderr.isatty():
            line = (
                f"\r{self._over:,} of {self._calls:,} calls, {self._begun - self._over} in flight, "
                f"{self._books.settled:,} settled, {self._books.differing} differ, "
                f"{self._memory.resident[-1][1] / 1024:.0f} MB "
            )
            print(line, end="", file=sys.stderr, flush=True)


def _held_at_limits(engine: Engine) -> int:
    """Attempts that have a place at a provider's limit, or are in wait for one."""
    limiters = [turnstile.limiter for turnstile in engine._providers.turnstiles.values()]
    return sum(limiter.in_flight + limiter.waiting for limiter in limiters)


def _open_files() -> int:
    folder = Path("/dev/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def soak(*, calls: int, rate: float, in_flight: int, seed: int) -> Report:
    """Run it. Log events are listened to meanwhile."""
    logger = logging.getLogger("cascade")
    listener, level, spreads = Listener(), logger.level, logger.propagate
    logger.addHandler(listener)
    logger.setLevel(logging.DEBUG)  # or accepted attempts were told of by their calls alone
    logger.propagate = False
    try:
        with faulty_server(seed) as server:
            run = Soak(server, calls=calls, seed=seed, in_flight=in_flight)
            return asyncio.run(run.run(rate))
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)
        logger.propagate = spreads


def main() -> int:
    """Run, print, and say by the exit code whether all is well."""
    parser = argparse.ArgumentParser(description="Whether our ledger and the server's agree.")
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=400.0, help="arrivals a second")
    parser.add_argument("--in-flight", type=int, default=200, help="calls at a time, at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument(
        "--max-growth", type=float, default=40.0, help="kB of heap per thousand calls"
    )
    options = parser.parse_args()
    report = soak(
        calls=options.calls, rate=options.rate, in_flight=options.in_flight, seed=options.seed
    )
    if sys.stderr.isatty():
        print(file=sys.stderr)
    problems = report.problems(options.max_growth)
    if options.json:
        print(json.dumps(shape(report, problems)))
    else:
        print(summary(report))
    if problems:
        print(f"\nNOT the same story: {problems[0]}", file=sys.stderr)
        print(f"({len(problems) - 1} more problems)", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
