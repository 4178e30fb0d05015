"""``cascade audit``: what it prints and writes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from benchmarks import ticket_day, ticket_logs
from cascade import Engine, Policy
from cascade.model import ModelSpec
from cascade.testing import ScriptedModel
from cascade_policies.audit.audit import audit_calls
from cascade_policies.audit.drafts import Constant
from cascade_policies.audit.sources import read_calls
from cascade_policies.audit.view import report
from cascade_policies.project.project import load_project

if TYPE_CHECKING:
    from tests.policies.conftest import Run


@pytest.fixture
def day(tmp_path: Path) -> Path:
    path = tmp_path / "day.jsonl"
    made = ticket_day.made(ticket_day.tickets(120, 11), 11)
    path.write_text("\n".join(ticket_logs.request_log(made)) + "\nno JSON\n", encoding="utf-8")
    return path


def test_the_report_is_ordered_by_share_and_says_why(command_line: Run, day: Path) -> None:
    code, out, err = command_line("audit", str(day))
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith(f"{day}: a log of requests, 1,680 calls, 2026-09-21 14:13 to")
    assert lines[1] == "1 line not read (1 not JSON): 1681"
    assert lines[3].split()[:3] == ["task", "calls", "share"]
    names = [line.split()[0] for line in lines[4:18]]
    assert names[0] == "soften_reply"
    assert set(names) == {step.name for step in ticket_day.STEPS}
    assert "  because  120 of 120 answers are the expression in the prompt" in lines
    assert "As proposed: about $" in out
    assert "takes for granted: the same calls" in out


def test_json(command_line: Run, day: Path) -> None:
    code, out, _ = command_line("audit", str(day), "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["form"], found["calls"], found["unread"]["lines"]) == ("requests", 1680, 1)
    assert found["written"] == []
    task = next(one for one in found["tasks"] if one["name"] == "order_total")
    assert (task["needs"], task["kind"]) == ("code", "arithmetic")
    assert task["explained"] == {"right": 120, "of": 120}
    assert task["template"].startswith("What does this order come to in euros?")
    assert found["cost"]["low"] > found["proposed_cost"]["high"]


def test_the_project_that_is_written_runs(
    command_line: Run, day: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code tiers answer other tickets; a prompt of another template goes on to a model."""
    target = tmp_path / "routed.toml"
    code, out, _ = command_line("audit", str(day), "--write", str(target))
    assert code == 0
    assert f"written: {target}\nwritten: {tmp_path / 'routed_tasks.py'}\n" in out
    monkeypatch.syspath_prepend(str(tmp_path))
    project = load_project(target)
    assert project.warnings == ()
    assert set(project.tasks) == {step.name for step in ticket_day.STEPS}
    for step in ticket_day.STEPS:
        first = project.tasks[step.name].policy.tiers[0].name
        assert first == ("strongest" if step.level == "frontier" else step.level)
    (ticket,) = ticket_day.tickets(1, 400)
    step = next(step for step in ticket_day.STEPS if step.name == "order_total")
    policy = project.tasks["order_total"].policy

    async def ask(prompt: str) -> tuple[str, str]:
        last = replace(policy.tiers[-1], model=ScriptedModel("from a model"))
        async with Engine() as engine:
            result = await engine.run(Policy("p", [*policy.tiers[:-1], last]), prompt)
        return result.tier, result.text

    assert anyio.run(ask, step.ask(ticket)) == ("code", step.answer(ticket))
    assert anyio.run(ask, "Something else") == ("strongest", "from a model")


def test_nothing_is_overwritten(command_line: Run, day: Path, tmp_path: Path) -> None:
    target = tmp_path / "cascade.toml"
    target.write_text("# mine")
    code, _, err = command_line("audit", str(day), "--write", str(target))
    assert code == 2
    assert "exists: move it away" in err
    assert target.read_text() == "# mine"
    assert not (tmp_path / "cascade_tasks.py").exists()


