"""The project around the working directory: found, kept, and read again when it changes."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cascade import Engine, Policy, cascade
from cascade.errors import ConfigError, PolicyFileError, UnknownPolicyError
from cascade.model import ModelSpec
from cascade.routing import Entry
from cascade.testing import script
from cascade_policies.project import current, current_project, find_project, project, reload_project
from cascade_policies.project.settings import open_project
from cascade_policies.search import find, find_policy, find_policy_file, policy_names, resolve

if TYPE_CHECKING:
    from tests.policies.project.conftest import Folder, Tick

pytestmark = pytest.mark.usefixtures("tick")

TASK = '[tasks.{}]\nmodel = "{}"\n'
ONE = TASK.format("label", "openai:gpt-5-mini")
TWO = TASK.format("label", "openai:gpt-5")


def model(name: str = "label") -> Any:
    found = find_policy(name).tiers[0].model
    return found.name if isinstance(found, ModelSpec) else found


def events(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [record.__dict__["cascade"] for record in caplog.records]


def test_it_is_found_upwards(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_project() is None
    path = folder.write("cascade.toml", ONE)
    assert find_project() == path
    deep = folder.path / "a" / "b"
    deep.mkdir(parents=True)
    assert find_project(deep) == path
    monkeypatch.chdir(deep)
    assert find_project() == path
    nearer = folder.write("a/cascade.toml", TWO)
    assert find_project() == nearer
    assert model() == "openai:gpt-5"


def test_the_environment_names_it(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write("cascade.toml", ONE)
    other = folder.write("other.toml", TWO)
    monkeypatch.setenv("CASCADE_CONFIG", "other.toml")
    assert find_project() == other
    assert find_project(folder.path) == folder.path / "cascade.toml"
    assert model() == "openai:gpt-5"
    monkeypatch.setenv("CASCADE_CONFIG", "none.toml")
    with pytest.raises(ConfigError, match=r"CASCADE_CONFIG: no file 'none\.toml'"):
        find_project()


def test_a_task_is_a_policy_of_its_name(folder: Folder) -> None:
    folder.write("p.toml", 'name = "mine"\n[[tiers]]\nmodel = "openai:gpt-5"\n')
    folder.write("cascade.toml", ONE + '[tasks.filed]\npolicy = "p.toml"\npriority = "critical"\n')
    assert (find_policy("label").name, find_policy("filed").name) == ("label", "filed")
    assert find_policy("filed").priority == "critical"
    assert find_policy("label") is find_policy("label") is resolve("label")
    assert {"label", "filed", "extract"} <= set(policy_names())
    assert find_policy("p.toml").name == "mine"


def test_a_task_comes_before_the_search_path(folder: Folder) -> None:
    folder.write("policies/label.toml", '[[tiers]]\nmodel = "openai:gpt-4.1"\n')
    folder.write("policies/other.toml", '[[tiers]]\nmodel = "openai:gpt-4.1"\n')
    folder.write("cascade.toml", ONE)
    assert (model("label"), model("other")) == ("openai:gpt-5-mini", "openai:gpt-4.1")


def test_a_router_over_tasks_is_found_by_name(folder: Folder) -> None:
    router = '{ name = "heuristic", rules = [{ when = { min_words = 9 }, start = "u" }] }'
    folder.write(
        "cascade.toml",
        TASK.format("t", "openai:gpt-5")
        + TASK.format("u", "openai:gpt-5-mini")
        + f'[routers.door]\nrouter = {router}\ntasks = ["t", "u"]\n',
    )
    found = resolve("door")
    assert isinstance(found, Entry)
    assert list(found.policies.values()) == [find_policy("t"), find_policy("u")]
    with pytest.raises(UnknownPolicyError, match="'door' is a router over tasks: name one of t, u"):
        find_policy_file("door")


def test_without_a_project_a_task_is_no_policy(folder: Folder) -> None:
    folder.write("cascade.toml", ONE)
    folder.write("policies/label.toml", '[[tiers]]\nname = "filed"\nmodel = "openai:gpt-4.1"\n')
    assert find("label").tiers[0].name == "filed"
    (folder.path / "policies" / "label.toml").unlink()
    says = r"'label' is a task of cascade.toml: use cascade\(…\) or Engine\(project=…\)"
    with pytest.raises(UnknownPolicyError, match=says):
        find("label")
    with pytest.raises(UnknownPolicyError, match="no policy 'extrct': did you mean 'extract'"):
        find("extrct")


def test_the_name_of_a_policy_that_is_not_there(folder: Folder) -> None:
    folder.write("cascade.toml", '[tasks.t]\npolicy = "extrct"\n')
    with pytest.raises(PolicyFileError, match="no policy 'extrct': did you mean 'extract'"):
        find_policy("t")


def test_the_project_file_itself_is_no_policy(folder: Folder) -> None:
    folder.write("cascade.toml", ONE)
    with pytest.raises(UnknownPolicyError, match="is a project of tasks"):
        find_policy("cascade.toml")


@pytest.mark.parametrize(
    ("override", "says"),
    [("timeout=5", "belongs in a"), ("tiers.0.timeout=5", r"needs one \[\[tasks")],
)
def test_a_wrong_change_to_a_task_is_refused(folder: Folder, override: str, says: str) -> None:
    folder.write("cascade.toml", ONE)
    with pytest.raises(PolicyFileError, match=says) as caught:
        find_policy("label", overrides=[override])
    assert caught.value.line is None
    assert str(caught.value.key).startswith("tasks.label.")


def test_changes_for_one_run_are_made_to_the_task(folder: Folder) -> None:
    folder.write("p.toml", '[[tiers]]\nname = "a"\nmodel = "openai:gpt-5"\n')
    folder.write("cascade.toml", ONE + '[tasks.filed]\npolicy = "p.toml"\n')
    changed = find_policy("label", overrides=["model=openai:gpt-5", "deadline=3"])
    assert (changed.name, changed.deadline, changed.tiers[0].model) == ("label", 3, "openai:gpt-5")
    assert find_policy("filed", overrides=["tiers.a.timeout=3"]).tiers[0].timeout == 3
    assert (find_policy("label").deadline, find_policy("filed").tiers[0].timeout) == (None, 120)


def test_a_change_is_taken_over_after_a_second(folder: Folder, tick: Tick) -> None:
    folder.write("cascade.toml", ONE)
    first = find_policy("label")
    folder.write("cascade.toml", TWO)
    assert find_policy("label") is first, "nobody looks within the second"
    tick()
    assert model() == "openai:gpt-5"


def test_a_file_without_a_change_is_not_read_again(folder: Folder, tick: Tick) -> None:
    folder.write("cascade.toml", ONE)
    first = find_policy("label")
    tick()
    assert find_policy("label") is first


@pytest.mark.parametrize("name", ["p.toml", "p.md"])
def test_a_file_that_it_refers_to_counts_too(folder: Folder, tick: Tick, name: str) -> None:
    tier = '[[tiers]]\nmodel = "openai:gpt-5"\nsystem_file = "p.md"\n'
    texts = {"p.toml": tier, "p.md": "Be brief."}
    for file, text in texts.items():
        folder.write(file, text)
    folder.write("cascade.toml", '[tasks.label]\npolicy = "p.toml"\n')
    first = find_policy("label")
    folder.write(name, texts[name] + "\n")
    tick()
    assert find_policy("label") is not first


def test_a_change_while_it_was_read_is_seen(
    folder: Folder, tick: Tick, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder.write("cascade.toml", ONE)
    read = project.read

    def read_and_change(path: Path, files: list[Path]) -> project.Project:
        found = read(path, files)
        path.write_text(TWO)
        return found

    monkeypatch.setattr(current, "QUIET", 0.0)
    monkeypatch.setattr(project, "read", read_and_change)
    assert model() == "openai:gpt-5-mini"
    monkeypatch.setattr(project, "read", read)
    tick()
    assert (model(), path.read_text()) == ("openai:gpt-5", TWO)


@pytest.mark.parametrize("half", ["", '[models.m]\nmodel = "openai:gpt-5"\n'])
def test_a_file_that_is_being_written_is_left_in_peace(
    folder: Folder, tick: Tick, half: str
) -> None:
    path = folder.write("cascade.toml", ONE)
    first = find_policy("label")
    path.write_text(half)
    tick()
    assert find_policy("label") is first
    path.write_text(TWO)
    reload_project()
    assert model() == "openai:gpt-5", "whoever asks for it has written it"


@pytest.mark.parametrize("broken", ["[tasks.label]\nmodl = 1\n", "x", "[tasks.other]\n"])
def test_a_broken_edit_changes_nothing_but_is_told(
    folder: Folder, tick: Tick, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    folder.write("cascade.toml", ONE)
    first = find_policy("label")
    path = folder.write("cascade.toml", broken)
    for _ in range(3):
        tick()
        assert find_policy("label") is first
    (event,) = events(caplog)
    assert (event["event"], event["file"]) == ("cascade.project_rejected", str(path))
    assert event["reason"].startswith(str(path))
    assert caplog.records[0].levelno == logging.WARNING
    folder.write("cascade.toml", TWO)
    tick()
    assert model() == "openai:gpt-5"


def test_a_file_that_goes_away_changes_nothing_either(
    folder: Folder, tick: Tick, caplog: pytest.LogCaptureFixture
) -> None:
    path = folder.write("cascade.toml", ONE)
    first = find_policy("label")
    path.unlink()
    for _ in range(2):
        tick()
        assert find_policy("label") is first
    (event,) = events(caplog)
    assert event["reason"] == f"{path}: cannot read the file: No such file or directory"
    folder.write("cascade.toml", TWO)
    tick()
    assert model() == "openai:gpt-5"


def test_a_file_that_was_missing_mends_it(folder: Folder, tick: Tick) -> None:
    folder.write("cascade.toml", ONE)
    find_policy("label")
    folder.write("cascade.toml", '[tasks.label]\npolicy = "p.toml"\n')
    folder.write("p.toml", '[[tiers]]\nmodel = "openai:gpt-5"\nsystem_file = "p.md"\n')
    tick()
    assert model() == "openai:gpt-5-mini"
    folder.write("p.md", "Be brief.")
    tick()
    assert find_policy("label").tiers[0].system == "Be brief."


def test_a_first_version_that_is_broken_is_an_error_until_it_is_mended(folder: Folder) -> None:
    folder.write("cascade.toml", "[tasks.label]\n")
    for name in ("label", "extract"):
        with pytest.raises(PolicyFileError, match="says nothing of how it is answered"):
            find_policy(name)
    folder.write("cascade.toml", ONE)
    assert model() == "openai:gpt-5-mini"


def test_reload_does_not_wait(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    assert reload_project() is None
    folder.write("cascade.toml", ONE)
    assert reload_project() is current_project() is not None
    folder.write("cascade.toml", TWO)
    reload_project()
    assert model() == "openai:gpt-5"
    folder.write("cascade.toml", "[tasks.label]\n")
    for _ in range(2):
        with pytest.raises(PolicyFileError, match="says nothing"):
            reload_project()
    assert model() == "openai:gpt-5"
    assert {event["event"] for event in events(caplog)} == {"cascade.project_rejected"}


def test_what_is_hardly_meant_is_told(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    path = folder.write("cascade.toml", ONE + '[models.idle]\nmodel = "openai:gpt-5"\n')
    find_policy("label")
    (event,) = events(caplog)
    assert event == {
        "event": "cascade.project_doubted",
        "warning": f"{path}:3: models.idle: no task uses it",
    }


def test_a_policy_file_may_name_the_projects_models(folder: Folder, tick: Tick) -> None:
    folder.write("cascade.toml", '[models.small]\nmodel = "openai:gpt-5-mini"\ntimeout = 7\n')
    folder.write("p.toml", '[[tiers]]\nmodel = "small"\n')
    first = find_policy("p.toml")
    assert (model("p.toml"), first.tiers[0].name) == ("openai:gpt-5-mini", "small")
    assert first.tiers[0].timeout == 7
    assert find_policy("p.toml") is first
    folder.write("cascade.toml", '[models.small]\nmodel = "openai:gpt-5"\n')
    tick()
    assert model("p.toml") == "openai:gpt-5"


def test_a_policy_file_without_a_project_is_told_of_it(folder: Folder) -> None:
    folder.write("p.toml", '[[tiers]]\nmodel = "small"\n')
    with pytest.raises(PolicyFileError, match=r"add a \[models.small\] table to cascade.toml"):
        find_policy("p.toml")


@pytest.mark.anyio
async def test_a_model_is_swapped_between_two_calls(folder: Folder, tick: Tick) -> None:
    line = '[models.m]\nmodel = "scripted:{}"\nprice = "unknown"\n[tasks.label]\nmodel = "m"\n'
    script("one", "first")
    script("two", "second")
    folder.write("cascade.toml", line.format("one"))
    assert (await cascade("label", "x")).text == "first"
    folder.write("cascade.toml", line.format("two"))
    tick()
    result = await cascade("label", "x")
    assert (result.text, result.policy, result.tier) == ("second", "label", "m")


@pytest.mark.anyio
async def test_a_call_that_has_begun_ends_as_it_began(folder: Folder, tick: Tick) -> None:
    line = '[tasks.label]\nmodel = "function:{}"\n'
    folder.write("cascade.toml", line.format("os.path:basename"))
    policy = find_policy("label")
    async with Engine(project=open_project(None)) as engine:
        bound = engine.bind(policy)
        folder.write("cascade.toml", line.format("os.path:dirname"))
        tick()
        assert find_policy("label") is not policy
        assert engine.bind(policy) is bound
        assert (await engine.run(policy, "a/b")).text == "b"
        assert (await engine.run("label", "a/b")).text == "a"


def test_a_name_costs_no_look_at_files(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write("cascade.toml", ONE)
    assert isinstance(resolve("label"), Policy)
    monkeypatch.setattr(os, "stat", None)
    monkeypatch.setattr(Path, "stat", None)
    assert resolve("label") is resolve("label")


def test_threads_see_one_version_or_the_other(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write("cascade.toml", ONE)
    monkeypatch.setattr(current, "PATIENCE", 0.0)
    seen = {model()}

    def ask() -> None:
        seen.update(model() for _ in range(50))

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        for text in (TWO, "[tasks.label]\n", ONE, TWO):
            folder.write("cascade.toml", text)
        for each in asking:
            each.result()
    assert seen <= {"openai:gpt-5-mini", "openai:gpt-5"}
    assert model() == "openai:gpt-5"
