"""docs/project-file.md: its example loads, and its tables have every key."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from cascade.errors import PolicyFileError
from cascade.testing import FaultyServer, Reply
from cascade_policies.golden.golden_set import GoldenSet
from cascade_policies.project import Project, Task, load_project, project_settings
from cascade_policies.project.shape import (
    DefaultsTable,
    EntryTable,
    LedgerTable,
    LimitsTable,
    ModelTable,
    ProjectTable,
    TaskTable,
)

if TYPE_CHECKING:
    from tests.policies.project.conftest import Folder

PAGE = Path(__file__).parents[3] / "docs" / "project-file.md"
TEXT = PAGE.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture
def example(folder: Folder) -> Project:
    project, policy = blocks("toml")[:2]
    folder.write("golden/label.jsonl", blocks("jsonl")[0])
    folder.write("policies/invoice.toml", policy)
    return load_project(folder.write("cascade.toml", project))


def test_the_example_loads(example: Project) -> None:
    assert list(example.tasks) == ["label", "narrative", "private", "invoice"]
    assert example.warnings == ()
    assert example.tasks["invoice"].policy.tiers[1].model is example.models["large"].spec
    assert list(example.entries["desk"].policies) == ["label", "narrative"]
    assert example.with_model("narrative", "large", by="editors").tiers[0].name == "large"


@pytest.mark.usefixtures("example", "tick")
@pytest.mark.parametrize(("label", "task"), [("team", "label"), ("prose", "narrative")])
def test_the_example_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], label: str, task: str
) -> None:
    def reply(request: Any) -> Reply:
        routed = "prose" in json.dumps(request.body["messages"])
        return Reply(label if routed else "On Monday it will rain a little.")

    with FaultyServer(default=Reply("?")) as server:
        server.on("gpt-5-mini", reply)
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-planted")
        exec(compile(blocks("python")[0], str(PAGE), "exec"), {"__name__": "__main__"})
    said = "On Monday it will rain a little."
    assert capsys.readouterr().out == f"{said}\n{task} {said}\n"
    for keeper in (*project_settings()["observers"], project_settings()["budget"]):
        keeper.close()


def test_the_golden_set_of_the_example_is_one(example: Project) -> None:
    golden = example.tasks["label"].golden
    assert golden is not None
    assert len(GoldenSet.load(golden).rows) == 2


@pytest.mark.parametrize(
    ("change", "by"),
    [
        ('model = "small"\n\n[tasks.label]', 'model = "smal"\n\n[tasks.label]'),
        ('model = "gpt-5-mini"', 'model = "own"'),
        ("a {{tone}} tone. First", "a {{ton}} tone. First"),
    ],
)
def test_its_errors_are_those(example: Project, folder: Folder, change: str, by: str) -> None:
    text = example.path.read_text()
    assert change in text
    with pytest.raises(PolicyFileError) as caught:
        load_project(folder.write("cascade.toml", text.replace(change, by)))
    message = caught.value.message
    assert re.search(rf"^cascade\.toml:\d+: [^ ]+: {re.escape(message)}$", TEXT, re.MULTILINE)


@pytest.mark.parametrize(
    "table",
    [DefaultsTable, EntryTable, LedgerTable, LimitsTable, ModelTable, ProjectTable, TaskTable],
)
def test_every_key_is_there(table: type[msgspec.Struct]) -> None:
    for key in table.__struct_fields__:
        assert f"`{key}`" in TEXT or f"`[{key}" in TEXT, key


@pytest.mark.parametrize("kind", [Project, Task])
def test_every_attribute_is_there(kind: type) -> None:
    page = TEXT[TEXT.index("## In Python") :]
    for name in kind.__annotations__:
        if name not in ("path", "name", "file", "_overridden"):
            assert f"`{name}`" in page, name


def test_its_links_lead_somewhere() -> None:
    known = {"budgets.md", "ledger.md", "routers.md"}  # pages of their own features
    for target in re.findall(r"\]\(([a-z-]+\.md)", TEXT):
        assert (PAGE.parent / target).exists() or target in known, target
