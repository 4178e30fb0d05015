"""A LiteLLM configuration as a project file: what is carried over, what is named, what is kept."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.cost import Price
from cascade.errors import ConfigError
from cascade.model import Limits
from cascade_policies.document import parse_document
from cascade_policies.project import Project
from cascade_policies.project.litellm import import_litellm
from cascade_policies.project.project import project_of
from cascade_policies.project.toml_text import toml_comment, toml_key, toml_value

if TYPE_CHECKING:
    from tests.policies.conftest import Run
    from tests.policies.project.conftest import Folder

CONFIG = """
model_list:
  - model_name: gpt-4.1
    litellm_params:
      model: openai/gpt-4.1
      api_key: os.environ/MY_OPENAI
      rpm: 60
      tpm: 100000
      timeout: 300
      temperature: 0.2
      stop: ["a"]
      api_version: "2024-01-01"
  - model_name: gpt-4.1
    litellm_params: {model: gpt-4.1-mini, api_key: sk-planted-1}
  - model_name: claude/opus
    litellm_params: {model: claude-opus-4-5, api_key: os.environ/ANTHROPIC_API_KEY}
  - model_name: house
    litellm_params:
      model: hosted_vllm/org/llama
      api_base: http://127.0.0.1:8000/v1
      max_parallel_requests: 8
    model_info:
      input_cost_per_token: 2.5e-7
      output_cost_per_token: 0.000001
      max_input_tokens: 128000
  - model_name: fast
    litellm_params: {model: groq/llama-3.3-70b-versatile}
router_settings:
  fallbacks: [{"gpt-4.1": ["claude/opus"]}]
  model_group_alias: {best: claude/opus}
