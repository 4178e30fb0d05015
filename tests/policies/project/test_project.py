"""What a project file says reaches the policies, and what it may not say is a warning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cascade import Engine, cascade
from cascade.cost import Price
from cascade.errors import ConfigError
from cascade.model import Limits, ModelSpec
from cascade.routing import Entry
from cascade.testing import script
from cascade_policies.project import Project, load_project, open_project, project_settings
from cascade_policies.project.settings import FollowedProject
from cascade_policies.project.shape import ModelTable, TaskTable

if TYPE_CHECKING:
    from tests.policies.project.conftest import Folder

FULL = """
[models.small]
provider = "openai"
model = "gpt-5-mini"
api_key = "env:SMALL_KEY"
price = { input = 1, output = 2.5, cached_input = 0 }
context_window = 400_000
limits = { requests_per_minute = 500, tokens_per_minute = 200_000, concurrency = 32 }
timeout = 20
params = { temperature = 0, stop = ["a"] }
strengths = ["labels", "fast"]
cancel_stops_billing = true

[models.house]
model = "openai/org/llama"
base_url = "http://a/v1"
price = "unknown"
fallbacks = ["backup"]

[models.backup]
provider = "openai"
model = "org/other"
base_url = "http://b/v1"
price = "unknown"

[defaults]
model = "small"

[tasks.default]

[tasks.cascade]
description = "Two tiers."
start_after = 0.5
golden = "golden.jsonl"
min_accuracy = 0.95
min_recall = 0.9
max_latency_p95 = 2.5
max_cost_per_call = 0.001
priority = "background"
override = ["alice", "bob"]
variables = ["tone"]

[[tasks.cascade.tiers]]
system = "Be {{tone}}."
timeout = 5
params = { temperature = 1, seed = 1 }
price = { input = 0.5, output = 1 }
verify = "check"

[[tasks.cascade.tiers]]
model = "house"
name = "own"
prompt = "{{prompt}}, please"

[tasks.cascade.verifiers]
check = { use = "length", min_chars = 2 }

