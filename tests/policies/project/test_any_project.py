"""Whatever a project file holds: a project, or an error with the file and the key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from cascade.errors import PolicyFileError
from cascade_policies.document import Document
from cascade_policies.project.project import Project, project_of
from cascade_policies.project.shape import (
    DefaultsTable,
    EntryTable,
    LedgerTable,
    ModelTable,
    ProjectTable,
    TaskTable,
)
from cascade_policies.tables import TierTable

names = st.sampled_from(["m", "n", "t", "u"])
words = st.sampled_from(["m", "n", "t", "u", "none", "any", "unknown", "openai:gpt-5", "", "a/b"])
scalars = st.one_of(
    words,
    st.integers(-2, 3),
    st.floats(-1, 3),
    st.sampled_from([float("nan"), float("inf")]),
    st.booleans(),
    st.text(max_size=5),
    st.dates(),
    st.times(),
)
junk = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
references = names | st.sampled_from(["openai:gpt-5", "anthropic/claude-opus-4-5"])
good = {
    "model": references,
    "fallbacks": st.lists(references, max_size=2),
    "timeout": st.floats(0.1, 9) | st.just("none"),
    "params": st.dictionaries(st.text(max_size=4), scalars, max_size=2),
    "base_url": st.just("http://127.0.0.1:1/v1"),
    "api_key": st.just("env:KEY"),
    "price": st.just("unknown") | st.just({"input": 1, "output": 2}),
    "context_window": st.integers(1, 9),
    "limits": st.fixed_dictionaries({"concurrency": st.integers(1, 9)}),
    "strengths": st.lists(words, max_size=2),
    "policy": st.sampled_from(["extract", "classify", "no.toml"]),
    "override": st.lists(words, max_size=2) | st.sampled_from(["any", "none"]),
    "variables": st.just(["x"]),
    "system": st.sampled_from(["{{x}}", "Be brief."]),
    "router": st.just({"name": "heuristic", "rules": [{"when": {"min_words": 9}, "start": "u"}]}),
    "efforts": st.fixed_dictionaries({"best": st.fixed_dictionaries({"start": references})}),
    "priority": st.just("critical"),
    "verify": st.sampled_from(["grounded", "json:loads"]),
    "name": st.sampled_from(["a", "b"]),
    "queue": st.integers(1, 9),
}


def seldom(strategy: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Nothing, most of the time: most tables must be right for all code to be reached."""
    return st.integers(0, 7).flatmap(lambda n: st.just({}) if n else strategy)


def tables(
    keys: tuple[str, ...], fixed: dict[str, st.SearchStrategy[Any]]
) -> st.SearchStrategy[dict[str, Any]]:
    """A table with its needed keys, perhaps good ones, and seldom something wrong."""
    usable = [key for key in keys if key in good]
    some = st.sampled_from(usable).flatmap(lambda key: st.fixed_dictionaries({key: good[key]}))
    return st.builds(
        lambda *parts: {key: value for part in parts for key, value in part.items()},
        some,
        st.fixed_dictionaries(fixed),
        seldom(st.sampled_from(keys).flatmap(lambda key: st.fixed_dictionaries({key: junk}))),
        seldom(st.dictionaries(st.text(max_size=3), junk, max_size=1)),
    )


def named(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(names | seldom_text, inner, max_size=2)


seldom_text = st.integers(0, 9).flatmap(lambda n: names if n else st.text(max_size=3))
tiers = tables(TierTable.__struct_fields__, {"model": references})
tasks = st.one_of(
    tables(TaskTable.__struct_fields__, {"model": references}),
    tables(TaskTable.__struct_fields__, {"tiers": st.lists(tiers, max_size=2)}),
    tables(TaskTable.__struct_fields__, {"policy": good["policy"]}),
)
wrong = st.dictionaries(st.sampled_from(ProjectTable.__struct_fields__), junk, max_size=1)
documents = st.builds(
    lambda *parts: {key: value for part in parts for key, value in part.items()},
    st.fixed_dictionaries({
        "models": st.fixed_dictionaries({
            "m": tables(ModelTable.__struct_fields__, {"model": st.just("openai:gpt-5-mini")}),
            "n": tables(
                ModelTable.__struct_fields__,
                {"model": st.just("gpt-5"), "provider": st.just("openai")},
            ),
        }),
        "tasks": named(tasks),
    }),
    seldom(st.fixed_dictionaries({
        "routers": named(tables(
            EntryTable.__struct_fields__,
            {"router": good["router"], "tasks": st.just(["t", "u"])},
        )),
    })),
    seldom(st.fixed_dictionaries({"defaults": tables(DefaultsTable.__struct_fields__, {})})),
    seldom(st.fixed_dictionaries({"ledger": tables(LedgerTable.__struct_fields__, {})})),
    seldom(st.fixed_dictionaries({
        "budget": st.dictionaries(st.sampled_from(["day", "hour", "tasks", "steps"]), junk),
    })),
    seldom(wrong),
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _nowhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("nowhere"))
        yield


@settings(max_examples=400, deadline=None)
@given(documents | st.dictionaries(st.text(max_size=6), junk, max_size=3))
def test_a_project_or_an_error_with_a_place(data: dict[str, Any]) -> None:
    document = Document("cascade.toml", "", data, Path("/nonexistent"))
    found: Project | PolicyFileError
    try:
        found = project_of(document, Path("cascade.toml"))
    except PolicyFileError as error:
        found = error
    if isinstance(found, PolicyFileError):
        event(found.message.split(":")[0][:24])
        assert found.file == "cascade.toml"
        assert found.key
        assert str(found).startswith("cascade.toml: ")
    else:
        event("a project")
        assert set(found.policies) == {*data.get("tasks", {}), *data.get("routers", {})}
        for name, task in found.tasks.items():
            assert task.policy.name == name
