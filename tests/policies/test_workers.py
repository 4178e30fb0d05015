"""Workers of `multiprocessing` leave nothing unwritten: forked ones end without `atexit`."""

from __future__ import annotations

import multiprocessing
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

SCRIPT = """
import asyncio, multiprocessing, sys
from benchmarks.ledger_calls import call
from cascade.cost import Cost
from cascade_policies.budget import BudgetSettings, LedgerBudget
from cascade_policies.ledger.writer import SqliteLedger

def open_both():
    path = sys.argv[1]
    return SqliteLedger(path), LedgerBudget(BudgetSettings(day=1e6), path=path)

def work(number, both):
    ledger, budget = both or open_both()
    async def spend():
        budget.settle(await budget.reserve("t", 0.2), Cost(0.1, 0.1))
    asyncio.run(spend())
    ledger.call_finished(call(number))

if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    both = open_both() if sys.argv[2] == "before" else None
    workers = [context.Process(target=work, args=(number, both)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not any(worker.exitcode for worker in workers)
"""


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="has no forked workers"
)
@pytest.mark.parametrize("opened", ["before", "after"])
def test_what_a_forked_worker_did_is_written(tmp_path: Path, opened: str) -> None:
    path, script = tmp_path / "l.db", tmp_path / "script.py"
    script.write_text(SCRIPT)
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(path), opened],
        cwd=root,
        env={"PYTHONPATH": f"{root}:{root / 'policies'}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM calls").fetchone() == (3,)
        spent = "SELECT sum(attempts), sum(high), sum(orphans) FROM budget_spent"
        assert connection.execute(spent).fetchone() == (3, 300_000_000, 0)
        assert connection.execute("SELECT count(*) FROM budget_holders").fetchone() == (0,)
