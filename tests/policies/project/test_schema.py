"""The JSON Schema takes every right project, and refuses what is wrong by its shape."""

from __future__ import annotations

import json
import tomllib
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cascade_policies.project.schema import policy_schema, project_schema
from cascade_policies.search import LIBRARY

if TYPE_CHECKING:
    from tests.policies.conftest import Run

DOCS = Path(__file__).parents[3] / "docs" / "project-file.md"

Draft202012Validator: Any = import_module("jsonschema").Draft202012Validator

PROJECT = Draft202012Validator(project_schema())
POLICY = Draft202012Validator(policy_schema())


def faults(validator: Any, text: str) -> list[Any]:
    return list(validator.iter_errors(tomllib.loads(text)))


@pytest.mark.parametrize("validator", [PROJECT, POLICY])
def test_they_are_schemas(validator: Any) -> None:
    Draft202012Validator.check_schema(validator.schema)


@pytest.mark.parametrize("path", sorted(LIBRARY.glob("*.toml")), ids=lambda path: path.stem)
def test_what_comes_with_cascade_fits(path: Path) -> None:
    assert not faults(POLICY, path.read_text())


GOOD = [
    "",
    '[models.m]\nmodel = "openai:gpt-5"\n',
    '[models.m]\nmodel = "x"\nprovider = "openai"\nprice = "unknown"\ntimeout = "none"\n',
    "[models.m]\nmodel = 'openai:x'\nprice = { input = 1, output = 2.5 }\n",
    "[models.m]\nmodel = 'openai:x'\nlimits = { concurrency = 3 }\nparams = { a = [1] }\n",
    "[tasks.t]\n",
    "[tasks.t]\noverride = 'any'\nstart_after = 'p95'\n",
    "[tasks.t]\noverride = ['a']\nstart_after = ['none', 0.5]\n",
    "[tasks.t]\nefforts.best = { start = 'large', max_cost = 0.1 }\n",
    "[[tasks.t.tiers]]\nmodel = ['a', 'b']\nexamples = [{ user = 'a', assistant = 'b' }]\n",
    "[routers.r]\nrouter = 'x'\ntasks = ['a', 'b']\n",
    "[budget]\nday = 20\ntimezone = 'Europe/Berlin'\nsteps = [{ above = 0.2, hedges = false }]\n",
    "[budget.tasks.t]\nper_call = 0.1\n",
    "[ledger]\nprompt = 'hash'\nmax_age_days = 30\n",
    "[defaults]\nmodel = 'm'\n",
]

BAD = [
    "zzz = 1",
    "models = []",
    "[models.m]\n",
    "[models.m]\nmodel = 3\n",
    "[models.m]\nmodel = 'a:b'\nmodl = 1\n",
    "[models.m]\nmodel = 'a:b'\nprice = 'cheap'\n",
    "[models.m]\nmodel = 'a:b'\nprice = { input = 1 }\n",
    "[models.m]\nmodel = 'a:b'\ntimeout = '5s'\n",
    "[models.m]\nmodel = 'a:b'\nlimits = { rpm = 1 }\n",
    "[models.m]\nmodel = 'a:b'\nfallbacks = 'x'\n",
    "[tasks.t]\npriority = 'high'\n",
    "[tasks.t]\noverride = 'alice'\n",
    "[tasks.t]\nmin_accuracy = '0.9'\n",
    "[tasks.t]\nefforts.quick = {}\n",
    "[[tasks.t.tiers]]\nmodel = 3\n",
    "[[tasks.t.tiers]]\nexamples = [['a', 'b']]\n",
    "[routers.r]\ntasks = ['a']\n",
    "[budget]\nday = '20'\n",
    "[budget]\norphans = 'x'\n",
    "[ledger]\nprompt = 'full'\n",
    "[defaults]\nmodle = 'm'\n",
]


@pytest.mark.parametrize("text", GOOD)
def test_a_right_project_fits(text: str) -> None:
    assert not faults(PROJECT, text)


@pytest.mark.parametrize("text", BAD)
def test_a_wrong_project_does_not(text: str) -> None:
    assert faults(PROJECT, text)


def test_every_key_says_what_it_takes() -> None:
    for name, definition in project_schema()["$defs"].items():
        for key, shape in definition["properties"].items():
            plain = shape.get("type") == "string" or not shape
            assert "description" in shape or "$ref" in shape or plain, f"{name}.{key}"


def test_the_command_prints_it(command_line: Run) -> None:
    ran = command_line("schema")
    assert (ran.code, json.loads(ran.out)) == (0, project_schema())
    ran = command_line("schema", "--policy", "--json")
    assert (ran.code, json.loads(ran.out), ran.out.count("\n")) == (0, policy_schema(), 1)
