"""No open database of ours crosses a fork: SQLite's locks are not inherited, and no data shared."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")

LEDGER = """
from cascade_policies.ledger.writer import SqliteLedger
from benchmarks.ledger_calls import call
held = SqliteLedger(path)
def use():
    held.call_finished(call(len(seen)))
    assert held.flush(30)
"""
BUDGET = """
import asyncio
from cascade.cost import Cost
from cascade_policies.budget import BudgetSettings, LedgerBudget
held = LedgerBudget(BudgetSettings(day=1e6), path=path)
async def spend():
    held.settle(await held.reserve("t", 0.2), Cost(0.1, 0.1))
def use():
    asyncio.run(spend())
"""
FORK = """
import os, sys, threading
path, seen = sys.argv[1], []
{make}
def open_files():
    links = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            pass
    return [link for link in links if link.startswith(path)]
use()
assert open_files(), "nothing was open, so nothing could have crossed"
stop = threading.Event()
def work():
    while not stop.is_set():
        seen.append(1)
        use()
worker = threading.Thread(target=work)
worker.start()
for _ in range(10):
    while len(seen) < 3:
        pass
    seen.clear()
    child = os.fork()
    if child == 0:
        crossed = open_files()
        use()
        os._exit(3 if crossed else 0)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
worker.join()
held.close()
"""


@pytest.mark.parametrize("make", [LEDGER, BUDGET], ids=["ledger", "budget"])
def test_no_connection_crosses_a_fork(make: str, tmp_path: Path) -> None:
    # While another thread uses it, which would open it again at once.
    script = FORK.replace("{make}", make)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(tmp_path / "l.db")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
