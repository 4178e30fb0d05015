"""Whether a budget holds: many processes, many races at once, some killed; and what it costs.

    python -m benchmarks.budget [--processes N] [--races N] [--kill N] [--rounds N] [--json]
                                [--max NAME=VALUE] [--check]

A server in a process of its own answers all tiers, a token at a time, and keeps a ledger of its
own: what each request's prompt and the tokens it wrote come to at the price of its model. It knows
nothing of the budget. ``--processes`` processes, each with an engine, run ``--races`` races of
three tiers at once, again and again, against a budget of $1 for all of them in one database, until
each has been refused. Losers are cancelled in the middle of their streams, as ever.

overspent   what the server's ledger, or the budget's, has beyond the limit, in nano-dollars: 0 or
            less, or the budget is void.
unbooked    what the server's ledger has beyond what the budget counts as spent: 0 or less likewise.
stranded    what is still set aside when every process has ended: 0.
reserve     microseconds from asking for a reservation to having it, each settled at once: by one
            caller alone, by one in each of the processes together, and by ``--races`` callers at a
            time in each.

With ``--kill N``, N of the processes are killed (SIGKILL) in the midst of their races, each at a
random moment; whoever next looks then books what they had set aside as orphans. The same three
figures must be 0, in each of the ``--rounds``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.limits import add_limits, exceeded
from benchmarks.turns import percentile
from cascade import Engine, Policy, Price, Tier
from cascade.cost import FREE
from cascade.errors import CallError
from cascade.testing import FaultyServer, Reply, ServedRequest
from cascade_policies.budget import BudgetSettings, LedgerBudget
from cascade_policies.budget.accounts import Accounts
from cascade_policies.budget.entries import ALL
from cascade_policies.budget.money import NANO
from cascade_policies.budget.standing import Standing, read_standing
from cascade_policies.ledger.database import connect

LIMIT = 1.0
TASK = "race"
MAX_TOKENS = 12
DEARER = "CASCADE_BENCHMARK_DEARER"
"""A factor on the prices, for a run that is to be short; processes inherit it."""
PROMPT = "Say how many parcels are still on their way, in one short sentence, please."
PRICES = {  # dollars per million tokens, in and out: a thousand races at once set $1 aside
    "small": (1, 4),
    "mid": (2, 8),
    "large": (4, 16),
}
TARGETS = {"overspent_nanos": 0.0, "unbooked_nanos": 0.0, "stranded_nanos": 0.0}
_SPAWN = multiprocessing.get_context("spawn")  # a fork would take the parent's threads for its own


def settings() -> BudgetSettings:
    """One limit for all, in the widest window, so that no run sees two."""
    return BudgetSettings(month=LIMIT)


def price_of(model: str) -> Price:
    """What the model costs."""
    factor = int(os.environ.get(DEARER, "1"))
    paid_in, paid_out = PRICES[model]
    return Price(input=paid_in * factor, output=paid_out * factor)


def policy(base_url: str) -> Policy:
    """A race of three tiers whose answers are all accepted: the first wins."""
    tiers = [
        Tier(
            f"openai:{name}",
            base_url=base_url,
            api_key="none",
            price=price_of(name),
            params={"max_tokens": MAX_TOKENS},
            retries=0,
        )
        for name in PRICES
    ]
    return Policy(TASK, tiers, start_after=0)


# The server


def reply(request: ServedRequest) -> Reply:
    """Twelve tokens at most, in a time and a number that depend on the request alone."""
    random = Random(request.number)  # noqa: S311  (a draw, no secret)
    count = random.randint(3, MAX_TOKENS)
    return Reply(
        tokens=[f"w{n} " for n in range(count)],
        delay=random.uniform(0.0, 0.02),
        token_delay=random.uniform(0.0005, 0.004),
    )


def billed(requests: Sequence[ServedRequest]) -> int:
    """What the server charges, in nano-dollars: each prompt, and each token that it wrote."""
    total = 0.0
    for request in requests:
        price = price_of(request.model)
        words = sum(len(message["content"].split()) for message in request.body["messages"])
        # Whole dollars per million tokens are whole thousands of nano-dollars a token: exact.
        total += 1000 * (words * price.input + request.tokens_sent * price.output)
    return int(total)


def serve(pipe: Connection) -> None:
    """The server's process: serve until told to stop, then say what was charged."""
    with FaultyServer(default=reply) as server:
        pipe.send(server.base_url)
        pipe.recv()
        server.wait_for(lambda: server.open_connections == 0, timeout=30.0)
        pipe.send((billed(server.requests), len(server.requests)))