[tasks.static]
model = "house"
override = "none"
"""


@pytest.fixture
def full(folder: Folder) -> Project:
    folder.write("golden.jsonl", "{}\n")
    return load_project(folder.write("cascade.toml", FULL))


def test_every_key_reaches_the_model(full: Project) -> None:
    small, house = full.models["small"], full.models["house"]
    assert (small.name, small.model, small.strengths) == (
        "small", "openai:gpt-5-mini", ("labels", "fast"),
    )  # fmt: skip
    assert small.price == Price(input=1, output=2.5, cached_input=0)
    assert (small.spec.context_window, small.spec.limits) == (400_000, Limits(500, 200_000, 32))
    assert (house.model, house.price, house.spec.limits) == ("openai:org/llama", None, Limits())


def spec(model: Any) -> ModelSpec:
    assert isinstance(model, ModelSpec)
    return model


def test_a_tier_inherits_and_its_own_wins(full: Project) -> None:
    first, second = full.tasks["cascade"].policy.tiers
    small, house = spec(first.model), spec(second.model)
    assert (first.name, small.name, small.api_key) == (
        "small",
        "openai:gpt-5-mini",
        "env:SMALL_KEY",
    )
    assert first.params == {"temperature": 1, "stop": ["a"], "seed": 1}
    assert (first.timeout, small.cancel_stops_billing) == (5, True)
    assert (small.price, first.price) == (Price(input=0.5, output=1), None)
    assert (small.limits, small.context_window) == (Limits(500, 200_000, 32), 400_000)
    assert (second.name, house.name, house.base_url) == ("own", "openai:org/llama", "http://a/v1")
    assert [spec(stand_in).base_url for stand_in in second.fallbacks] == ["http://b/v1"]
    assert (house.price, second.timeout) == (None, 120)
    assert full.models["small"].spec.price == Price(input=1, output=2.5, cached_input=0)


def test_tiers_share_a_model_as_it_stands(full: Project) -> None:
    assert full.tasks["default"].policy.tiers[0].model is full.models["small"].spec


def test_what_a_tier_says_is_for_its_models_in_text_too(folder: Folder) -> None:
    text = (
        '[models.a]\nmodel = "openai:a"\nprice = "unknown"\n[[tasks.t.tiers]]\nmodel = "a"\n'
        'fallbacks = ["openai:b", "a"]\nbase_url = "http://t/v1"\n'
        "price = { input = 1, output = 1 }\n"
    )
    (tier,) = load_project(folder.write("cascade.toml", text)).tasks["t"].policy.tiers
    assert spec(tier.model).base_url == tier.base_url == "http://t/v1"
    assert spec(tier.model).price == tier.price == Price(input=1, output=1)
    plain, named = tier.fallbacks
    assert (plain, spec(named).base_url, spec(named).price) == ("openai:b", None, None)


def test_every_key_reaches_the_task(full: Project, folder: Folder) -> None:
    task = full.tasks["cascade"]
    assert (task.golden, task.override) == (folder.path / "golden.jsonl", ("alice", "bob"))
    limits = task.thresholds
    assert (limits.min_accuracy, limits.min_recall) == (0.95, 0.9)
    assert (limits.max_latency_p95, limits.max_cost_per_call) == (2.5, 0.001)
    assert (task.policy.name, task.policy.priority) == ("cascade", "background")
    assert task.policy.delays == (None, 0.5)
    assert (task.file.description, task.file.checks) == ("Two tiers.", ("check", None))


def test_a_task_that_says_nothing_has_the_default_model(full: Project) -> None:
    (tier,) = full.tasks["default"].policy.tiers
    assert (tier.name, tier.timeout) == ("small", 20)
    assert full.defaults.model == "small"
    assert full.tasks["static"].policy.tiers[0].name == "house"


def test_the_examples_have_every_key(full: Project) -> None:
    del full
    elsewhere = {"policy", "tiers", "prefer", "grace", "deadline", "exhausted", "router", "efforts"}
    for key in {*ModelTable.__struct_fields__, *TaskTable.__struct_fields__} - elsewhere:
        assert f"\n{key} = " in FULL or f".{key}]" in FULL, key


def test_what_it_was_read_from(full: Project, folder: Folder) -> None:
    assert full.path == folder.path / "cascade.toml"
    assert full.files == (full.path,)
    assert full.warnings == ()
    assert "SMALL_KEY" not in repr(full.tasks)


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        ('[models.a]\nmodel = "openai:gpt-5"\n', ["1: models.a: no task uses it"]),
        (
            '[[tasks.t.tiers]]\nmodel = "openai:gpt-5"\n'
            '[[tasks.t.tiers]]\nmodel = "openai:gpt-5-mini"\n',
            ["3: tasks.t.tiers[1]: is cheaper than 'openai:gpt-5' before it: tiers go from cheap "
             "to strong"],
        ),
        (
            '[[tasks.t.tiers]]\nmodel = "openai:gpt-5-mini"\n'
            '[[tasks.t.tiers]]\nmodel = "function:os.path:basename"\n',
            ["3: tasks.t.tiers[1]: is cheaper than 'openai:gpt-5-mini' before it: tiers go from "
             "cheap to strong"],
        ),
        (
            '[[tasks.t.tiers]]\nmodel = "openai:gpt-5-mini"\nsamples = 9\nverify = "agreement"\n'
            '[[tasks.t.tiers]]\nmodel = "openai:gpt-5"\n',
            ["5: tasks.t.tiers[1]: is cheaper than 'openai:gpt-5-mini' before it: tiers go from "
             "cheap to strong"],
        ),
        # Dearer to ask and cheaper to answer: who knows.
        (
            '[[tasks.t.tiers]]\nmodel = "openai:a"\nprice = { input = 1, output = 9 }\n'
            '[[tasks.t.tiers]]\nmodel = "openai:b"\nprice = { input = 2, output = 8 }\n',
            [],
        ),
        (
            '[[tasks.t.tiers]]\nmodel = "openai:gpt-5"\n'
            '[[tasks.t.tiers]]\nmodel = "openai:b"\nprice = "unknown"\n',
            [],
        ),
        (
            '[models.a]\nmodel = "openai:gpt-5-mini"\n[models.b]\nmodel = "openai:gpt-5"\n'
            'fallbacks = ["a"]\n[tasks.t]\nmodel = "b"\n',
            [],
        ),
        (
            '[models.a]\nmodel = "openai:gpt-5-mini"\n[tasks.t]\nmodel = "openai:gpt-5"\n'
            '[tasks.u]\nmodel = "openai:gpt-5"\n[routers.r]\ntasks = ["t", "u"]\n'
            'router = { name = "llm", model = "a", labels = { x = "t", y = "u" } }\n',
            [],
        ),
        (
            "[budget]\nper_call = 3\nday = 2\nmonth = 9\n",
            ["2: budget.per_call: 3 does nothing: the limit of the day is 2"],
        ),
        (
            '[tasks.t]\nmodel = "openai:gpt-5"\n[budget]\nper_call = 1\nday = 2\n'
            "[budget.tasks.t]\nper_call = 2.5\nhour = 0.5\nday = 3\n",
            ["9: budget.tasks.t.day: 3 does nothing: all tasks together have 2",
             "7: budget.tasks.t.per_call: 2.5 does nothing: all tasks together have 1",
             "7: budget.tasks.t.per_call: 2.5 does nothing: the limit of the hour is 0.5"],
        ),
        (
            '[tasks.t]\nmodel = "openai:gpt-5"\n[budget]\nper_call = 2\nday = 2\n'
            "[budget.tasks.t]\nday = 2\n",
            [],
        ),
    ],
)  # fmt: skip
def test_what_is_hardly_meant_is_a_warning(folder: Folder, text: str, warnings: list[str]) -> None:
    path = folder.write("cascade.toml", text)
    assert list(load_project(path).warnings) == [f"{path}:{warning}" for warning in warnings]


def test_a_policy_file_of_a_task_is_warned_about_where_it_stands(folder: Folder) -> None:
    path = folder.write(
        "sub/p.toml",
        '[[tiers]]\nmodel = "openai:gpt-5"\n[[tiers]]\nmodel = "openai:gpt-5-mini"\n',
    )
    folder.write("cascade.toml", '[tasks.t]\npolicy = "sub/p.toml"\n')
    (warning,) = load_project("cascade.toml").warnings
    assert warning.startswith("sub/p.toml:3: tiers[1]: is cheaper")
    assert path in [file.absolute() for file in load_project("cascade.toml").files]


def test_an_ensemble_of_models(folder: Folder) -> None:
    text = "".join(
        f'[models.{name}]\nmodel = "openai:{name}"\nprice = "unknown"\nbase_url = "http://{name}"\n'
        f"params = {{ seed = 1, top_p = {top_p} }}\n"
        for name, top_p in (("a", 0.5), ("b", 0.5), ("c", 1.0))
    )
    tier = '[[tasks.t.tiers]]\nname = "{0}"\nmodel = ["a", "{1}"]\nverify = "agreement"\n{2}'
    text += tier.format("same", "b", "params = { seed = 2 }\n")
    text += tier.format("differ", "c", "params = { seed = 2 }\n")
    same, differ = load_project(folder.write("cascade.toml", text)).tasks["t"].policy.tiers
    assert [spec(model).base_url for model in same.models] == ["http://a", "http://b"]
    assert (same.params, differ.params) == ({"seed": 2, "top_p": 0.5}, {"seed": 2})


def test_a_router_has_its_models_settings(folder: Folder) -> None:
    text = (
        '[models.a]\nmodel = "openai:a"\nprice = "unknown"\nbase_url = "http://a"\n'
        '[[tasks.t.tiers]]\nmodel = "a"\n[[tasks.t.tiers]]\nmodel = "openai:gpt-5"\n'
        '[tasks.t.router]\nname = "llm"\nmodel = "a"\nlabels = { x = "a", y = "openai:gpt-5" }\n'
    )
    project = load_project(folder.write("cascade.toml", text))
    router: Any = project.tasks["t"].policy.router
    assert router.models == (project.models["a"].spec,)


def test_a_router_over_tasks(folder: Folder) -> None:
    script("bill", "billing here")
    text = (
        '[models.s]\nmodel = "scripted:bill"\nprice = "unknown"\n[tasks.a]\nmodel = "s"\n'
        '[tasks.b]\nmodel = "s"\n[routers.r]\ntasks = ["a", "b"]\nrouter = { name = "heuristic", '
        'rules = [{ when = { regex = "bill" }, start = "b" }] }\n'
    )
    entry = load_project(folder.write("cascade.toml", text)).entries["r"]
    assert isinstance(entry, Entry)
    assert list(entry.policies) == ["a", "b"]


class TestWithModel:
    """An application that offers its users a choice of models."""

    def test_one_tier_checked_as_the_last(self, full: Project) -> None:
        policy = full.with_model("cascade", "small", by="alice")
        (tier,) = policy.tiers
        assert (policy.name, policy.priority, tier.name) == ("cascade", "background", "small")
        assert (tier.model, tier.prompt) == (full.models["small"].spec, "{{prompt}}, please")
        assert (tier.timeout, list(tier.fallbacks)) == (20, [])
        assert full.with_model("cascade", "small", by="bob") is policy

    def test_a_model_brings_its_stand_ins(self, full: Project) -> None:
        (tier,) = full.with_model("default", "house").tiers
        assert list(tier.fallbacks) == [full.models["backup"].spec]

    @pytest.mark.parametrize(
        ("task", "model", "by", "says"),
        [
            ("cascade", "small", "eve", r"by='eve' may not override its model: see 'override' of"),
            ("cascade", "small", None, r"by=None may not override its model"),
            ("static", "small", "alice", r"nobody may override its model"),
            ("cascade", "smal", "alice", r"no model 'smal': did you mean 'small'"),
            ("cascad", "small", "alice", r"no task 'cascad': did you mean 'cascade'"),
        ],
    )
    def test_who_may_not(
        self, full: Project, task: str, model: str, by: str | None, says: str
    ) -> None:
        with pytest.raises(ConfigError, match=says):
            full.with_model(task, model, by=by)

    @pytest.mark.anyio
    async def test_it_is_run_like_any_policy(self, folder: Folder) -> None:
        script("a", "one")
        script("b", "two")
        text = "".join(
            f'[models.{name}]\nmodel = "scripted:{name}"\nprice = "unknown"\n' for name in "ab"
        )
        project = load_project(folder.write("cascade.toml", text + '[tasks.t]\nmodel = "a"\n'))
        result = await cascade(project.with_model("t", "b"), "x")
        assert (result.text, result.policy, result.tier) == ("two", "t", "b")


class TestSettings:
    """What engines get."""

    BOTH = '[ledger]\npath = "calls.db"\nprompt = "hash"\n[budget]\nday = 20\n'

    @pytest.fixture(autouse=True)
    def _alone(self, tick: Any) -> None:
        """No project from before."""

    def test_nothing_without_a_project(self, folder: Folder) -> None:
        assert project_settings() == {}
        folder.write("cascade.toml", "")

    @pytest.mark.anyio
    async def test_an_engine_takes_them(self, folder: Folder) -> None:
        folder.write("cascade.toml", self.BOTH)
        settings = project_settings()
        ledger, drift = settings["observers"]
        assert ledger.path == settings["budget"].path == folder.path / "calls.db"
        async with Engine(**settings):
            assert project_settings()["observers"] == [ledger, drift], "one for all engines"
        settings["budget"].close()

    def test_the_ledger_is_beside_the_project(
        self, folder: Folder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = folder.write("sub/cascade.toml", "[ledger]\n")
        assert load_project(path).ledger_path == path.parent / ".cascade" / "ledger.db"
        monkeypatch.setenv("CASCADE_LEDGER", str(folder.path / "other.db"))
        assert load_project(path).ledger_path == folder.path / "other.db"
        path = folder.write("sub/cascade.toml", self.BOTH)
        assert load_project(path).ledger_path == path.parent / "calls.db"


class TestOpened:
    """A project given to an engine, wherever the working directory is."""

    @pytest.fixture(autouse=True)
    def _alone(self, tick: Any) -> None:
        self.tick = tick

    TASK = '[tasks.t]\nmodel = "function:os.path:{}"\n'

    def test_one_that_is_elsewhere(self, folder: Folder) -> None:
        path = folder.write("sub/cascade.toml", self.TASK.format("basename") + "[ledger]\n")
        assert open_project(None) is None
        source = open_project(path)
        assert source is not None
        assert isinstance(source, FollowedProject)
        first = source.find("t")
        assert source.find("t") is first
        assert source.find("extract").name == "extract"
        assert source.settings()["observers"] is source.settings()["observers"]
        folder.write("sub/cascade.toml", self.TASK.format("dirname"))
        self.tick()
        assert source.find("t") is not first
        assert source.settings() == {}

    def test_reload_raises_and_keeps_the_version_before(self, folder: Folder) -> None:
        folder.write("cascade.toml", self.TASK.format("basename"))
        source = open_project(None)
        assert source is not None
        first = source.find("t")
        folder.write("cascade.toml", "[tasks.t]\n")
        with pytest.raises(ConfigError, match="says nothing"):
            source.reload()
        assert source.find("t") is first

    def test_no_file_is_an_error(self, folder: Folder) -> None:
        with pytest.raises(ConfigError, match="cannot read the file"):
            open_project(folder.path / "none.toml")
