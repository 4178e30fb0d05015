"""docs/project-file.md: its example loads, and its tables have every key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from cascade.errors import PolicyFileError
from cascade_policies.project import Project, Task, load_project
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


@pytest.fixture
def example(folder: Folder) -> Project:
    found = re.search(r"^```toml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    assert found is not None
    folder.write("golden/label.jsonl", "{}\n")
    folder.write("policies/invoice.toml", '[[tiers]]\nmodel = "large"\n')
    return load_project(folder.write("cascade.toml", found[1]))


def test_the_example_loads(example: Project) -> None:
    assert list(example.tasks) == ["label", "narrative", "private", "invoice"]
    assert example.warnings == ()
    assert example.tasks["invoice"].policy.tiers[0].model is example.models["large"].spec
    assert list(example.entries["desk"].policies) == ["label", "narrative"]
    assert example.with_model("narrative", "large", by="editors").tiers[0].name == "large"


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
