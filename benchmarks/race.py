"""How close a race comes to the fastest of its tiers, and how fast its losers are gone.

    python -m benchmarks.race [--races N] [--in-flight N] [--mean SECONDS] [--json] [--plot FILE]
                              [--max NAME=VALUE] [--check]

A server in a process of its own answers each of the three tiers of a race after a delay drawn from
a log-normal distribution; the draws are known here, so the smallest of the three is what somebody
who knew them would need: the clairvoyant minimum. Headers come after a third of a delay, and the
answer's five tokens over the rest. Races arrive on their own (Poisson), whether or not earlier
ones have ended, so that about ``--in-flight`` of them run at once. Every other race is run by hand
over the same provider, with `asyncio.wait` and `Task.cancel`, and without a check: what the clients
and the machine need by themselves.

excess    latency less the clairvoyant minimum. The server's timers are late too (asyncio rounds
          them up to whole milliseconds, six times an answer): by how much, its records tell, and
          ``net`` is the excess without it. ``before`` is the part until the server had the winner's
          request, as cancelled losers' connections must be opened anew; ``after`` the part since it
          wrote the winner's last byte, the wait for the losers included.
closed    from the acceptance of the winner to the moment the server saw the last loser's
          connection closed, on the clock that both processes share. Losers that had ended before
          are not in it. By hand it is counted from the winner's return.

With ``--max NAME=VALUE`` the exit code is 1 when that figure is greater; ``--check`` does so with
the limits in `TARGETS`. What else the machine does shows here at once: a process that wakes up must
wait for a processor. The load average is printed for that reason.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.contenders import SCHEMA
from benchmarks.limits import add_limits, exceeded
from benchmarks.race_report import plot, table
from benchmarks.serving import ANSWER
from benchmarks.turns import percentile
from cascade import Answer, Call, Engine, Policy, Request, Tier
from cascade.providers.openai import OpenAIProvider
from cascade.testing import FaultyServer, Reply, ServedRequest
from cascade.verdict import Verdict
from cascade.verifiers import JsonSchema

MODELS = ("a", "b", "c")
SIGMA = 0.5
TARGETS = {
    "net_p50_ms": 1.0,
    "net_p99_ms": 5.0,
    "closed_p50_ms": 1.0,
    "closed_p99_ms": 10.0,
}


@dataclass(slots=True)
class Race:
    """One race: the draws, and what happened at what time."""

    number: int
    ours: bool
    delays: Sequence[float]
    began: float = 0.0
    accepted: float = 0.0
    ended: float = 0.0
    served: dict[str, Served] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Served:
    """The server's record of one request."""

    started: float
    finished: float | None
    aborted: float | None


def delays(number: int, mean: float) -> list[float]:
    """The draws of a race in seconds, the same in both processes."""
    random = Random(number)  # noqa: S311  (a draw, no secret)
    return [mean * random.lognormvariate(-SIGMA * SIGMA / 2, SIGMA) for _ in MODELS]


def reply(request: ServedRequest, mean: float) -> Reply:
    """What the server answers: the prompt is the number of the race."""
    number = int(request.body["messages"][0]["content"])
    delay = delays(number, mean)[MODELS.index(request.model)]
    words = ANSWER.split(" ")
    tokens = [word if at == 0 else f" {word}" for at, word in enumerate(words)]
    return Reply(tokens=tokens, delay=delay / 3, token_delay=delay * 2 / 3 / len(tokens))


def serve(pipe: Connection, mean: float) -> None:
    """The server's process: serve until told to stop, then hand the records over."""
    with FaultyServer(default=lambda request: reply(request, mean)) as server:
        pipe.send(server.base_url)
        pipe.recv()
        pipe.send(
            [
                (
                    int(found.body["messages"][0]["content"]),
                    found.model,
                    Served(found.started, found.finished, found.aborted),
                )
                for found in server.requests
            ]
        )
        pipe.send(time.process_time())


class Noting:
    """Checks as `JsonSchema` does, and notes when each race had its first accepted answer."""

    def __init__(self, races: Sequence[Race]) -> None:
        self._check = JsonSchema(SCHEMA)
        self._races = races

    def verify(self, request: Request, answer: Answer) -> Any:
        """See `cascade.Verifier`."""
        verdict = self._check.verify(request, answer)
        race = self._races[int(request.text)]
        if isinstance(verdict, Verdict) and verdict.accepted and not race.accepted:
            race.accepted = time.monotonic()
        return verdict


