"""``cascade report``: its figures are those of the rows, and it refuses what would do nothing."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.ledger_data import TASKS, TaskShape, TierShape, fill
from cascade_policies.ledger.database import connect
from cascade_policies.report import queries
from cascade_policies.report.buckets import ERROR
from cascade_policies.report.opening import snapshot
from cascade_policies.report.rollups import DAY, HOUR
from cascade_policies.report.source import Source
from cascade_policies.report.window import Window
from tests.policies.report.conftest import NOW

if TYPE_CHECKING:
    from tests.policies.conftest import Run

pytestmark = pytest.mark.usefixtures("at_now")


@pytest.fixture
def run(command_line: Run, ledger: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line, with the ledger where it looks for one."""
    monkeypatch.delenv("CASCADE_CONFIG", raising=False)
    monkeypatch.setenv("CASCADE_LEDGER", str(ledger))
    return command_line


def shape(run: Run, *options: str) -> Any:
    code, out, err = run("report", "--json", *options)
    assert (code, err) == (0, "")
    return json.loads(out)


def rows(connection: sqlite3.Connection, window: Window, columns: str, table: str) -> list[Any]:
    return connection.execute(
        f"SELECT {columns} FROM {table} WHERE calls.began >= ? AND calls.began < ?",
        (window.since, window.until),
    ).fetchall()


@pytest.mark.parametrize("since", ["5h", "1d", "7d", "2w"])
def test_figures_are_those_of_the_rows(
    run: Run, connection: sqlite3.Connection, since: str
) -> None:
    window = Window.parse(since, NOW)
    found = shape(run, "--since", since)
    assert (found["since"], found["until"]) == (window.since, window.until)
    calls = defaultdict(list)
    columns = "policy, outcome, escalations, cost_low, cost_high, waste_high, latency_s"
    for policy, *row in rows(connection, window, columns, "calls"):
        calls[policy].append(row)
    assert {task["task"]: task["calls"] for task in found["tasks"]} == {
        name: len(its) for name, its in calls.items()
    }
    for task in found["tasks"]:
        its = calls[task["task"]]
        assert task["outcomes"] == Counter(outcome for outcome, *_ in its)
        assert task["escalated"]["count"] == sum(escalations > 0 for _, escalations, *_ in its)
        known = [row for row in its if row[3] is not None]
        assert task["cost"]["unknown"] == task["waste"]["unknown"] == len(its) - len(known)
        if known:
            for key, column in (("low", 2), ("high", 3)):
                assert task["cost"][key] == pytest.approx(sum(row[column] for row in known))
            assert task["waste"]["high"] == pytest.approx(sum(row[4] for row in known))
        durations = sorted(row[5] for row in its)
        for name, q in (("p50_s", 0.5), ("p95_s", 0.95), ("p99_s", 0.99)):
            if len(durations) * (1 - q) >= 1:
                exact = durations[ceil(q * len(durations) - 1e-9) - 1]
                assert abs(task["latency"][name] / exact - 1) <= ERROR + 1e-9
            else:
                assert task["latency"][name] is None


def test_tiers_and_models_have_every_attempt(run: Run, connection: sqlite3.Connection) -> None:
    window = Window.parse("7d", NOW)
    columns = "policy, attempts.tier, model, attempts.outcome, kind, calls.id"
    tried = rows(connection, window, columns, "attempts JOIN calls ON calls.id = call")
    found = shape(run, "--by", "model")
    assert found["by"] == "model"
    attempts = Counter((policy, tier, model) for policy, tier, model, *_ in tried)
    assert {(one["task"], one["tier"], one["model"]): one["attempts"] for one in found["rows"]} == (
        attempts
    )
    for one in found["rows"]:
        its = [row for row in tried if row[:3] == (one["task"], one["tier"], one["model"])]
        assert one["outcomes"] == Counter(row[3] for row in its)
        assert one["extra"]["retries"] == sum(row[4] == "retry" for row in its)
    reached = Counter((policy, tier) for policy, tier, _ in {(r[0], r[1], r[5]) for r in tried})
    for task in found["tasks"]:
        for tier in task["tiers"]:
            assert tier["calls"] == reached[task["task"], tier["tier"]]
            assert tier["calls"] == sum(tier["endings"].values())
            escalation = tier["escalation"]
            assert escalation["count"] == sum(reason["count"] for reason in tier["reasons"])
            assert escalation["low"] <= escalation["rate"] <= escalation["high"]


