"""What a call in flight holds in memory, measured in a process of its own.

    python -m benchmarks.in_flight BASE_URL NAME COUNT

The process makes a few calls to warm up, then ``COUNT`` at once to a model that begins to answer
and never ends, and prints by how much its resident memory grew, as one JSON object. So the figure
has all in it that a call needs in the client: task, socket buffers of the process, parser, records.
The buffers of the kernel are not in it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.contenders import BARE, OURS, Contender
from benchmarks.peers import PEERS
from benchmarks.serving import MODEL, in_flight

_STATM = Path("/proc/self/statm")
_BATCH = 250  # connections opened at once: more would have to wait in the server's queue
_SECONDS = 5.0
_PAGE = 4096


def memory(base_url: str, contender: Contender, count: int) -> dict[str, Any] | None:
    """``kb`` a call, with ``reached`` of them in flight; None where the system does not say."""
    if not _STATM.exists():
        return None
    command = [sys.executable, "-m", "benchmarks.in_flight", base_url, contender.name, str(count)]
    done = subprocess.run(  # noqa: S603  (ourselves)
        command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1]
    )
    if done.returncode:
        return {"kb": None, "reached": 0, "error": done.stderr.strip().splitlines()[-1:]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


async def measure(base_url: str, contender: Contender, count: int) -> dict[str, Any]:
    """Fill the process with calls, and look."""
    async with (
        contender.open(base_url, MODEL) as warm,
        contender.open(base_url, "slow") as ask,
    ):
        for _ in range(5):
            await warm()
        gc.collect()
        before = resident()
        tasks: list[asyncio.Future[str]] = []
        reached = 0
        while len(tasks) < count:
            more = min(_BATCH, count - len(tasks))
            tasks += [asyncio.ensure_future(ask()) for _ in range(more)]
            reached = await arrived(base_url, len(tasks) * contender.requests)
            if reached < len(tasks) * contender.requests:
                break
        gc.collect()
        grown = resident() - before
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    # Calls that wait for a connection of their client's pool hold memory too.
    return {"kb": grown / len(tasks) / 1024, "reached": reached // contender.requests}


async def arrived(base_url: str, count: int) -> int:
    """How many requests the server has, as soon as it has them all."""
    until = time.monotonic() + _SECONDS
    while (found := await asyncio.to_thread(in_flight, base_url)) < count:
        if time.monotonic() > until:
            break
        await asyncio.sleep(0.05)
    return found


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(_STATM.read_text().split()[1]) * _PAGE


def main() -> int:
    """Measure one contender and print it."""
    base_url, name, count = sys.argv[1:]
    contender = next(found for found in (*BARE, *OURS, *PEERS) if found.name == name)
    print(json.dumps(asyncio.run(measure(base_url, contender, int(count)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
