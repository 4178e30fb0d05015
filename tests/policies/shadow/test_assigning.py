"""A/B: the shares are met, and keys stay where they are as far as they can."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import ConfigError, Engine, Policy, Request, Tier
from cascade.routing import Entry
from cascade_policies.shadow import Split, assign, call_key, keyed
from tests.policies.shadow.conftest import Records, one_tier

KEYS = [f"customer {number}" for number in range(4000)]
TEXT = st.text(max_size=12)


@st.composite
def shares(draw: st.DrawFn) -> dict[str, float]:
    """Of the arms a, b and c."""
    weights = [draw(st.integers(0, 20)) for _ in "abc"]
    weights[draw(st.integers(0, 2))] += 1
    return {arm: weight / sum(weights) for arm, weight in zip("abc", weights, strict=True)}


def test_these_keys_stay_where_they_are_in_all_versions() -> None:
    found = "".join(assign(key, {"a": 0.5, "b": 0.5}, salt="s") for key in KEYS[:32])
    assert found == "bbbabbbaaabbbababaaabbaababbbbaa"


def test_another_process_assigns_the_same() -> None:
    code = (
        "from cascade_policies.shadow import assign\n"
        "print(*(assign(f'customer {n}', {'a': .2, 'b': .8}, salt='s') for n in range(50)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = [assign(key, {"a": 0.2, "b": 0.8}, salt="s") for key in KEYS[:50]]
    assert out.stdout.split() == here


@given(key=TEXT, its=shares(), salt=TEXT)
def test_the_order_of_the_arms_does_not_matter(key: str, its: dict[str, float], salt: str) -> None:
    arm = assign(key, its, salt=salt)
    assert its[arm] > 0
    assert assign(key, dict(reversed(its.items())), salt=salt) == arm


@given(key=TEXT, before=shares(), after=shares())
def test_who_moves_goes_where_the_share_has_grown_more(
    key: str, before: dict[str, float], after: dict[str, float]
) -> None:
    old, new = (assign(key, its, salt="s") for its in (before, after))
    if old != new:
        assert after[new] * before[old] > before[new] * after[old]


@given(share=st.floats(0.05, 0.95), salt=TEXT)
def test_shares_are_met(share: float, salt: str) -> None:
    found = sum(assign(key, {"a": share, "b": 1 - share}, salt=salt) == "a" for key in KEYS)
    assert abs(found - share * 4000) < 6 * (4000 * share * (1 - share)) ** 0.5


def test_between_two_arms_no_more_keys_move_than_must() -> None:
    small, large = ({"canary": share, "rest": 1 - share} for share in (0.1, 0.25))
    moved = [(assign(key, small, salt="s"), assign(key, large, salt="s")) for key in KEYS]
    assert ("canary", "rest") not in moved
    assert abs(moved.count(("rest", "canary")) - 0.15 * 4000) < 140


def test_another_experiment_deals_anew() -> None:
    half = {"a": 0.5, "b": 0.5}
    same = sum(assign(key, half, salt="one") == assign(key, half, salt="two") for key in KEYS)
    assert abs(same - 2000) < 200


@pytest.mark.parametrize(
    ("its", "words"),
    [
        ({"a": 0.5, "b": 0.6}, "add up to 1.1"),
        ({}, "add up to 0"),
        ({"a": -0.5, "b": 1.5}, "a: -0.5 is no share"),
        ({"a": float("nan"), "b": 1.0}, "a: nan is no share"),
    ],
)
def test_what_are_no_shares_is_refused(its: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        assign("k", its, salt="s")
    with pytest.raises(ConfigError, match=words):
        Split(its, salt="s")


def test_the_key_of_a_call() -> None:
    request = Request.of("hello")
    assert call_key(request) == "hello"
    assert call_key(request.with_params(user="ann")) == "ann"
    with keyed("bob"):
        assert call_key(request.with_params(user="ann")) == "bob"
    assert call_key(request) == "hello"


@pytest.mark.anyio
async def test_an_entry_splits_its_calls_by_key(records: Records) -> None:
    policies = {name: one_tier(name, "good") for name in "ab"}
    entry = Entry("greetings", Split({"a": 0.5, "b": 0.5}, salt="greet"), policies)
    async with Engine(observers=[records]) as engine:
        for key in KEYS[:20]:
            with keyed(key):
                await engine.run(entry, "hello")
    expected = [assign(key, {"a": 0.5, "b": 0.5}, salt="greet") for key in KEYS[:20]]
    assert {"a", "b"} == set(expected)
    assert [record.policy for record in records.all] == expected
    assert [record.route and record.route.label for record in records.all] == expected


def test_an_arm_that_is_no_policy_is_refused() -> None:
    policies = {name: Policy(name, [Tier(lambda prompt: "hi", name="t")]) for name in ("a", "beta")}
    with pytest.raises(ConfigError, match="beta"):
        Entry("e", Split({"a": 0.5, "bet": 0.5}, salt="s"), policies)