litellm_settings: {request_timeout: 10, drop_params: true}
general_settings: {master_key: sk-planted-2}
"""


def loaded(text: str) -> Project:
    document = parse_document(text, file="cascade.toml", folder=Path())
    return project_of(document, Path("cascade.toml"))


def entry(name: Any = "m", **params: Any) -> dict[str, Any]:
    return {"model_name": name, "litellm_params": {"model": "openai/gpt-5", **params}}


def imported(*entries: Any, **settings: Any) -> tuple[Project, list[str]]:
    made = import_litellm({"model_list": [*entries], **settings}, source="c.yaml")
    return loaded(made.text), made.notes


@pytest.fixture
def project(command_line: Run, tmp_path: Path) -> Project:
    pytest.importorskip("yaml")
    (tmp_path / "config.yaml").write_text(CONFIG)
    ran = command_line("import", "litellm", "config.yaml", "--out", "cascade.toml")
    assert (ran.code, ran.out) == (0, "")
    text = (tmp_path / "cascade.toml").read_text()
    assert [line for line in text.splitlines() if line.startswith("# - ")] == [
        line.replace("note: ", "# - ") for line in ran.err.splitlines()
    ]
    assert "sk-planted" not in text + ran.err
    return loaded(text)


def test_models_are_carried_over(project: Project) -> None:
    assert list(project.models) == ["gpt-4.1", "gpt-4.1-2", "claude-opus", "house", "fast"]
    first, second, opus, house, fast = project.models.values()
    assert (first.model, first.spec.limits) == ("openai:gpt-4.1", Limits(60, 100_000, None))
    assert first.settings == {"timeout": 300, "params": {"temperature": 0.2, "stop": ["a"]}}
    assert (first.spec.api_key, second.spec.api_key) == ("env:MY_OPENAI", "env:GPT_4_1_API_KEY")
    assert second.settings == {"timeout": 10}
    assert opus.model == "anthropic:claude-opus-4-5"
    assert (house.model, house.spec.context_window) == ("openai:org/llama", 128_000)
    assert (house.price, house.spec.limits.concurrency) == (Price(input=0.25, output=1), 8)
    assert house.spec.base_url == "http://127.0.0.1:8000/v1"
    assert fast.spec.api_key == "env:GROQ_API_KEY"
    assert fast.spec.base_url == "https://api.groq.com/openai/v1"


def test_each_name_is_a_task_and_its_fallbacks_are_tiers(project: Project) -> None:
    tiers = {name: [t.name for t in task.policy.tiers] for name, task in project.tasks.items()}
    assert tiers == {
        "gpt-4.1": ["gpt-4.1", "gpt-4.1-2", "claude-opus"],
        "claude-opus": ["claude-opus"],
        "house": ["house"],
        "fast": ["fast"],
        "best": ["claude-opus"],
    }


def test_the_command_prints_it(command_line: Run, tmp_path: Path) -> None:
    config = {"model_list": [entry(api_key="sk-planted-3", seed=1, user="x")]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    ran = command_line("import", "litellm", "config.json")
    assert ran.code == 0
    assert tomllib.loads(ran.out)["tasks"] == {"m": {"model": "m"}}
    assert "note: m: its key was written out: put it into the variable M_API_KEY\n" in ran.err
    assert "note: m: user: has no counterpart\n" in ran.err
    shape = json.loads(command_line("import", "litellm", "config.json", "--json").out)
    assert (shape["toml"], shape["error"], len(shape["notes"])) == (ran.out, None, 2)
    assert "planted" not in ran.out + ran.err + str(shape)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("c.json", "{", "c.json: no JSON"),
        ("c.json", "[]", "c.json: needs a 'model_list' with one model or more"),
        ("c.json", '{"model_list": []}', "needs a 'model_list'"),
        ("c.json", '{"model_list": [{}]}', "model_list[0]: has no 'model_name'"),
        ("c.json", "[" * 100_000, "no JSON"),
        ("c.yaml", "a: [sk-planted", "c.yaml:1: no YAML: expected ',' or ']'"),
        ("c.yaml", "a: !!python/object/apply:os.system ['echo']", "c.yaml:1: no YAML: could not"),
        ("c.yaml", "[" * 1000, "c.yaml"),
        ("other", "", "cannot read 'c.json': No such file"),
    ],
)
def test_what_is_no_configuration_is_refused(
    command_line: Run, folder: Folder, name: str, text: str, says: str
) -> None:
    pytest.importorskip("yaml")
    folder.write(name, text)
    ran = command_line("import", "litellm", name if name != "other" else "c.json")
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
    assert "planted" not in ran.err


def test_a_file_that_is_there_is_left_alone(command_line: Run, folder: Folder) -> None:
    folder.write("c.json", json.dumps({"model_list": [entry()]}))
    path = folder.write("cascade.toml", "mine")
    ran = command_line("import", "litellm", "c.json", "--out", "cascade.toml")
    assert (ran.code, path.read_text()) == (2, "mine")
    assert "is there already" in ran.err


def test_without_a_reader_of_yaml_the_extra_is_named(
    command_line: Run, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write("c.yaml", CONFIG)
    monkeypatch.setitem(sys.modules, "yaml", None)
    ran = command_line("import", "litellm", "c.yaml")
    assert ran.code == 5
    assert "pip install 'cascade-engine[yaml]'" in ran.err


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"model": "bedrock/anthropic.claude"}, "there is no provider for bedrock"),
        ({"model": "openai/*"}, "a pattern of names"),
        ({"model": "hosted_vllm/x"}, "have no api_base"),
        ({"model": "openai/x", "api_base": "os.environ/BASE"}, "its address is in a variable"),
        ({"model": "openai/x", "api_base": "http://a:planted@b/v1"}, "may hold a secret"),
        ({"model": "openai/x", "api_base": "http://b/v1?key=planted"}, "may hold a secret"),
        ({"model": "openai/x", "api_base": "ftp://b"}, "is no address"),
        ({"model": "openai/x", "api_base": "http://[x"}, "is no address"),
        ({"model": ""}, "name no model"),
    ],
)
def test_a_model_that_cannot_be_called_is_named_and_left_out(
    given: dict[str, Any], reason: str
) -> None:
    project, notes = imported(entry("ok"), {"model_name": "m", "litellm_params": given})
    assert list(project.models) == ["ok"]
    (note,) = notes
    assert note.startswith("m: ")
    assert reason in note
    assert "planted" not in note


def test_no_model_at_all_is_an_error() -> None:
    with pytest.raises(ConfigError, match="none of its models can be carried over: m: is no chat"):
        imported(entry() | {"model_info": {"mode": "embedding"}})


def test_prices() -> None:
    own = {"input_cost_per_token": "1e-6", "output_cost_per_token": 2e-6}
    project, notes = imported(
        entry("own") | {"model_info": own},
        entry("published"),
        entry("nobody", model="openai/what-is-this"),
        entry("half", input_cost_per_token=1e-6, model="openai/what-is-this"),
    )
    prices = [model.price for model in project.models.values()]
    assert prices[0] == Price(input=1, output=2)
    assert prices[1] is not None
    assert prices[2:] == [None, None]
    assert [note.partition(":")[0] for note in notes] == ["nobody", "half"]


def test_retries_and_default_fallbacks() -> None:
    project, notes = imported(
        entry("a"),
        entry("b"),
        litellm_settings={"num_retries": 0, "default_fallbacks": ["b", "gone"]},
    )
    tiers = project.tasks["a"].policy.tiers
    assert [(tier.name, tier.retries) for tier in tiers] == [("a", 0), ("b", 0)]
    assert notes == [f"{name}: its fallback gone is not in the model_list, or left out"
                     for name in "ab"]  # fmt: skip


@pytest.mark.parametrize("name", ["a/b", "a:b", "x.toml", 'q"uote', "tab\tnewline\n", "ü", "a.b"])
def test_any_name_is_a_task(name: str) -> None:
    project, _ = imported(entry(name))
    assert len(project.tasks) == len(project.models) == 1


def test_names_that_become_alike_stay_apart() -> None:
    project, notes = imported(entry("c/d"), entry("c-d", model="openai/gpt-5-mini"))
    assert {name: project.models[name].model for name in project.tasks} == {
        "c-d": "openai:gpt-5",
        "c-d-2": "openai:gpt-5-mini",
    }
    assert notes == ["c/d: is called c-d here", "c-d: is called c-d-2 here"]


plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4))


def nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
        max_leaves=5,
    )


junk = nested(plain | st.just("sk-planted-secret"))
names = nested(plain)  # names of models are repeated: they are no secrets
KEYS = ["api_base", "api_key", "rpm", "timeout", "extra_headers", "user", "mode",
        "input_cost_per_token", "output_cost_per_token", "max_input_tokens"]  # fmt: skip
models = st.sampled_from(["openai/gpt-5", "claude-x", "groq/x", "ollama/x", "azure/x", "x/y/z"])
entries = st.builds(
    lambda name, model, params, info: {
        "model_name": name,
        "litellm_params": {"model": model, **params},
        "model_info": info,
    },
    st.sampled_from(["a", "b", "c/d"]) | st.text(max_size=3),
    models | st.text(max_size=4),
    st.dictionaries(st.sampled_from(KEYS), junk, max_size=3),
    st.dictionaries(st.sampled_from(KEYS), junk, max_size=2),
)
settings = st.dictionaries(
    st.sampled_from(["fallbacks", "default_fallbacks", "num_retries", "timeout", "x",
                     "model_group_alias"]),
    names | st.just([{"a": ["b"]}]) | st.just({"z": "a"}),
)  # fmt: skip


@given(st.lists(entries | junk, max_size=3), settings | names)
def test_whatever_it_holds_becomes_a_project_without_its_secrets(
    listed: list[Any], router: Any
) -> None:
    try:
        made = import_litellm({"model_list": listed, "router_settings": router}, source="c")
    except ConfigError as error:
        said = str(error)
    else:
        said = made.text
        assert loaded(made.text).tasks
    assert "planted" not in said


texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | texts | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
)


@given(texts, values, st.text())
def test_toml_is_read_as_it_was_written(key: str, value: Any, comment: str) -> None:
    text = f"{toml_comment(comment)}\n{toml_key(key)} = {toml_value(value)}\n"
    assert tomllib.loads(text) == {key: value}


def test_a_key_in_a_variable_of_an_impossible_name_is_not_called_written_out() -> None:
    made = import_litellm({"model_list": [entry(api_key="os.environ/A-B C")]}, source="config.json")
    assert made.notes == [
        "m: its key is in a variable whose name no shell can set: "
        "put it into the variable M_API_KEY"
    ]
    assert "A-B" not in made.text