def test_what_prompts_hold_cannot_leave_its_quotes(
    command_line: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Templates and answers full of TOML and Python stay text."""
    evil = '"""\n\'\'\' \\ #\u2028[tasks.evil] \x00\x1b[2J """\nraise SystemExit'
    log = tmp_path / "log.jsonl"
    with log.open("w") as file:
        for n in range(60):
            prompt = f"{evil} Do it now: text number {n * 7919} of many"
            answer = f"{evil} {'yes' if n % 2 else 'no'}"
            for asked, told in ((prompt, answer), (f"Say {evil}: {n} {n * 31}", evil)):
                messages = [{"role": "user", "content": asked}]
                data = {"messages": messages, "model": "gpt-5", "response": told}
                file.write(f"{json.dumps(data)}\n")
    target = tmp_path / "evil.toml"
    code, _, err = command_line("audit", str(log), "--write", str(target))
    assert (code, err) == (0, "")
    monkeypatch.syspath_prepend(str(tmp_path))
    project = load_project(target)
    assert "evil" not in project.tasks
    assert len(project.tasks) == 2
    import evil_tasks  # type: ignore[import-not-found]  # written by the command

    drafts = [value for value in vars(evil_tasks).values() if isinstance(value, Constant)]
    assert [draft(f"Say {evil}: 5 155") for draft in drafts if "Say" in draft.texts[0]] == [evil]


def test_secrets_are_not_shown_or_written(command_line: Run, tmp_path: Path) -> None:
    key = "sk-proj-abcdefghijklmnop0123456789"
    log = tmp_path / "log.jsonl"
    with log.open("w") as file:
        for n in range(40):
            messages = [{"role": "user", "content": f"Use the key {key} to do number {n} {n * n}"}]
            file.write(json.dumps({"messages": messages, "model": "gpt-5", "response": key}) + "\n")
    target = tmp_path / "cascade.toml"
    for arguments in (["--json"], ["--write", str(target)]):
        code, out, err = command_line("audit", str(log), *arguments)
        assert code == 0
        assert key not in out + err
    assert key not in target.read_text()
    assert "[redacted]" in out
    assert not (tmp_path / "cascade_tasks.py").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.jsonl"], "no file 'none.jsonl': give a ledger"),
        ([], "no file "),
        (["--since", "soon"], "--since 'soon': give hours"),
        (["--since", "1h"], "no calls since 1h"),
        (["--small", "haiku"], "--small 'haiku': write"),
        (["--mid", "nobody:x"], "--mid 'nobody:x': write"),
    ],
)
def test_wrong_usage(
    command_line: Run,
    day: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CASCADE_LEDGER", raising=False)
    monkeypatch.delenv("CASCADE_CONFIG", raising=False)
    given = [str(day), *arguments] if arguments and arguments[0].startswith("--") else arguments
    code, _, err = command_line("audit", *given)
    assert code == 2
    assert message in err


def test_other_models_can_be_proposed(command_line: Run, day: Path) -> None:
    code, out, _ = command_line("audit", str(day), "--json", "--small", "openai:gpt-5-nano")
    assert code == 0
    assert json.loads(out)["models"]["small"] == "openai:gpt-5-nano"


def test_the_project_s_ledger_is_the_default(
    command_line: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cascade_policies.ledger.database import connect

    monkeypatch.setenv("CASCADE_LEDGER", str(tmp_path / "l.db"))
    monkeypatch.delenv("CASCADE_CONFIG", raising=False)
    connection = connect(tmp_path / "l.db")
    ticket_logs.fill_ledger(connection, ticket_day.made(ticket_day.tickets(30, 2), 2))
    connection.close()
    code, out, _ = command_line("audit", "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["form"], found["calls"]) == ("ledger", 30 * 14)


def test_many_kinds_are_summed_up(command_line: Run, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with log.open("w") as file:
        for n in range(60):
            messages = [{"role": "user", "content": f"Something about {n}"}]
            data = {"messages": messages, "model": "gpt-5", "response": "ok", "task": f"site {n}"}
            file.write(f"{json.dumps(data)}\n")
    target = tmp_path / "cascade.toml"
    code, out, _ = command_line("audit", str(log), "--write", str(target))
    assert code == 0
    assert "and 20 kinds more with 20 calls: see --json" in out
    assert (
        "# Not in it: 60 kinds of calls that were made fewer than 20 times." in target.read_text()
    )
    assert len(json.loads(command_line("audit", str(log), "--json").out)["tasks"]) == 60


def test_a_narrow_table_leaves_out_columns_and_cuts_nothing(day: Path) -> None:
    audit = audit_calls(read_calls(day))
    heads = {}
    for width in (80, 100, 10_000):
        (table,) = (part for part in report(audit, width) if not isinstance(part, str))
        heads[width] = [column.header for column in table.columns]
    assert {"task", "calls", "share", "needs", "kind"} < set(heads[80])
    assert len(heads[80]) < len(heads[100]) < len(heads[10_000]) == 12


def write_log(path: Path, rows: Iterable[tuple[str, str]]) -> None:
    """Thirty long free answers of each call site and model."""
    with path.open("w", encoding="utf-8") as file:
        for place, model in rows:
            for n in range(30):
                asked = f"You are helpful. Tell of {n} and {n * 31}"
                told = " ".join(f"w{n}x{i}" for i in range(200))
                messages = [{"role": "user", "content": asked}]
                row = {"task": place, "model": model, "messages": messages, "response": told}
                file.write(json.dumps(row) + "\n")


def test_what_is_written_loads_also_where_no_price_is_published(
    command_line: Run, tmp_path: Path
) -> None:
    log, target = tmp_path / "log.jsonl", tmp_path / "cascade.toml"
    write_log(log, (("a", "gpt-own"), ("b", "o5-preview"), ("c", "gpt-5"), ("d", "gpt-9")))
    code, _, err = command_line("audit", str(log), "--write", str(target))
    assert (code, err) == (0, "")
    assert target.read_text().count('price = "unknown"') == 3
    project = load_project(target)
    last = {name: task.policy.tiers[-1].models[0] for name, task in project.tasks.items()}
    called = {
        name: model.name if isinstance(model, ModelSpec) else model for name, model in last.items()
    }
    assert called == {
        "a": "openai:gpt-own", "b": "openai:o5-preview", "c": "openai:gpt-5", "d": "openai:gpt-9",
    }  # fmt: skip


def test_call_sites_of_any_script_keep_their_names(command_line: Run, tmp_path: Path) -> None:
    log, target = tmp_path / "log.jsonl", tmp_path / "cascade.toml"
    sites = ("日本語", "Größe 2", "हिन्दी", "ﬁnd-ﬁt", "9 lives", "🙂")
    write_log(log, [(site, "gpt-5") for site in sites])
    code, _, _ = command_line("audit", str(log), "--write", str(target))
    assert code == 0
    names = set(load_project(target).tasks)
    assert {"日本語", "größe", "हिन्दी", "find_fit", "lives"} < names
    assert all(name.isidentifier() for name in names)


def test_a_code_tier_of_any_script_is_found(
    command_line: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, target = tmp_path / "log.jsonl", tmp_path / "scripts.toml"
    with log.open("w", encoding="utf-8") as file:
        for n in range(60):
            messages = [{"role": "user", "content": f"Is it done? Number {n} of {n * 31}"}]
            row = {"task": "終わった", "model": "gpt-5", "messages": messages, "response": "Done."}
            file.write(json.dumps(row) + "\n")
    assert command_line("audit", str(log), "--write", str(target)).code == 0
    monkeypatch.syspath_prepend(str(tmp_path))
    tier = load_project(target).tasks["終わった"].policy.tiers[0]

    async def ask() -> str:
        async with Engine() as engine:
            result = await engine.run(Policy("p", [tier]), "Is it done? Number 7 of 8")
        return result.text

    assert anyio.run(ask) == "Done."


def test_a_model_name_stays_on_its_line(command_line: Run, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    write_log(log, [("a", "gpt-5\nAs proposed: nothing\x1b[2J")])
    code, out, _ = command_line("audit", str(log))
    assert code == 0
    assert "  models   openai:gpt-5 As proposed: nothing" in out
    assert not any(line.startswith("As proposed") for line in out.splitlines())
