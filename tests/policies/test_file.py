"""What a policy file says is what the policy is."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cascade import Answer, Policy, Price, Request, Tier
from cascade.routing import Router
from cascade_policies.file import PolicyFile, load_policy, load_policy_file
from cascade_policies.search import find_policy_file
from cascade_policies.tables import PolicyTable, TierTable

DOCS = Path(__file__).parents[2] / "docs" / "policy-file.md"

FULL = """
name = "all"
description = "Every key."
start_after = ["none", 0.5]
prefer = "cheapest"
grace = 0.25
deadline = 20
exhausted = "best"
priority = "critical"
variables = ["tone"]
efforts.fast = { start_after = 0, grace = "none" }
efforts.best = { start = "openai:gpt-5", max_cost = 0.5 }
router = { name = "heuristic", rules = [{ when = { min_words = 90 }, start = "openai:gpt-5" }] }

[verifiers]
sure = { use = "self_confidence", source = "logprob" }

[[tiers]]
name = "small"
model = ["openai:gpt-5-mini", "openai/gpt-5-nano"]
prompt_file = "small.md"
system = "Be {{tone}}."
examples = [{ user = "2 + 2", assistant = "4" }]
params = { temperature = 0, stop = ["a"], extra = { deep = [1, { b = true }] } }
verify = "sure"
threshold = 0.75
timeout = 5
verify_timeout = "none"
retries = 0
repairs = 1
samples = 2
replica_after = 0.5
fallbacks = ["openai:gpt-5"]
on_abstain = "accept"
allow_truncated = true
base_url = "http://127.0.0.1:1/v1"
api_key = "env:MY_KEY"
price = { input = 1, output = 2.5, cached_input = 0 }
cancel_stops_billing = true

[[tiers]]
model = "openai:gpt-5"
api_key = "os.environ/MY_KEY"
system_file = "system.txt"
verify = { use = "json_schema", schema_file = "schema.json" }
constrain = true
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "p.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def full(tmp_path: Path) -> PolicyFile:
    (tmp_path / "small.md").write_text("Please: {{prompt}} ü", encoding="utf-8")
    (tmp_path / "system.txt").write_text("You are terse.")
    (tmp_path / "schema.json").write_text('{"type": "array"}')
    return load_policy_file(write(tmp_path, FULL))


def test_every_key_reaches_the_policy(full: PolicyFile) -> None:
    policy = full.policy
    assert (policy.name, full.description) == ("all", "Every key.")
    assert policy.delays == (None, 0.5)
    assert (policy.prefer, policy.grace, policy.deadline) == ("cheapest", 0.25, 20)
    assert policy.exhausted == "best"
    assert (policy.priority, policy.variables) == ("critical", ["tone"])
    assert policy.efforts == {
        "fast": {"start_after": 0, "grace": None},
        "best": {"start": "openai:gpt-5", "max_cost": 0.5},
    }
    assert isinstance(policy.router, Router)
    assert [tier.name for tier in policy.tiers] == ["small", "openai:gpt-5"]


def test_every_key_reaches_the_tier(full: PolicyFile) -> None:
    first, second = full.policy.tiers
    assert {item.name: getattr(first, item.name) for item in fields(Tier)} | {"verify": None} == {
        "model": ["openai:gpt-5-mini", "openai/gpt-5-nano"],
        "verify": None,
        "name": "small",
        "prompt": "Please: {{prompt}} ü",
        "system": "Be {{tone}}.",
        "examples": (("2 + 2", "4"),),
        "params": {"temperature": 0, "stop": ["a"], "extra": {"deep": [1, {"b": True}]}},
        "threshold": 0.75,
        "timeout": 5,
        "verify_timeout": None,
        "retries": 0,
        "repairs": 1,
        "samples": 2,
        "replica_after": 0.5,
        "fallbacks": ["openai:gpt-5"],
        "on_abstain": "accept",
        "allow_truncated": True,
        "constrain": False,
        "base_url": "http://127.0.0.1:1/v1",
        "api_key": "env:MY_KEY",
        "price": Price(input=1, output=2.5, cached_input=0),
        "cancel_stops_billing": True,
    }
    assert (second.system, second.constrain) == ("You are terse.", True)
    assert second.verify is not None


def test_what_was_read_is_known(full: PolicyFile, tmp_path: Path) -> None:
    assert full.path == tmp_path / "p.toml"
    assert [path.name for path in full.files] == [
        "p.toml", "small.md", "system.txt", "schema.json",
    ]  # fmt: skip
    assert full.checks == ("sure", 'json_schema(schema={"type": "array"})')
    assert full.verifiers == {"sure": 'self_confidence(source="logprob")'}


def test_what_a_file_leaves_out_has_the_defaults_of_the_classes(tmp_path: Path) -> None:
    read = load_policy(write(tmp_path, '[[tiers]]\nmodel = "openai:gpt-5"\n'))
    made = Policy("p", [Tier("openai:gpt-5")])
    for kind, left, right in ((Policy, read, made), (Tier, read.tiers[0], made.tiers[0])):
        for item in fields(kind):
            if item.name != "tiers":
                assert getattr(left, item.name) == getattr(right, item.name), item.name


