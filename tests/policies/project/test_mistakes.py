"""Every mistake in a project file is refused with its line, its key and what is right instead."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from cascade.errors import PolicyFileError
from cascade_policies.project import load_project

M = '[models.m]\nmodel = "openai:gpt-5-mini"\n'  # lines 1 and 2
T = '[tasks.t]\nmodel = "m"\n'  # lines 3 and 4 after M
TIER = '[tasks.t]\n[[tasks.t.tiers]]\nmodel = "m"\n'  # lines 3 to 5 after M
TWO = T + '[tasks.u]\nmodel = "openai:gpt-5"\n'  # lines 3 to 6 after M
RULES = '[{ when = { min_words = 9 }, start = "u" }]'
R = f'[routers.r]\nrouter = {{ name = "heuristic", rules = {RULES} }}\n'


class Mistake(NamedTuple):
    """A file, where its mistake is, and what the message says about it."""

    text: str
    line: int | None
    key: str | None
    says: str


SHAPE = [
    Mistake("[models.m]\nmodel = x\n", 2, None, "not valid TOML: Invalid value x: text goes in"),
    Mistake("[model.m]\n", 1, "model", "unknown key: did you mean 'models'?"),
    Mistake("[task.t]\n", 1, "task", "unknown key: did you mean 'tasks'?"),
    Mistake("zzz = 1\n", 1, "zzz", "unknown key: known: budget, defaults, ledger"),
    Mistake('[[tiers]]\nmodel = "m"\n', 1, "tiers", "it belongs in a [tasks.NAME] table"),
    Mistake("models = 3\n", 1, "models", "got 3: needs one [models.NAME] table for each model"),
    Mistake("[models]\nm = 3\n", 2, "models.m", "got 3: needs a [models.NAME] table"),
    Mistake("[tasks]\nt = 'm'\n", 2, "tasks.t", "got 'm': needs a [tasks.NAME] table"),
    Mistake("tasks = []\n", 1, "tasks", "got []: needs one [tasks.NAME] table"),
    Mistake("routers = 1\n", 1, "routers", "needs one [routers.NAME] table"),
    Mistake("budget = 20\n", 1, "budget", "got 20: needs a table, like [budget] with day"),
    Mistake("ledger = true\n", 1, "ledger", "got true: needs a table, like [ledger] with"),
    Mistake('defaults = "m"\n', 1, "defaults", "got 'm': needs a table, like [defaults]"),
]

MODELS = [
    Mistake("[models.m]\n", 1, "models.m.model", "missing: give the provider's name of the"),
    Mistake("[models.m]\nmodel = 3\n", 2, "models.m.model", "got 3: needs the provider's name"),
    Mistake('[models.m]\nmodel = ""\n', 2, "models.m.model", "needs the provider's name of the"),
    Mistake('[models.m]\nmodel = "gpt-5"\n', 2, "models.m.model", "write 'provider:model'"),
    Mistake('[models.m]\nmodel = "opnai:x"\n', 2, "models.m.model", "did you mean 'openai'?"),
    Mistake('[models.m]\nprovider = "opnai"\nmodel = "x"\n', 2, "models.m.provider",
            "no provider 'opnai': did you mean 'openai'?"),
    Mistake('[models.m]\nprovider = "openai:"\nmodel = "x"\n', 2, "models.m.provider",
            "got 'openai:': needs a name alone"),
    Mistake('[models.m]\nprovider = "openai"\nmodel = "openai:gpt-5"\n', 3, "models.m.model",
            "names its provider again"),
    Mistake('[models."a:b"]\nmodel = "openai:gpt-5"\n', 1, 'models."a:b"', "no ':' and no '/'"),
    Mistake('[models.""]\nmodel = "openai:gpt-5"\n', 1, 'models.""', "no ':' and no '/'"),
    Mistake(M + "modl = 1\n", 3, "models.m.modl", "unknown key: did you mean 'model'?"),
    Mistake(M + "temperature = 0\n", 3, "models.m.temperature", "in the model's params, as params"),
    Mistake(M + "concurrency = 4\n", 3, "models.m.concurrency", "belongs in the 'limits' of a"),
    Mistake(M + "retries = 4\n", 3, "models.m.retries", "belongs in a [[tasks.NAME.tiers]] table"),
    Mistake(M + 'api_key = "sk-1"\n', 3, "models.m.api_key", 'a variable and write "env:NAME"'),
    Mistake(M + "api_key = 3\n", 3, "models.m.api_key", "got another type: needs text"),
    Mistake(M + "base_url = 'https://me:hunter2@host/v1'\n", 3, "models.m.base_url",
            "has a user or password in it: give the secret as api_key"),
    Mistake(M + "base_url = 'https://host/v1?api-key=hunter2'\n", 3, "models.m.base_url",
            "has 'api-key' in it: give the secret as api_key"),
    Mistake(M + "base_url = ''\n", 3, "models.m.base_url", "is empty: leave it out"),
    Mistake(M + "base_url = 'ftp://x'\n", 3, "models.m.base_url", "is no address of HTTP: needs"),
    Mistake(M + "base_url = 'http://a:99999/'\n", 3, "models.m.base_url", "impossible host"),
    Mistake(M + "base_url = 'http://a b/'\n", 3, "models.m.base_url", "has a space or a control"),
    Mistake(M + "base_url = 3\n", 3, "models.m.base_url", "got 3: needs text"),
    Mistake('[models.m]\nmodel = "function:os.path:basename"\nbase_url = "http://x"\n', 3,
            "models.m.base_url", "does nothing for the provider 'function'"),
    Mistake('[models.m]\nmodel = "local:smollm2-135m"\napi_key = "env:X"\n', 3,
            "models.m.api_key", "does nothing for the provider 'local'"),
    Mistake('[models.m]\nmodel = "openai:my-own"\n', 2, "models.m.model",
            'no price is published for openai:my-own: give price = { input = …, output = … }'),
    Mistake(M + 'price = "unknown"\n', 3, "models.m.price", "is published (0.25 and 2 US dollars"),
    Mistake('[models.m]\nmodel = "local:smollm2-135m"\nprice = "unknown"\n', 3, "models.m.price",
            "local:smollm2-135m costs nothing: leave this out"),
    Mistake(M + 'price = "cheap"\n', 3, "models.m.price", 'needs a table, like { input = 0.25'),
    Mistake(M + "price = { input = 1 }\n", 3, "models.m.price.output", "missing: give US dollars"),
    Mistake(M + "price = { inptu = 1 }\n", 3, "models.m.price.inptu", "did you mean 'input'?"),
    Mistake(M + "price = { input = -1, output = 1 }\n", 3, "models.m.price.input", "got -1: give"),
    Mistake(M + "context_window = 0\n", 3, "models.m.context_window", "got 0: needs 1 or more"),
    Mistake(M + "context_window = '1k'\n", 3, "models.m.context_window", "needs tokens: a whole"),
    Mistake(M + "limits = {}\n", 3, "models.m.limits", "limits nothing: give one of its keys"),
    Mistake(M + "limits = { rpm = 5 }\n", 3, "models.m.limits.rpm", "known: concurrency, requests"),
    Mistake(M + "limits = { concurrency = 0 }\n", 3, "models.m.limits.concurrency", "got 0: needs"),
    Mistake(M + "limits = { tokens_per_minute = 1.5 }\n", 3, "models.m.limits.tokens_per_minute",
            "got 1.5: needs a whole number, 1 or more"),
    Mistake(M + "timeout = 0\n", 3, "models.m.timeout", "got 0: needs seconds above 0"),
    Mistake(M + 'timeout = "5s"\n', 3, "models.m.timeout", 'got \'5s\': needs seconds, or "none"'),
    Mistake(M + "params = { a = 1979-05-27 }\n", 3, "models.m.params.a", "write it in quotes"),
    Mistake(M + 'strengths = "code"\n', 3, "models.m.strengths", "needs a list of words"),
    Mistake(M + 'strengths = [1]\n', 3, "models.m.strengths[0]", "got 1: needs a list of words"),
    Mistake(M + 'fallbacks = "m"\n', 3, "models.m.fallbacks", "got 'm': needs a list of"),
    Mistake(M + 'fallbacks = ["m"]\n', 3, "models.m.fallbacks[0]", "cannot stand in for itself"),
    Mistake(M + 'fallbacks = ["n"]\n', 3, "models.m.fallbacks[0]", "no model 'n': known: m"),
    Mistake(M + 'fallbacks = ["opnai:x"]\n', 3, "models.m.fallbacks[0]", "did you mean 'openai'?"),
]  # fmt: skip

TASKS = [
    Mistake('[tasks."a/b"]\nmodel = "openai:gpt-5"\n', 1, 'tasks."a/b"', "has no '/' in it"),
    Mistake('[tasks."a.toml"]\nmodel = "openai:gpt-5"\n', 1, 'tasks."a.toml"', "does not end in"),
    Mistake("[tasks.t]\n", 1, "tasks.t", "says nothing of how it is answered: give model"),
    Mistake(M + "[tasks.t]\nmodel = 3\n", 4, "tasks.t.model", "needs the name of a [models.NAME]"),
    Mistake(M + '[tasks.t]\nmodel = ""\n', 4, "tasks.t.model", "a tier needs a model"),
    Mistake(M + '[tasks.t]\nmodel = "n"\n', 4, "tasks.t.model", "no model 'n': known: m (or write"),
    Mistake('[tasks.t]\nmodel = "n"\n', 2, "tasks.t.model", "no model 'n': add a [models.n] table"),
    Mistake('[tasks.t]\nmodel = "openai:own"\n', 2, "tasks.t.model", "no price is published for"),
    Mistake('[defaults]\nmodel = "n"\n', 2, "defaults.model", "no model 'n': add a [models.n]"),
    Mistake("[defaults]\nmodle = 1\n", 2, "defaults.modle", "did you mean 'model'?"),
    Mistake(M + T + 'policy = "p.toml"\n', 4, "tasks.t.model", "give this or 'policy', not both"),
    Mistake(M + T + "[[tasks.t.tiers]]\n", 5, "tasks.t.tiers", "give this or 'model', not both"),
    Mistake(M + T + "tier = 1\n", 5, "tasks.t.tier", "did you mean 'tiers'?"),
    Mistake(M + T + "timeout = 5\n", 5, "tasks.t.timeout", "it belongs in a [[tasks.NAME.tiers]]"),
    Mistake(M + T + "context_window = 5\n", 5, "tasks.t.context_window", "a [models.NAME] table"),
    Mistake("[tasks.t]\ntiers = []\n", 2, "tasks.t.tiers", "at least one [[tasks.t.tiers]] table"),
    Mistake("[tasks.t]\npolicy = 'no.toml'\n", 2, "tasks.t.policy", "no policy file '"),
    Mistake("[tasks.t]\npolicy = 'extrct'\n", 2, "tasks.t.policy", "did you mean 'extract'?"),
    Mistake("[tasks.t]\npolicy = 'p.toml'\ndeadline = 5\n", 3, "tasks.t.deadline",
            "does nothing beside 'policy': write it in p.toml"),
    Mistake(M + T + "start_after = 0\n", 5, "tasks.t.start_after", "needs a second tier"),
    Mistake(M + T + 'start_after = "p"\n', 5, "tasks.t.start_after", "got 'p': needs seconds"),
    Mistake(M + T + 'priority = "high"\n', 5, "tasks.t.priority", "needs 'critical', 'normal'"),
    Mistake(M + T + 'golden = "no.jsonl"\n', 5, "tasks.t.golden", "no file '"),
    Mistake(M + T + "golden = 3\n", 5, "tasks.t.golden", "got 3: needs the path of a golden set"),
    Mistake(M + T + "min_accuracy = 0.9\n", 5, "tasks.t.min_accuracy", "needs a 'golden' set"),
    Mistake(M + T + 'golden = "g.jsonl"\nmin_recall = 95\n', 6, "tasks.t.min_recall",
            "got 95.0: needs a number in [0, 1]"),
    Mistake(M + T + "max_latency_p95 = 0\n", 5, "tasks.t.max_latency_p95", "needs a number above"),
    Mistake(M + T + "max_cost_per_call = inf\n", 5, "tasks.t.max_cost_per_call", "got inf: needs"),
    Mistake(M + T + 'override = "alice"\n', 5, "tasks.t.override", 'needs "any", "none", or a'),
    Mistake(M + T + "override = []\n", 5, "tasks.t.override", 'names nobody: write "none"'),
    Mistake(M + T + 'override = ["a", "a"]\n', 5, "tasks.t.override[1]", "'a' is named twice"),
    Mistake(M + T + 'variables = ["x"]\n', 5, "tasks.t.variables[0]", "no template uses 'x'"),
    Mistake(M + T + 'variables = "x"\n', 5, "tasks.t.variables", "needs a list of names"),
    Mistake(M + T + 'variables = ["prompt"]\n', 5, "tasks.t.variables[0]", "is always there"),
    Mistake(M + T + 'variables = ["a b"]\n', 5, "tasks.t.variables[0]", "is no name of a variable"),
    Mistake(M + T + 'efforts.quick = {}\n', 5, "tasks.t.efforts.quick", "known: balanced, best"),
    Mistake(M + T + 'efforts.best = { start = "x" }\n', 5, "tasks.t.efforts.best.start", "known"),
    Mistake(M + T + 'efforts.best = { start = 4 }\n', 5, "tasks.t.efforts.best.start", "0 to 0"),
    Mistake(M + T + 'efforts.best = { max_cost = 0 }\n', 5, "tasks.t.efforts.best.max_cost",
            "got 0.0: needs US dollars above 0"),
    Mistake(M + T + 'efforts.best = { deadline = -1 }\n', 5, "tasks.t.efforts.best.deadline",
            "got -1: needs seconds above 0"),
    Mistake(M + T + '[tasks.t.verifiers.v]\nuse = "grounded"\n', 5, "tasks.t.verifiers.v",
            "no tier uses it"),
    Mistake(M + T + 'router = { name = "heuristic" }\n', 5, "tasks.t.router", "rules"),
    Mistake(M + T + 'router = "heurstic"\n', 5, "tasks.t.router", "did you mean 'heuristic'?"),
    Mistake(M + T + "router = 3\n", 5, "tasks.t.router", "got 3: needs a router's name"),
    Mistake(M + T + 'router = { use = "llm" }\n', 5, "tasks.t.router", "write name = instead of"),
]  # fmt: skip

TIERS = [
    Mistake(M + "[tasks.t]\n[[tasks.t.tiers]]\n", 4, "tasks.t.tiers[0].model", "missing: give"),
    Mistake(M + TIER + "treshold = 1\n", 6, "tasks.t.tiers[0].treshold", "mean 'threshold'?"),
    Mistake(M + TIER + "deadline = 1\n", 6, "tasks.t.tiers[0].deadline", "in a [tasks.NAME] table"),
    Mistake(M + TIER + "temperature = 1\n", 6, "tasks.t.tiers[0].temperature", "the tier's params"),
    Mistake(M + TIER + 'timeout = "5"\n', 6, "tasks.t.tiers[0].timeout", "got '5': needs seconds"),
    Mistake(M + TIER + 'verify = "grunded"\n', 6, "tasks.t.tiers[0].verify", "mean 'grounded'?"),
    Mistake(M + TIER + "threshold = 0.5\n", 6, "tasks.t.tiers[0].threshold", "a 'verify' beside"),
    Mistake(M + TIER + 'system = "{{x}}"\n', 6, "tasks.t.tiers[0].system",
            "its variable 'x' is not declared: declare it: variables = [\"x\"]"),
    Mistake(M + TIER + 'prompt_file = "x.md"\n', 6, "tasks.t.tiers[0].prompt_file",
            "its variable 'tone' is not declared"),
    Mistake(M + TIER.replace("t]\n", "t]\nvariables = ['tone']\n", 1) + 'system = "{{ton}}"\n', 7,
            "tasks.t.tiers[0].system", "did you mean 'tone'?"),
    Mistake(M + TIER + "examples = [{ user = 'a' }]\n", 6, "tasks.t.tiers[0].examples[0].assistant",
            "missing: give text"),
    Mistake(M + TIER + "examples = [['a', 'b']]\n", 6, "tasks.t.tiers[0].examples[0]",
            "got ['a', 'b']: needs a list of { user"),
    Mistake(M + TIER + 'price = "unknown"\n', 6, "tasks.t.tiers[0].price", "is published"),
    Mistake(M + TIER + 'fallbacks = ["n"]\n', 6, "tasks.t.tiers[0].fallbacks[0]", "no model 'n'"),
    Mistake(M + TIER + "[[tasks.t.tiers]]\nmodel = 'm'\n", 7, "tasks.t.tiers[1].model",
            "two tiers are named 'm'"),
    Mistake(M + TIER + 'verify = { use = "judge", rubric = "x", model = "n" }\n', 6,
            "tasks.t.tiers[0].verify.model", "no model 'n': known: m"),
    Mistake(M + 'timeout = 3\n' + TIER.replace('"m"', '["m", "openai:gpt-5"]'), 6,
            "tasks.t.tiers[0].model", "its models differ in 'timeout', and an ensemble has one"),
    Mistake(M + TIER + "base_url = 'http://me:hunter2@host/v1'\n", 6, "tasks.t.tiers[0].base_url",
            "has a user or password in it: give the secret as api_key"),
    Mistake(M + TIER + "base_url = ''\n", 6, "tasks.t.tiers[0].base_url", "is empty: leave it out"),
    Mistake(M + TIER + 'verify = { use = "judge", rubric = "x", judges = ["m", "n"] }\n', 6,
            "tasks.t.tiers[0].verify.judges[1]", "no model 'n': known: m (or write 'prov"),
]  # fmt: skip

REST = [
    Mistake(M + TWO + "[routers.r]\n", 7, "routers.r.router", "missing: give a router's name"),
    Mistake(M + TWO + R, 7, "routers.r.tasks", "missing: give a list of names of tasks"),
    Mistake(M + TWO + R + 'tasks = ["t", "x"]\n', 9, "routers.r.tasks[1]", "no task 'x': known: t"),
    Mistake(M + TWO + R + 'tasks = ["t", "t"]\n', 9, "routers.r.tasks[1]", "is there already"),
    Mistake(M + TWO + R + 'tasks = ["t"]\n', 9, "routers.r.tasks", "needs two tasks or more"),
    Mistake(M + TWO + R.replace(".r]", ".t]") + 'tasks = ["t", "u"]\n', 7, "routers.t",
            "'t' is the name of a task: choose another"),
    Mistake(M + TWO + R.replace('"u"', '"x"') + 'tasks = ["t", "u"]\n', 8, "routers.r.router.rules",
            "heuristic: rules: rule 1: start='x': known: t, u"),
    Mistake("[budget]\n", 1, "budget", "sets no limit: give per_call, hour, day, month"),
    Mistake("[budget]\ndya = 1\n", 2, "budget.dya", "unknown key: did you mean 'day'?"),
    Mistake("[budget]\nday = '20'\n", 2, "budget.day", "got '20': needs US dollars above 0"),
    Mistake("[budget]\nday = 1\ntimezone = 'Europe/Berln'\n", 3, "budget.timezone", "Berlin"),
    Mistake("[budget]\nday = 1\n[budget.tasks.x]\nday = 1\n", 3, "budget.tasks.x", "no task 'x'"),
    Mistake("[budget]\nday = 1\nsteps = [{ hedges = false }]\n", 3, "budget.steps[0].above",
            "missing: give a fraction"),
    Mistake("[budget]\nday = 1\norphans = 'x'\n", 3, "budget.orphans", "needs 'charge' or 'free'"),
    Mistake("[ledger]\npaht = 'x'\n", 2, "ledger.paht", "unknown key: did you mean 'path'?"),
    Mistake("[ledger]\npath = ''\n", 2, "ledger.path", "needs the path of a database"),
    Mistake("[ledger]\nprompt = 'full'\n", 2, "ledger.prompt", "needs 'text', 'hash' or 'none'"),
    Mistake("[ledger]\nqueue = 0\n", 2, "ledger.queue", "got 0: needs 1 call or more"),
    Mistake("[ledger]\nflush_seconds = 5\n", 2, "ledger.flush_seconds", "got 5: needs seconds abo"),
    Mistake("[ledger]\nmax_age_days = -1\n", 2, "ledger.max_age_days", "got -1: needs days above"),
    Mistake("[ledger]\nredact = 'nowhere:x'\n", 2, "ledger.redact", "cannot import 'nowhere'"),
    Mistake("[ledger]\nredact = 'os:sep'\n", 2, "ledger.redact", "is no function"),
    Mistake("[ledger]\nredact = 'os'\n", 2, "ledger.redact",
            "got 'os': needs \"package.module:function\""),
    Mistake("[ledger]\nredact = 'os:'\n", 2, "ledger.redact", "got 'os:': needs \"package"),
    Mistake("[ledger]\npath = '.'\n", 2, "ledger.path", "is no file: give the path of a database"),
    Mistake("[ledger]\npath = 'cascade.toml'\n", 2, "ledger.path", "is a file of another kind"),
]  # fmt: skip

DAY = "[budget]\nday = 1\n"  # lines 1 and 2
OWN = '[models.own]\nmodel = "openai:own"\nprice = "unknown"\n'
LLM = '{ name = "llm", model = "MODEL", labels = { a = "t", b = "u" } }'
CLOSED = "price unknown under a [budget]: openai:own would never be called: give price = {"
BUDGETED = [
    Mistake(DAY + OWN, 5, "models.own.price", CLOSED),
    Mistake(DAY + '[tasks.t]\n[[tasks.t.tiers]]\nmodel = "openai:own"\nprice = "unknown"\n', 6,
            "tasks.t.tiers[0].price", CLOSED),
    Mistake(DAY + '[tasks.t]\npolicy = "own.toml"\n', 3, "tiers[0].price", CLOSED),
    Mistake(DAY + '[tasks.t]\nmodel = "openai:gpt-5"\n[tasks.u]\nmodel = "openai:gpt-5"\n'
            '[routers.r]\ntasks = ["t", "u"]\nrouter = '
            + LLM.replace("MODEL", "openai:own") + "\n", 9,
            "routers.r.router", CLOSED),
    Mistake(DAY + "[tasks.t]\nrouter = " + LLM.replace("MODEL", "openai:own")
            + '\n[[tasks.t.tiers]]\nname = "t"\nmodel = "openai:gpt-5"\n'
            '[[tasks.t.tiers]]\nname = "u"\nmodel = "openai:gpt-5"\n', 4, "tasks.t.router", CLOSED),
    Mistake(DAY + '[tasks.t]\n[[tasks.t.tiers]]\nmodel = "openai:gpt-5"\n'
            'verify = { use = "judge", rubric = "x", model = "openai:own" }\n', 6,
            "tasks.t.tiers[0].verify", CLOSED),
]  # fmt: skip

ALL = [*SHAPE, *MODELS, *TASKS, *TIERS, *REST, *BUDGETED]


def test_there_are_enough_of_them() -> None:
    assert len({(mistake.text, mistake.key) for mistake in ALL}) == len(ALL) >= 60


@pytest.mark.parametrize("mistake", ALL, ids=lambda m: f"{m.key or 'file'} {m.says[:30]}")
def test_mistake(mistake: Mistake, tmp_path: Path) -> None:
    (tmp_path / "x.md").write_text("In a {{tone}} tone: {{prompt}}")
    (tmp_path / "g.jsonl").write_text("{}\n")
    (tmp_path / "p.toml").write_text('[[tiers]]\nmodel = "openai:gpt-5"\n')
    own = tmp_path / "own.toml"
    own.write_text('[[tiers]]\nmodel = "openai:own"\nprice = "unknown"\n')
    path = tmp_path / "cascade.toml"
    path.write_text(mistake.text, encoding="utf-8")
    with pytest.raises(PolicyFileError) as caught:
        load_project(path)
    error = caught.value
    assert mistake.says in error.message
    assert (error.line, error.key) == (mistake.line, mistake.key)
    assert error.file == str(path if "own.toml" not in mistake.text else own)
    assert "hunter2" not in f"{error} {error!r}"


@pytest.mark.parametrize(
    "price",
    [
        "price = { input = 0, output = 0 }",
        'base_url = "http://own"\nprice = { input = 1, output = 1 }',
    ],
)
def test_a_budget_takes_what_has_a_price_or_costs_nothing(tmp_path: Path, price: str) -> None:
    (tmp_path / "cascade.toml").write_text(
        f'{DAY}[models.own]\nmodel = "openai:own"\n{price}\n'
        '[models.code]\nmodel = "function:os.path:basename"\n'
        '[tasks.t]\nmodel = "own"\n[tasks.u]\nmodel = "code"\n'
        f'[routers.r]\ntasks = ["t", "u"]\nrouter = {LLM.replace("MODEL", "own")}\n'
    )
    assert load_project(tmp_path / "cascade.toml").warnings == ()


@pytest.mark.parametrize(
    ("policy", "line", "key", "says"),
    [
        ('[[tiers]]\nmodel = "n"\n', 2, "tiers[0].model", "no model 'n': known: m"),
        ('[[tiers]]\nmodel = "openai:own"\n', 2, "tiers[0].model", "no price is published"),
        ("[[tiers]]\nmodle = 3\n", 2, "tiers[0].modle", "did you mean 'model'?"),
    ],
)
def test_a_mistake_in_a_tasks_policy_file(
    policy: str, line: int, key: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "p.toml").write_text(policy)
    (tmp_path / "cascade.toml").write_text(M + '[tasks.t]\npolicy = "p.toml"\n')
    with pytest.raises(PolicyFileError, match=says) as caught:
        load_project(tmp_path / "cascade.toml")
    error = caught.value
    assert (error.file, error.line, error.key) == (str(tmp_path / "p.toml"), line, key)


@pytest.mark.parametrize("wrong", ["sk-secret", "env:", "env:A B", "$KEY"])
def test_a_key_in_a_file_is_refused_and_never_repeated(wrong: str, tmp_path: Path) -> None:
    path = tmp_path / "cascade.toml"
    path.write_text(M + f'api_key = "{wrong}"\n')
    with pytest.raises(PolicyFileError) as caught:
        load_project(path)
    assert wrong not in str(caught.value).replace("env:NAME", "")
