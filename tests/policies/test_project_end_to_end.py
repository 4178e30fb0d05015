"""A project from its file to its reports, over real sockets."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from cascade import Engine, Result, cascade
from cascade.errors import UnknownPolicyError
from cascade.testing import FaultyServer, Reply
from cascade_policies.project import project_settings
from tests.policies.project.conftest import Folder, Tick, folder, tick

if TYPE_CHECKING:
    from tests.policies.conftest import Run

__all__ = ["folder", "tick"]  # fixtures

PROJECT = """
[models.small]
model = "openai:small"
base_url = "SMALL"
price = { input = 1, output = 2 }
params = { max_tokens = 20 }

[models.large]
model = "openai:large"
base_url = "LARGE"
price = { input = 10, output = 20 }
params = { max_tokens = 20 }

[tasks.label]
router = { name = "heuristic", rules = [{ when = { min_words = 50 }, start = "large" }] }

[[tasks.label.tiers]]
model = "small"
verify = { use = "one_of", labels = ["billing", "technical"] }

[[tasks.label.tiers]]
model = "large"
verify = { use = "one_of", labels = ["billing", "technical"] }

[budget]
day = 1.0
per_call = 0.1

[ledger]
"""
CALLS = 4


@pytest.fixture
def servers() -> Iterator[tuple[FaultyServer, FaultyServer]]:
    """The small model knows invoices and nothing else; the large one knows everything."""

    def small(request: Any) -> Reply:
        asked = request.body["messages"][-1]["content"]
        return Reply("billing" if "invoice" in asked else "no idea")

    with FaultyServer() as one, FaultyServer() as other:
        one.on("small", small)
        one.on("newer", Reply("technical"))
        other.on("large", Reply("technical"))
        yield one, other


@pytest.fixture
def write(
    folder: Folder, tick: Tick, servers: tuple[FaultyServer, FaultyServer]
) -> Iterator[Callable[..., None]]:
    """Writes the project, with some text in it replaced; time passes."""

    def write(*changes: tuple[str, str]) -> None:
        text = PROJECT.replace("SMALL", servers[0].base_url).replace("LARGE", servers[1].base_url)
        for old, new in changes:
            text = text.replace(old, new)
        folder.write("cascade.toml", text)
        tick()

    write()
    settings = project_settings()
    yield write
    for keeper in (*settings["observers"], settings["budget"]):
        keeper.close()


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.usefixtures("write")
def test_from_the_file_to_the_reports(
    command_line: Run, folder: Folder, anyio_backend: str
) -> None:
    async def calls() -> list[Result]:
        prompts = ["An invoice.", "It is broken.", "The invoice again.", "word " * 60]
        return [await cascade("label", prompt) for prompt in prompts]

    results = anyio.run(calls, backend=anyio_backend)
    assert [result.tier for result in results] == ["small", "large", "small", "large"]
    assert [result.escalations for result in results] == [0, 1, 0, 0]
    assert [result.text for result in results] == ["billing", "technical", "billing", "technical"]

    # The loop is over, so all of it is in the ledger: nobody had to ask.
    path = folder.path / ".cascade" / "ledger.db"
    assert rows(
        path, "SELECT policy, tier, first, escalations, outcome FROM calls ORDER BY id"
    ) == [
        ("label", "small", "small", 0, "accepted"),
        ("label", "large", "small", 1, "accepted"),
        ("label", "small", "small", 0, "accepted"),
        ("label", "large", "large", 0, "accepted"),
    ]
    assert rows(path, "SELECT tier, outcome, code FROM attempts WHERE call = 2") == [
        ("small", "rejected", "one_of.unknown"),
        ("large", "accepted", ""),
    ]
    assert {name for (name,) in rows(path, "SELECT name FROM latencies")} == {
        "openai:small",
        "openai:large",
    }

    report = json.loads(command_line("report", "--json").out)
    (task,) = report["tasks"]
    small, large = task["tiers"]
    assert (task["task"], task["calls"]) == ("label", CALLS)
    assert (small["tier"], small["calls"], small["escalation"]["count"]) == ("small", 3, 1)
    assert (large["tier"], large["calls"], large["escalation"]["count"]) == ("large", 2, 0)
    assert [(it["verifier"], it["code"]) for it in small["reasons"]] == [
        (results[1].attempts[0].verifier, "one_of.unknown")
    ]

    spent = sum(result.cost.high or 0.0 for result in results)
    budget = booked(command_line)
    days = [line for line in budget["lines"] if (line["task"], line["window"]) == (None, "day")]
    assert [(line["limit_usd"], line["attempts"]) for line in days] == [(1.0, CALLS + 1)]
    assert days[0]["spent_usd"] == pytest.approx(spent, abs=1e-8)
    assert days[0]["reserved_usd"] == 0

    explained = json.loads(command_line("route", "explain", "label", "word " * 60, "--json").out)
    assert (explained["start"], explained["choices"]) == ("large", ["small", "large"])
    explained = json.loads(command_line("route", "explain", "label", "An invoice.", "--json").out)
    assert (explained["start"], explained["opinion"]) == ("small", False)

    audit = command_line("audit", "--json")
    assert audit.code == 0
    assert json.loads(audit.out)["calls"] == CALLS


def test_another_model_is_one_line_and_no_restart(
    write: Callable[..., None], servers: tuple[FaultyServer, FaultyServer], anyio_backend: str
) -> None:
    async def calls() -> None:
        assert (await cascade("label", "It is broken.")).tier == "large"
        write(('"openai:small"', '"openai:newer"'))
        result = await cascade("label", "It is broken.")
        assert (result.tier, result.winner.model) == ("small", "openai:newer")
        write(("model = ", "modle = "))  # a mistake: the version before stays
        assert (await cascade("label", "It is broken.")).winner.model == "openai:newer"
        write()
        assert (await cascade("label", "It is broken.")).tier == "large"

    anyio.run(calls, backend=anyio_backend)
    assert (servers[0].count("small"), servers[0].count("newer")) == (2, 2)


def booked(command_line: Run) -> dict[str, Any]:
    """What `cascade budget` says when all of this process is in the books."""
    project_settings()["budget"].close()
    found: dict[str, Any] = json.loads(command_line("budget", "--json").out)
    return found


async def _spend(prompts: list[str]) -> None:
    for prompt in prompts:
        await cascade("label", prompt)


@pytest.mark.usefixtures("write")
def test_what_is_spent_counts_after_a_restart_too(command_line: Run, folder: Folder) -> None:
    anyio.run(_spend, ["An invoice."])
    before = booked(command_line)
    anyio.run(_spend, ["An invoice."])
    after = booked(command_line)
    spent = [
        next(line["spent_usd"] for line in found["lines"] if line["limit_usd"] == 1.0)
        for found in (before, after)
    ]
    assert 0 < spent[0] < spent[1] == pytest.approx(2 * spent[0])


def test_names_of_tasks_are_for_engines_with_the_project(
    write: Callable[..., None], command_line: Run, servers: tuple[FaultyServer, FaultyServer]
) -> None:
    door = '[tasks.other]\nmodel = "large"\n[routers.door]\ntasks = ["label", "other"]\n'
    rules = 'rules = [{ when = { min_words = 3 }, start = "other" }]'
    write(("[ledger]", f'[ledger]\n{door}router = {{ name = "heuristic", {rules} }}\n'))

    async def bare(name: str) -> None:
        async with Engine() as engine:
            await engine.run(name, "An invoice")

    for name, kind in (("label", "task"), ("door", "router")):
        with pytest.raises(UnknownPolicyError, match=f"{name!r} is a {kind} of cascade.toml"):
            anyio.run(bare, name)
    assert servers[0].count("small") == servers[1].count("large") == 0

    async def calls() -> list[str]:
        return [(await cascade("door", ask)).policy for ask in ("An invoice", "Is it so?")]

    assert anyio.run(calls) == ["label", "other"]
    assert command_line("run", "door", "An invoice").out == "billing\n"
    assert command_line("run", "door", "Is it so?").out == "technical\n"
    ran = command_line("run", "door", "Is it so?", "--set", "deadline=5")
    assert ran.code == 2
    assert "'door' is a router over tasks: name one of label, other" in ran.err


def test_what_a_router_spends_to_be_explained_is_booked(
    write: Callable[..., None], command_line: Run, servers: tuple[FaultyServer, FaultyServer]
) -> None:
    router = 'router = { name = "llm", model = "small", labels = { a = "small", b = "large" } }'
    rule = (
        'router = { name = "heuristic", rules = [{ when = { min_words = 50 }, start = "large" }] }'
    )
    servers[0].on("small", Reply("b"))

    def spent() -> float:
        lines = booked(command_line)["lines"]
        return next(float(line["spent_usd"]) for line in lines if line["limit_usd"] is not None)

    write((rule, router))
    said = json.loads(command_line("route", "explain", "label", "It is broken.", "--json").out)
    assert (said["start"], servers[0].count("small")) == ("large", 1)
    assert spent() == pytest.approx(said["cost"]["high"], abs=1e-9)
    assert spent() > 0

    write((rule, router), ("day = 1.0", "day = 0.000001"), ("per_call = 0.1", ""))
    said = json.loads(command_line("route", "explain", "label", "It is broken.", "--json").out)
    assert not said["opinion"]
    assert "BudgetExceededError" in said["reason"]
    assert servers[0].count("small") == 1