def test_tiers_come_in_the_order_of_the_cascade(run: Run) -> None:
    order = {task["task"]: [tier["tier"] for tier in task["tiers"]] for task in shape(run)["tasks"]}
    expected = {task.name: [tier.name for tier in task.tiers] for task in TASKS}
    del order["search"], expected["search"]  # a race has no order
    assert order == expected


def test_days_add_up_to_the_whole(run: Run) -> None:
    found = shape(run, "--by", "day", "--task", "tickets")
    assert [task["task"] for task in found["tasks"]] == ["tickets"]
    assert sum(day["calls"] for day in found["rows"]) == found["tasks"][0]["calls"]
    assert [day["day"] for day in found["rows"]] == [f"2027-01-{day:02}" for day in range(8, 16)]


def test_hours_add_up_to_the_whole(connection: sqlite3.Connection) -> None:
    source = Source(connection, Window.parse("1d", NOW))
    steps = queries.read_steps(source, HOUR)
    assert all(step.start % HOUR == 0 for step in steps)
    assert any(step.start % DAY for step in steps)
    by_task: Counter[str] = Counter()
    for step in steps:
        by_task[step.task] += step.calls
    assert by_task == {task.task: task.calls for task in queries.read_report(source).tasks}


def test_a_change_for_the_worse_is_beyond_chance_and_no_other_is(tmp_path: Path) -> None:
    small = TierShape("small", "m", 0.75, 0.0, 0.3, 0.001)
    large = TierShape("large", "n", 1.0, 0.0, 1.0, 0.01)
    tasks = (
        TaskShape("worse", 1, (small, large), worse=0.2),
        TaskShape("same", 1, (small, large)),
    )
    with closing(connect(tmp_path / "l.db")) as connection:
        fill(connection, 8000, until=NOW - 1, days=14.0, seed=3, tasks=tasks)
        report = queries.read_report(Source(connection, Window.parse("7d", NOW)))
    trends = {task.task: {one.figure: one for one in task.trend} for task in report.tasks}
    worse = trends["worse"]
    for figure in ("escalated", "escalation of small", "cost a call"):
        assert worse[figure].beyond_chance is True
    assert worse["escalated"].before == pytest.approx(0.25, abs=0.03)
    assert worse["escalated"].now == pytest.approx(0.45, abs=0.03)
    assert {one.beyond_chance for one in trends["same"].values()} == {None, False}
    assert trends["same"]["calls an hour"].now == pytest.approx(
        trends["same"]["calls an hour"].before, rel=0.1
    )


def test_without_a_period_before_there_is_no_trend(run: Run) -> None:
    assert all(task["trend"] == [] for task in shape(run, "--since", "52w")["tasks"])


def test_unknown_costs_are_counted_and_never_zero(run: Run, ledger: Path) -> None:
    with closing(sqlite3.connect(ledger)) as connection:
        connection.execute(
            "UPDATE calls SET cost_low = NULL, cost_high = NULL, waste_low = NULL, "
            "waste_high = NULL WHERE policy = 'tickets'"
        )
        connection.execute("UPDATE attempts SET cost_low = NULL, cost_high = NULL")
        connection.execute("UPDATE rollup_state SET through = 0")
        for table in ("rollup_calls", "rollup_tiers", "rollup_attempts", "rollup_durations"):
            connection.execute(f"DELETE FROM {table}")
        connection.commit()
    tickets = next(task for task in shape(run)["tasks"] if task["task"] == "tickets")
    assert tickets["cost"] == {"low": None, "high": None, "unknown": tickets["calls"]}
    assert tickets["tiers"][0]["cost"]["low"] is None
    change = next(one for one in tickets["trend"] if one["figure"] == "cost a call")
    assert (change["before"], change["now"], change["beyond_chance"]) == (None, None, None)
    _, out, _ = run("report", "--task", "tickets")
    assert "unknown" in next(line for line in out.splitlines() if line.startswith("tickets"))


