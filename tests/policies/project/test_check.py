"""`cascade check` of a project, and of a task."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.policies.conftest import Run
    from tests.policies.project.conftest import Folder

pytestmark = pytest.mark.usefixtures("tick")

PROJECT = """
[models.free]
model = "function:os.path:basename"
strengths = ["paths"]

[models.dear]
model = "openai:gpt-5"
context_window = 400_000

[tasks.name]
description = "The last part of a path."
model = "free"
override = ["alice"]

[[tasks.both.tiers]]
model = "free"
[[tasks.both.tiers]]
model = "dear"

[routers.door]
tasks = ["name", "both"]
router = { name = "heuristic", rules = [{ when = { min_words = 9 }, start = "both" }] }

[budget]
per_call = 0.5
day = 20

[ledger]
path = "calls.db"
"""


def test_it_shows_what_was_understood(
    command_line: Run, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    path = folder.write("cascade.toml", PROJECT)
    ran = command_line("check")
    assert (ran.code, ran.err) == (0, "")
    for shown in (
        str(path),
        "function:os.path:basename; no price; paths",
        "openai:gpt-5; $1.25 and $10 a million tokens in and out; 400,000 tokens",
        "name  free; model overridden by: alice; The last part of a path.",
        "both  free > dear",
        "name, both",
        "$0.5 per call, $20 day",
        str(folder.path / "calls.db"),
    ):
        assert shown in ran.out
    assert command_line("check", "cascade.toml") == ran._replace(
        out=ran.out.replace(str(path), "cascade.toml").replace(f"{folder.path}/", "")
    )
    assert "planted" not in ran.out


def test_it_says_what_is_missing_here_and_what_is_hardly_meant(
    command_line: Run, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    path = folder.write("cascade.toml", PROJECT + '[models.idle]\nmodel = "openai:gpt-5"\n')
    ran = command_line("check")
    assert ran.code == 5
    assert f"warning: {path}:30: models.idle: no task uses it\n" in ran.err
    assert "policy 'both', tier 'dear': the environment variable OPENAI_API_KEY" in ran.err
    shape = json.loads(command_line("check", "--json").out)
    assert [task["policy"] for task in shape["tasks"]] == ["name", "both"]
    assert shape["tasks"][0]["error"] is None
    assert shape["error"] == shape["tasks"][1]["error"]
    assert shape["error"]["type"] == "MissingAPIKeyError"
    assert [model["name"] for model in shape["models"]] == ["free", "dear", "idle"]
    assert shape["warnings"] == [f"{path}:30: models.idle: no task uses it"]
    assert shape["routers"][0]["tasks"] == ["name", "both"]
    assert (shape["budget"]["day"], shape["ledger"]) == (20, str(folder.path / "calls.db"))


def test_what_a_router_over_tasks_calls_must_be_there_too(
    command_line: Run, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("CASCADE_HOME", str(folder.path / "none"))
    two = '[tasks.a]\nmodel = "function:os.path:basename"\n'
    two += '[tasks.b]\nmodel = "function:os.path:dirname"\n'
    router = 'router = { name = "llm", model = "MODEL", labels = { x = "a", y = "b" } }\n'
    entry = f'{two}[routers.door]\ntasks = ["a", "b"]\n{router}'
    folder.write("cascade.toml", entry.replace("MODEL", "openai:gpt-5-nano"))
    ran = command_line("check")
    assert ran.code == 5
    assert "policy 'door': the environment variable OPENAI_API_KEY" in ran.err
    shape = json.loads(command_line("check", "--json").out)
    assert shape["error"] == shape["routers"][0]["error"]
    assert shape["error"]["type"] == "MissingAPIKeyError"
    folder.write("cascade.toml", entry.replace("MODEL", "local:smollm2-135m"))
    shape = json.loads(command_line("check", "--json").out)
    assert [it["name"] for it in shape["downloads"]] == ["smollm2-135m"]
    assert shape["error"] is None


def test_a_change_is_made_first(command_line: Run, folder: Folder) -> None:
    folder.write("cascade.toml", '[tasks.t]\nmodel = "function:os.path:basename"\n')
    ran = command_line("check", "--set", "tasks.t.modle=1")
    assert (ran.code, ran.out) == (2, "")
    assert "tasks.t.modle: unknown key: did you mean 'model'? (from --set)" in ran.err
    ran = command_line("check", "t", "--set", "deadline=3")
    assert (ran.code, "deadline   3 s" in ran.out) == (0, True)


def test_another_name_than_cascade_toml(command_line: Run, folder: Folder) -> None:
    folder.write("other.toml", '[tasks.t]\nmodel = "function:os.path:basename"\n')
    ran = command_line("check", "other.toml")
    assert (ran.code, ran.out.splitlines()[0]) == (0, "project  other.toml")


def test_without_a_project_there_is_something_to_give(command_line: Run, folder: Folder) -> None:
    ran = command_line("check")
    assert ran.code == 2
    assert "no cascade.toml here or above: give a policy" in ran.err


def test_a_task_is_checked_and_run_by_its_name(command_line: Run, folder: Folder) -> None:
    folder.write("cascade.toml", '[tasks.t]\nmodel = "function:os.path:basename"\n')
    assert command_line("check", "t").out.startswith("t\n")
    ran = command_line("run", "t", "a/b")
    assert (ran.code, ran.out) == (0, "b\n")


def test_a_policy_that_gets_cheaper_is_warned_about(
    command_line: Run, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    folder.write(
        "p.toml", "".join(f'[[tiers]]\nmodel = "openai:gpt-5{x}"\n' for x in ("", "-mini"))
    )
    ran = command_line("check", "p.toml")
    assert ran.code == 0
    assert ran.err == (
        "warning: p.toml: tier 'openai:gpt-5-mini' is cheaper than 'openai:gpt-5' before it: tiers "
        "go from cheap to strong\n"
    )


def test_nothing_in_a_file_reaches_the_terminal_raw(command_line: Run, folder: Folder) -> None:
    text = r"""
[models."m\u001b[31m"]
model = "function:os.path:basename"
strengths = ["s\u0007"]
[tasks."a\u001b[31mRED\u001b]0;pwn\u0007"]
model = "m\u001b[31m"
description = "x\u001b[2J\ny"
[models."idle\u001b[31m"]
model = "function:os.path:basename"
"""
    folder.write("cascade.toml", text)
    for arguments in ((), ("a\x1b[31mRED\x1b]0;pwn\x07",)):
        ran = command_line("check", *arguments)
        assert ran.code == 0, ran.err
        assert "RED" in ran.out
        assert "x[2J y" in ran.out
        assert "\x1b" not in ran.out + ran.err
        assert "\x07" not in ran.out + ran.err