# The processes that spend


@dataclass(frozen=True, slots=True)
class Spent:
    """What one process saw.

    Attributes:
        answered: races with an answer.
        refused: races without one: at the end, the money was gone.
    """

    answered: int
    refused: int


def spend(pipe: Connection, path: str, base_url: str, races: int) -> None:
    """Race until there is no money left."""
    pipe.send("ready")
    pipe.recv()
    pipe.send(asyncio.run(_spend(path, base_url, races)))


async def _spend(path: str, base_url: str, races: int) -> Spent:
    budget = LedgerBudget(settings(), path=path)
    answered = refused = 0

    async def racer(engine: Engine, race: Policy) -> None:
        nonlocal answered, refused
        while True:
            try:
                await engine.run(race, PROMPT)
            except CallError:
                refused += 1
                return
            answered += 1

    async with Engine(budget=budget) as engine:
        race = policy(base_url)
        await asyncio.gather(*(racer(engine, race) for _ in range(races)))
    await budget.aclose()
    return Spent(answered, refused)


@dataclass(frozen=True, slots=True)
class Round:
    """One run against $1; amounts are nano-dollars.

    Attributes:
        billed: by the server's ledger.
        booked: what the budget counts as spent.
        orphaned: the part of it that died with its process.
        reserved: what is still set aside, after all have ended.
        requests: that the server saw.
        races: that were answered, in processes that were not killed.
        seconds: it took.
    """

    billed: int
    booked: int
    orphaned: int
    reserved: int
    requests: int
    races: int
    seconds: float


def run_round(processes: int, races: int, kill: int, seed: int) -> Round:
    """All processes against one budget; ``kill`` of them are killed in between."""
    random = Random(seed)  # noqa: S311  (moments, no secret)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.db")
        ours, theirs = _SPAWN.Pipe()
        server = _SPAWN.Process(target=serve, args=(theirs,))
        server.start()
        base_url = ours.recv()
        workers = [_start(path, base_url, races) for _ in range(processes)]
        began = time.monotonic()
        for _, pipe in workers:
            pipe.recv()
        for _, pipe in workers:
            pipe.send("go")
        _await_spending(path)
        for worker, _ in workers[:kill]:
            _kill(worker, path, random)
        spent = [pipe.recv() for _, pipe in workers[kill:]]
        seconds = time.monotonic() - began
        for worker, _ in workers:
            worker.join()
        ours.send("stop")
        charged, requests = ours.recv()
        server.join()
        standing = look(path)
    assert all(each.refused == races for each in spent), "a process stopped before it was refused"
    line = next(line for line in standing.lines if line.task == ALL and line.limit is not None)
    answered = sum(each.answered for each in spent)
    return Round(charged, line.spent, line.orphaned, line.reserved, requests, answered, seconds)


def look(path: Path) -> Standing:
    """How the budget stands; what dead processes had set aside is booked first."""
    with closing(connect(path)) as connection:
        Accounts(connection, settings()).sweep()
        return read_standing(connection, settings(), time.time())


def _start(path: Path, base_url: str, races: int) -> tuple[SpawnProcess, Connection]:
    ours, theirs = _SPAWN.Pipe()
    worker = _SPAWN.Process(target=spend, args=(theirs, str(path), base_url, races))
    worker.start()
    return worker, ours


def _await_spending(path: Path) -> None:
    """Until the first attempts have been settled, so that a kill comes in the midst."""
    with closing(connect(path)) as connection:
        while not connection.execute("SELECT 1 FROM budget_spent WHERE high > 0").fetchone():
            time.sleep(0.005)


def _kill(worker: SpawnProcess, path: Path, random: Random) -> None:
    """Kill it at a random moment at which it has attempts in flight."""
    with closing(connect(path)) as connection:
        while worker.pid is not None and worker.is_alive():
            time.sleep(random.uniform(0.0, 0.1))
            os.kill(worker.pid, signal.SIGSTOP)
            found = connection.execute(
                "SELECT sum(attempts) FROM budget_reserved JOIN budget_holders ON id = holder"
                " WHERE pid = ?",
                (worker.pid,),
            ).fetchone()
            if found[0]:
                os.kill(worker.pid, signal.SIGKILL)
                return
            os.kill(worker.pid, signal.SIGCONT)