def test_the_keys_of_a_tier_are_those_of_the_class() -> None:
    keys = {key.removesuffix("_file") for key in TierTable.__struct_fields__}
    assert keys == {item.name for item in fields(Tier)}
    own = {"description", "verifiers"}
    assert set(PolicyTable.__struct_fields__) - own == {item.name for item in fields(Policy)}


@pytest.mark.parametrize(
    ("start", "delays"),
    [
        ("0", (None, 0, 0)),
        ("0.5", (None, 0.5, 0.5)),
        ('"none"', (None, None, None)),
        ('["none", 0.8, "none"]', (None, 0.8, None)),
        ("[0, 0, 1]", (None, 0, 1)),
    ],
)
def test_start_rules(tmp_path: Path, start: str, delays: tuple[float | None, ...]) -> None:
    tiers = "".join(f'[[tiers]]\nmodel = "openai:{name}"\n' for name in "abc")
    assert load_policy(write(tmp_path, f"start_after = {start}\n{tiers}")).delays == delays


CHECKS: list[tuple[str, str, dict[str, bool]]] = [
    ('"grounded"', "grounded", {}),
    ('["grounded"]', "grounded", {}),
    ('"json:loads"', "json:loads", {}),
    (
        '{ use = "one_of", labels = ["a", "b"] }',
        'one_of(labels=["a", "b"])',
        {"a": True, "b": True, "c": False},
    ),
    (
        '[{ use = "regex", pattern = "^a" }, { use = "length", max_chars = 2 }]',
        'regex(pattern="^a") & length(max_chars=2)',
        {"a": True, "ab": True, "abc": False, "b": False},
    ),
    (
        '{ any = [{ use = "one_of", labels = "x" }, { not = { use = "regex", pattern = "^a" } }] }',
        'one_of(labels="x") | ~regex(pattern="^a")',
        {"x": True, "b": True, "ab": False},
    ),
    (
        '{ not = [{ use = "regex", pattern = "a" }, { use = "regex", pattern = "b" }] }',
        '~(regex(pattern="a") & regex(pattern="b"))',
        {"ab": False, "a": True, "c": True},
    ),
]


@pytest.mark.parametrize(("check", "text", "answers"), CHECKS)
def test_checks(tmp_path: Path, check: str, text: str, answers: dict[str, bool]) -> None:
    file = f'[[tiers]]\nmodel = "openai:gpt-5"\nverify = {check}\n'
    found = load_policy_file(write(tmp_path, file))
    assert found.checks == (text,)
    verifier: Any = found.policy.tiers[0].verify
    for answer, passes in answers.items():
        verdict = verifier.verify(Request.of("q"), Answer(answer))
        assert verdict.accepted is passes, answer


def test_shared_checks_may_refer_to_each_other(tmp_path: Path) -> None:
    text = """
    [verifiers]
    both = ["a", "b"]
    a = { use = "regex", pattern = "a" }
    b = { use = "regex", pattern = "b" }
    [[tiers]]
    model = "openai:x"
    verify = ["both", "a"]
    [[tiers]]
    model = "openai:y"
    verify = "both"
    """
    found = load_policy_file(write(tmp_path, text))
    assert found.checks == ("both & a", "both")
    assert found.verifiers["both"] == "a & b"


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_bytes(b'\xef\xbb\xbf[[tiers]]\r\nmodel = "openai:gpt-5"\r\n')
    assert load_policy(path).tiers[0].name == "openai:gpt-5"


def test_the_documentation_has_every_key() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for key in (*TierTable.__struct_fields__, *PolicyTable.__struct_fields__):
        assert f"`{key}`" in text or f"[{key}" in text, key


def test_the_example_of_the_documentation_is_right(tmp_path: Path) -> None:
    example = DOCS.read_text(encoding="utf-8").split("```toml")[1].split("```")[0]
    (tmp_path / "invoice.json").write_text('{"type": "object"}')
    (tmp_path / "small.md").write_text("{{prompt}}")
    policy = load_policy(write(tmp_path, example))
    assert [tier.name for tier in policy.tiers] == ["small", "large"]


def test_the_changes_of_the_documentation_are_right(tmp_path: Path) -> None:
    (tmp_path / "invoice.json").write_text('{"type": "object"}')
    (tmp_path / "small.md").write_text("{{prompt}}")
    example = DOCS.read_text(encoding="utf-8").split("```toml")[1].split("```")[0]
    (tmp_path / "invoice.toml").write_text(example, encoding="utf-8")
    pages = DOCS.read_text(encoding="utf-8") + DOCS.with_name("cli.md").read_text(encoding="utf-8")
    lines = re.findall(r"cascade (?:run|check) [^`\n]*--set [^`\n]*[^`\n]", pages)
    lines = [line for line in lines if "POLICY" not in line]
    assert len(lines) == 6
    for line in lines:
        words = shlex.split(line)
        policy = str(tmp_path / words[2]) if words[2].endswith(".toml") else words[2]
        sets = [word for before, word in pairwise(words) if before == "--set"]
        assert sets
        find_policy_file(policy, overrides=sets)
    classify = find_policy_file("classify", overrides=["tiers.small.threshold=0.9"]).policy
    assert classify.tiers[1].threshold == 0.9