def test_tables_for_people(run: Run) -> None:
    code, out, err = run("report")
    assert (code, err) == (0, "")
    assert out.startswith("2027-01-08 08:00 to 2027-01-15 09:00 UTC\n")
    for words in ("because of", "json_schema: json.type", "declined", "beyond chance", "p99"):
        assert words in out
    for by, words in (
        ("tier", "first token"),
        ("model", "openai:gpt-5-mini"),
        ("verifier", "judged"),
        ("day", "2027-01-10"),
    ):
        code, out, err = run("report", "--by", by)
        assert (code, err) == (0, "")
        assert words in out


def test_no_calls_are_no_error(command_line: Run, tmp_path: Path) -> None:
    connect(tmp_path / "empty.db").close()
    for options in ((), ("--by", "day"), ("--json",), ("--html", "page.html"), ("--prometheus",)):
        code, _, err = command_line("report", "--ledger", "empty.db", *options)
        assert (code, err) == (0, "")
    assert "No calls" in Path("page.html").read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--prometheus", "--html", "x"), "--html and --prometheus: give one of them"),
        (("--by", "day", "--html", "x"), "--by: leave it out"),
        (("--since", "7d", "--prometheus"), "--since: leave it out"),
        (("--task", "ticket"), "--task 'ticket': did you mean 'tickets'?"),
        (("--since", "soon"), "--since 'soon': give hours, days or weeks"),
        (("--html", "no/such/folder"), "--html: cannot write 'no/such/folder'"),
        (("--ledger", "nowhere.db"), "no ledger at nowhere.db"),
        (("--by", "week"), "week"),
    ],
)
def test_mistakes(run: Run, options: tuple[str, ...], words: str) -> None:
    code, out, err = run("report", *options)
    assert (code, out) == (2, "")
    assert words in err


def test_calls_that_nobody_counted_are_counted_first(run: Run, ledger: Path) -> None:
    def calls() -> int:
        return sum(task["calls"] for task in shape(run, "--since", "2w")["tasks"])

    before = calls()
    with closing(connect(ledger)) as connection:
        more = fill(connection, 100, until=NOW, days=1.0, seed=9, count=False)
    assert calls() == before + more.calls


def test_prometheus(run: Run, connection: sqlite3.Connection) -> None:
    code, out, err = run("report", "--prometheus")
    assert (code, err) == (0, "")
    for policy, outcome, count in connection.execute(
        "SELECT policy, outcome, count(*) FROM calls GROUP BY 1, 2"
    ):
        line = f'cascade_calls_total{{policy="{policy}",outcome="{outcome}"}} {count}'
        assert line in out.splitlines()


def test_control_characters_in_names_do_not_reach_a_terminal(
    command_line: Run, tmp_path: Path
) -> None:
    nasty = "\x1b]0;owned\x07 name"
    tier = TierShape(nasty, nasty, 0.5, 0.1, 1, 0.1, nasty, {nasty: 1})
    tasks = (TaskShape(nasty, 1, (tier,)),)
    with closing(connect(tmp_path / "l.db")) as connection:
        fill(connection, 200, until=NOW - 1, days=14.0, tasks=tasks)
    for options in ((), ("--by", "model"), ("--by", "verifier"), ("--by", "day"), ("--by", "tier")):
        code, out, _ = command_line("report", "--ledger", "l.db", *options)
        assert code == 0
        assert "owned" in out
        assert "\x1b" not in out
        assert "\x07" not in out


def test_a_report_is_of_one_moment(ledger: Path) -> None:
    with closing(connect(ledger)) as reader, closing(connect(ledger)) as writer:
        with snapshot(reader):
            before = queries.read_report(Source(reader, Window.parse("7d", NOW)))
            new = (TaskShape("new", 1, (TierShape("t", "m", 1.0, 0.0, 0.1, 0.1),)),)
            fill(writer, 50, until=NOW - 1, days=1.0, tasks=new)
            assert queries.read_report(Source(reader, Window.parse("7d", NOW))) == before
        after = queries.read_report(Source(reader, Window.parse("7d", NOW)))
        assert "new" in {task.task for task in after.tasks}