# What a reservation costs


def ask(pipe: Connection, path: str, callers: int, each: int) -> None:
    """Reserve and settle, and say how long each reservation took."""
    pipe.send("ready")
    pipe.recv()
    pipe.send(asyncio.run(_ask(path, callers, each)))


async def _ask(path: str, callers: int, each: int) -> list[float]:
    budget = LedgerBudget(BudgetSettings(hour=1e5, day=1e6, month=1e7), path=path)
    took: list[float] = []

    async def caller() -> None:
        for _ in range(each):
            began = time.perf_counter()
            reservation = await budget.reserve(TASK, 1e-6)
            took.append(time.perf_counter() - began)
            budget.settle(reservation, FREE)

    await caller()  # opens the database
    took.clear()
    await asyncio.gather(*(caller() for _ in range(callers)))
    await budget.aclose()
    return took


def run_asking(processes: int, callers: int, each: int) -> dict[str, float]:
    """Microseconds a reservation, and how many a second all processes had together."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "ledger.db"))
        connect(path).close()
        pipes = []
        for _ in range(processes):
            ours, theirs = _SPAWN.Pipe()
            worker = _SPAWN.Process(target=ask, args=(theirs, path, callers, each))
            worker.start()
            pipes.append((worker, ours))
        for _, pipe in pipes:
            pipe.recv()
        began = time.monotonic()
        for _, pipe in pipes:
            pipe.send("go")
        took = [seconds * 1e6 for _, pipe in pipes for seconds in pipe.recv()]
        seconds = time.monotonic() - began
        for worker, _ in pipes:
            worker.join()
    return {
        "p50_us": percentile(took, 50),
        "p99_us": percentile(took, 99),
        "a_second": len(took) / seconds,
    }


# The report


def figures(rounds: Sequence[Round]) -> dict[str, float]:
    """The worst of all rounds, in nano-dollars."""
    limit = int(LIMIT * NANO)
    return {
        "overspent_nanos": float(max(max(each.billed, each.booked) - limit for each in rounds)),
        "unbooked_nanos": float(max(each.billed - each.booked for each in rounds)),
        "stranded_nanos": float(max(each.reserved for each in rounds)),
    }


def show(rounds: Sequence[Round], killed: Sequence[int], asked: dict[str, Any]) -> None:
    """Two tables."""
    print(
        "round  killed  billed by the server  booked     orphaned   set aside  races  requests  s"
    )
    for number, (each, count) in enumerate(zip(rounds, killed, strict=True), 1):
        print(
            f"{number:<6} {count:<7} ${each.billed / NANO:.9f}          ${each.booked / NANO:.6f}  "
            f"${each.orphaned / NANO:.6f}  ${each.reserved / NANO:.6f}  {each.races:<6} "
            f"{each.requests:<9} {each.seconds:.1f}"
        )
    print("\nreserve                          p50 µs   p99 µs   a second")
    for name, row in asked.items():
        print(
            f"{name:<32} {row['p50_us']:>7,.0f}  {row['p99_us']:>7,.0f}  {row['a_second']:>9,.0f}"
        )
    print(f"\nload average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 1 where a figure is greater than its limit."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--races", type=int, default=200, help="at once, in each process")
    parser.add_argument("--kill", type=int, default=3, help="processes, in every other round")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    add_limits(parser, TARGETS)
    options = parser.parse_args(arguments)
    killed = [options.kill * (number % 2) for number in range(options.rounds)]
    rounds = [
        run_round(options.processes, options.races, kill, seed) for seed, kill in enumerate(killed)
    ]
    together = f"in each of {options.processes} processes"
    asked = {
        "one caller": run_asking(1, 1, 2000),
        f"one {together}": run_asking(options.processes, 1, 500),
        f"{options.races} {together}": run_asking(options.processes, options.races, 5),
    }
    found = figures(rounds)
    if options.json:
        shape = [{name: getattr(each, name) for name in Round.__slots__} for each in rounds]
        print(json.dumps({"rounds": shape, "killed": killed, "reserve": asked, **found}))
    else:
        show(rounds, killed, asked)
    # What is worth saying is above 0; what is left over of the dollar is not.
    lines = exceeded(found, options, TARGETS)
    for line in lines:
        print(line, file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
