"""The parts of `overhead` that look at the engine alone: what it adds, and what a race adds."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from itertools import compress
from pathlib import Path
from statistics import median
from typing import Any, TextIO

from benchmarks.contenders import PROMPT, one_tier, race_of_three
from benchmarks.serving import ANSWER, MODEL
from benchmarks.turns import differences, percentile, quartiles, turn
from cascade import Answer, Call, Engine, Request
from cascade.providers.openai import OpenAIProvider

BLOCK = 250
"""Calls of each kind between which 99th percentiles are compared."""

MANY = (64, 32)
LONG = (320, 32)
"""Calls a turn and in flight."""

WARM_UP = 30
"""Rounds before those that count: they open connections and warm caches."""

Way = Callable[[], Awaitable[object]]


async def measure_added(base_url: str, *, quick: bool) -> dict[str, Any]:
    """One verified tier over its own provider: one call at a time, and 32 in flight."""
    async with Engine() as engine:
        provider = OpenAIProvider(engine, base_url=base_url, api_key="none")
        request = Request.of(PROMPT)
        policy = one_tier(base_url, MODEL)

        async def bare() -> None:
            answer = await provider.complete(Call(MODEL, request))
            assert answer.text == ANSWER

        async def verified() -> None:
            result = await engine.run(policy, PROMPT)
            assert result.parsed == {"label": "billing", "urgent": False}

        held = one_tier(base_url, "held")

        async def bare_held() -> float:
            return _held(await provider.complete(Call("held", request)))

        async def verified_held() -> float:
            return _held((await engine.run(held, PROMPT)).answer)

        one = await _alternate(bare, verified, blocks=1 if quick else 16)
        many = await _beside(bare_held, verified_held, turns=1 if quick else 12)
        busy = await _in_turns(bare, verified, turns=15 if quick else 100)
    return {"client": type(engine.transport).__name__, "one": one, "many": many, "busy": busy}


def _held(answer: Answer) -> float:
    """Seconds for which the server held this answer back."""
    assert answer.text == ANSWER
    assert answer.request_id is not None
    return int(answer.request_id) / 1e6


async def _beside(
    bare: Callable[[], Awaitable[float]], verified: Callable[[], Awaitable[float]], *, turns: int
) -> dict[str, Any]:
    """Turns with 32 in flight at a server that takes its time, which is taken off each latency."""
    medians: dict[str, list[float]] = {"bare": [], "verified": []}
    for number in range(turns + 3):
        for name, way in (("bare", bare), ("verified", verified)):
            net: list[float] = []

            async def ask(
                way: Callable[[], Awaitable[float]] = way, net: list[float] = net
            ) -> None:
                began = time.perf_counter()
                held = await way()
                net.append((time.perf_counter() - began - held) * 1e6)

            await turn(ask, *LONG)  # a short one would be all its start, when 32 begin at once
            if number >= 3:
                medians[name].append(median(net))
    return {
        "concurrency": MANY[1],
        "calls": turns * LONG[0],
        "bare_us": quartiles(medians["bare"]),
        "verified_us": quartiles(medians["verified"]),
        "added_us": quartiles(differences(medians["verified"], medians["bare"])),
    }


async def _alternate(bare: Way, verified: Way, *, blocks: int) -> dict[str, Any]:
    """Call by call, so that even a short mood of the machine meets all.

    A round in which the system took the processor away, for another process to have it, is left
    out for all: its time is not ours. Where few are left, the machine is too busy for that.
    """
    kinds = {"bare": bare, "verified": verified}
    if find_spec("structlog") is not None:
        kinds["logged"] = verified
    rounds: list[dict[str, tuple[float, float]]] = []
    calm: list[bool] = []
    order = list(kinds)
    for number in range(blocks * BLOCK + WARM_UP):
        before, times = _preempted(), {}
        for name in order:
            with _json_lines(on=name == "logged"):
                spent, began = time.process_time(), time.perf_counter()
                await kinds[name]()
                took, used = time.perf_counter() - began, time.process_time() - spent
            times[name] = took * 1e6, used * 1e6
        if number >= WARM_UP:
            rounds.append(times)
            calm.append(_preempted() == before)
        order.append(order.pop(0))  # nobody always comes after the same one
    undisturbed = list(compress(rounds, calm))
    kept = undisturbed if len(undisturbed) >= len(rounds) / 4 else rounds
    wall = {name: [times[name][0] for times in kept] for name in kinds}
    cpu = {name: [times[name][1] for times in kept] for name in kinds}
    found: dict[str, Any] = {
        "rounds": len(rounds),
        "kept": len(kept),
        "bare": {f"p{share}_us": percentile(wall["bare"], share) for share in (50, 90, 99)},
    }
    for name, kind in (("added", "verified"), ("logged", "logged")):
        if kind in kinds:
            tails = [
                percentile(wall[kind][at : at + BLOCK], 99)
                - percentile(wall["bare"][at : at + BLOCK], 99)
                for at in range(0, max(1, len(wall["bare"]) - BLOCK // 2), BLOCK)
            ]
            found[name] = {
                "p50_us": quartiles(differences(wall[kind], wall["bare"])),
                "p99_us": quartiles(tails),
                "cpu_us": quartiles(differences(cpu[kind], cpu["bare"])),
            }
    return found


async def _in_turns(bare: Way, verified: Way, *, turns: int) -> dict[str, Any]:
    found: dict[str, list[float]] = {"bare": [], "verified": []}
    for number in range(turns + 3):
        for name, way in (("bare", bare), ("verified", verified)):
            taken = await turn(way, *MANY)
            if number >= 3:
                found[name].append(taken.cpu * 1e6)
    return {
        "concurrency": MANY[1],
        "bare_us": quartiles(found["bare"]),
        "verified_us": quartiles(found["verified"]),
        "added_us": quartiles(differences(found["verified"], found["bare"])),
    }


async def measure_race(base_url: str, *, quick: bool) -> dict[str, Any]:
    """A race of three beside its three calls, raced by hand and read to their end."""
    async with Engine() as engine:
        provider = OpenAIProvider(engine, base_url=base_url, api_key="none")
        request = Request.of(PROMPT)
        policy = race_of_three(base_url, MODEL)

        async def race() -> None:
            assert (await engine.run(policy, PROMPT)).text == ANSWER

        async def by_hand() -> None:
            calls = [Call(model, request) for model in (MODEL, "slow", "slow")]
            tasks = [asyncio.ensure_future(provider.complete(call)) for call in calls]
            done, losers = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in losers:
                task.cancel()
            await asyncio.wait(losers)
            assert done.pop().result().text == ANSWER

        async def whole() -> None:
            for _ in range(3):
                assert (await provider.complete(Call(MODEL, request))).text == ANSWER

        ways = {"whole": whole, "by_hand": by_hand, "race": race}
        cpu: dict[str, list[float]] = {name: [] for name in ways}
        for number in range((12 if quick else 120) + 3):
            for name, way in ways.items():
                taken = await turn(way, 5, 1)
                if number >= 3:
                    cpu[name].append(taken.cpu * 1e6)
    return {
        **{f"{name}_cpu_us": quartiles(times) for name, times in cpu.items()},
        "over_by_hand_us": quartiles(differences(cpu["race"], cpu["by_hand"])),
        "over_whole_us": quartiles(differences(cpu["race"], cpu["whole"])),
    }


@contextmanager
def _json_lines(*, on: bool) -> Iterator[None]:
    """As an application would set structlog up for JSON lines, but that they go nowhere."""
    if not on:
        yield
        return
    import structlog

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(20),
        logger_factory=structlog.PrintLoggerFactory(file=_nowhere()),
    )
    try:
        yield
    finally:
        structlog.reset_defaults()


@cache
def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


def _preempted() -> int:
    """How often the system has taken the processor away from this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