async def run(base_url: str, races: Sequence[Race], rate: float) -> dict[str, Any]:
    """Start the races as they arrive, and wait for all."""
    random = Random(0)  # noqa: S311  (arrivals, no secret)
    running = most = 0
    seen: list[int] = []
    async with Engine() as engine:
        provider = OpenAIProvider(engine, base_url=base_url, api_key="none")
        check = Noting(races)
        tiers = [
            Tier(f"openai:{model}", base_url=base_url, api_key="none", verify=check)
            for model in MODELS
        ]
        policy = Policy("race", tiers, start_after=0)

        async def one(race: Race) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            seen.append(running)
            race.began = time.monotonic()
            if race.ours:
                text = (await engine.run(policy, str(race.number))).text
            else:
                text = await by_hand(provider, race)
            race.ended = time.monotonic()
            running -= 1
            assert text == ANSWER

        gc.freeze()
        tasks = []
        cpu, due = time.process_time(), time.monotonic()
        for race in races:
            due += random.expovariate(rate)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            tasks.append(asyncio.ensure_future(one(race)))
        await asyncio.gather(*tasks)
        spent = time.process_time() - cpu
    return {
        "in_flight": percentile(seen, 50),
        "most_in_flight": most,
        "client": type(engine.transport).__name__,
        "cpu_us": spent / len(races) * 1e6,
    }


async def by_hand(provider: OpenAIProvider, race: Race) -> str:
    """The same three requests without the engine: take the first answer, cancel the others."""
    request = Request.of(str(race.number))
    calls = [Call(model, request) for model in MODELS]
    tasks = [asyncio.ensure_future(provider.complete(call)) for call in calls]
    done, losers = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    race.accepted = time.monotonic()
    for task in losers:
        task.cancel()
    if losers:
        await asyncio.wait(losers)
    return done.pop().result().text


def summary(races: Sequence[Race]) -> dict[str, Any]:
    """Milliseconds: p50, p90 and p99 of everything."""
    excess, net, late, before, after, closed = [], [], [], [], [], []
    for race in races:
        over = race.ended - race.began - min(race.delays)
        ended = [served for served in race.served.values() if served.finished is not None]
        # Of the answer that came first, whichever was to come first.
        winner = min(ended, key=lambda served: served.finished or 0.0)
        assert winner.finished is not None
        slow = winner.finished - winner.started - min(race.delays)
        before.append(winner.started - race.began)
        after.append(race.ended - winner.finished)
        excess.append(over)
        late.append(slow)
        net.append(over - slow)
        gone = [served.aborted for served in race.served.values() if served.aborted is not None]
        if gone:
            closed.append(max(gone) - race.accepted)
    values = {
        "excess": excess,
        "server_late": late,
        "net": net,
        "before": before,
        "after": after,
        "closed": closed,
    }
    return {
        "races": len(races),
        "races_with_losers": len(closed),
        **{
            name: {f"p{share}_ms": percentile(found, share) * 1e3 for share in (50, 90, 99)}
            for name, found in values.items()
            if found
        },
    }


def measure(count: int, in_flight: int, mean: float) -> dict[str, Any]:
    """Run the server and the races, and put both sides' records together."""
    races = [Race(number, number % 2 == 0, delays(number, mean)) for number in range(count)]
    warm = min(in_flight, count // 5)  # until so many are in flight, and connections are open
    rate = in_flight / (sum(min(race.delays) for race in races) / count)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, mean), daemon=True)
    process.start()
    theirs.close()
    try:
        load = asyncio.run(run(ours.recv(), races, rate))
        ours.send("stop")
        for number, model, served in ours.recv():
            races[number].served[model] = served
        load["server_cpu_us"] = ours.recv() / (len(MODELS) * count) * 1e6
    finally:
        ours.close()
        process.join(5)
        process.terminate()
    measured = races[warm:]
    found: dict[str, Any] = {
        "load": {**load, "rate": rate, "mean_s": mean, "left_out": warm},
        "race": summary([race for race in measured if race.ours]),
        "by_hand": summary([race for race in measured if not race.ours]),
    }
    found["figures"] = {
        f"{name}_{share}_ms": found["race"][name][f"{share}_ms"]
        for name in ("net", "closed", "excess")
        for share in ("p50", "p99")
    }
    for share in ("p50", "p99"):
        ours_net, hand_net = (found[kind]["net"][f"{share}_ms"] for kind in ("race", "by_hand"))
        found["figures"][f"over_by_hand_{share}_ms"] = ours_net - hand_net
    return found


def main() -> int:
    """Measure, print, and say by the exit code whether the limits hold."""
    parser = argparse.ArgumentParser(description="Races against the clairvoyant minimum.")
    parser.add_argument("--races", type=int, default=4000, help="how many, both kinds together")
    parser.add_argument("--in-flight", type=int, default=100, help="races at once, on average")
    parser.add_argument("--mean", type=float, default=1.0, help="of a tier's delay, in seconds")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the distributions")
    add_limits(parser, TARGETS)
    options = parser.parse_args()
    if options.races < 10 or options.in_flight < 1 or options.mean <= 0:
        parser.error("--races needs 10 or more, --in-flight 1 or more, --mean more than 0")
    before = os.getloadavg()[0]
    found = measure(options.races, options.in_flight, options.mean)
    found["machine"] = {"cores": os.cpu_count(), "load": (before, os.getloadavg()[0])}
    print(json.dumps(found) if options.json else table(found, TARGETS))
    if options.plot is not None:
        plot(found, options.plot)
    late = exceeded(found["figures"], options, TARGETS)
    for line in late:
        print(line, file=sys.stderr)
    return int(bool(late))


if __name__ == "__main__":
    sys.exit(main())
