"""A policy is checked when it is made, and says what is wrong, where, and what would be right."""

from __future__ import annotations

from typing import Any

import pytest

from cascade import (
    CascadeError,
    ConfigError,
    Engine,
    ModelSpec,
    Policy,
    Price,
    PromptError,
    Request,
    Tier,
)
from cascade.errors import (
    MissingAPIKeyError,
    UnknownModelError,
    UnknownPolicyError,
    UnknownProviderError,
)
from cascade.testing import ScriptedModel
from cascade.verifiers import Judge, Length


def yes(answer: object) -> bool:
    return answer is not None


def tiers(*names: str) -> list[Tier]:
    return [Tier(ScriptedModel("x", name=name), verify=yes) for name in names]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"timeout": 0}, "timeout=0: needs seconds above 0"),
        ({"timeout": float("nan")}, "timeout=nan"),
        ({"timeout": float("inf")}, "timeout=inf"),
        ({"timeout": "5"}, "timeout='5'"),
        ({"verify_timeout": -1}, "verify_timeout=-1"),
        ({"retries": -1}, "retries=-1: needs a whole number, 0 or more"),
        ({"retries": 1.5}, "retries=1.5"),
        ({"retries": True}, "retries=True"),
        ({"repairs": -1}, "repairs=-1"),
        ({"samples": 0}, "samples=0: needs a whole number, 1 or more"),
        ({"replica_after": -1}, "replica_after=-1"),
        ({"threshold": 1.5}, r"threshold=1.5: needs a number in \[0, 1\]"),
        ({"threshold": float("nan")}, "threshold=nan"),
        ({"on_abstain": "ignore"}, "on_abstain='ignore': needs 'escalate' or 'accept'"),
        ({"prompt": "no place for it"}, "needs a template with {{prompt}}"),
        ({"verify": None, "threshold": 0.5}, "threshold=0.5: needs a 'verify' beside it"),
        ({"verify": None, "repairs": 1}, "repairs=1: needs a 'verify' beside it"),
        ({"verify": None, "constrain": True}, "constrain=True: needs a 'verify' beside it"),
        ({"verify": None, "samples": 3}, "samples=3: .* several answers need one"),
    ],
)
def test_a_tier_refuses_what_cannot_work(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Tier(**{"model": "openai:m", "verify": yes, "name": "small", **settings})
    assert caught.value.tier == "small"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tiers": []}, "at least one tier"),
        ({"name": ""}, "needs a name"),
        ({"tiers": tiers("a", "a")}, "two tiers are named 'a'"),
        ({"start_after": -1}, "start_after=-1: needs None, 0, seconds above 0"),
        ({"start_after": [1, 2]}, "the first tier"),
        ({"start_after": [None, 1, 2]}, "one value a tier"),
        ({"start_after": "race"}, "start_after='race'"),
        ({"start_after": 1, "tiers": tiers("a")}, "needs a second tier"),
        ({"prefer": "best"}, "prefer='best': needs 'cheapest' or 'fastest'"),
        ({"exhausted": "none"}, "exhausted='none': needs 'raise' or 'best'"),
        ({"deadline": 0}, "deadline=0"),
        ({"grace": 1}, "grace=1: needs tiers that overlap"),
        ({"grace": 1, "start_after": 0}, "grace=1: needs tiers that overlap"),
    ],
)
def test_a_policy_refuses_what_cannot_work(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Policy(**{"name": "p", "tiers": tiers("a", "b"), **settings})


def test_prefer_follows_the_start_rule() -> None:
    assert Policy("p", tiers("a", "b")).preference == "cheapest"
    assert Policy("p", tiers("a", "b"), start_after=0.5).preference == "cheapest"
    assert Policy("p", tiers("a", "b"), start_after=0).preference == "fastest"
    assert Policy("p", tiers("a", "b"), start_after=[None, 0.0]).preference == "fastest"


def test_a_tier_is_named_after_its_models() -> None:
    assert Tier("openai:a").name == "openai:a"
    assert Tier(["openai:a", "openai:b"], verify=yes).name == "openai:a + openai:b"
    assert Tier(ScriptedModel(name="x")).name == "x"


@pytest.mark.parametrize("make", [Tier, ModelSpec])
@pytest.mark.parametrize(
    "address",
    ["https://me:hunter2@host/v1", "me:hunter2@host", "//hunter2@host", "http://h/v1?key=hunter2"],
)
def test_a_secret_in_an_address_is_refused_and_not_repeated(make: Any, address: str) -> None:
    with pytest.raises(ConfigError, match=r"base_url: has .* give the secret as api_key") as raised:
        make("openai:m", base_url=address)
    assert "hunter2" not in f"{raised.value} {raised.value!r}"


def test_a_key_given_in_code_is_in_no_repr() -> None:
    tier = Tier("openai:a", api_key="sk-secret-123")
    assert "sk-secret-123" not in repr(tier)
    assert "sk-secret-123" not in repr(Policy("p", [tier]))


@pytest.mark.parametrize(
    ("tier", "kind", "message"),
    [
        (Tier("opnai:gpt-5"), UnknownProviderError, "did you mean 'openai'"),
        (Tier("gpt-5"), UnknownProviderError, "write 'provider:model'"),
        (Tier("openai:"), UnknownProviderError, "write 'provider:model'"),
        (Tier("function:nowhere_at_all:f"), UnknownModelError, "No module named"),
        (Tier("function:json:lods"), UnknownModelError, "did you mean 'loads'"),
        (Tier("function:json"), UnknownModelError, "function:package.module:attribute"),
        (Tier("function:json:loads", base_url="http://x"), ConfigError, "base_url: does nothing"),
        (Tier("function:json:loads", params={"seed": 1}), ConfigError, "params.seed: does nothing"),
        (Tier(len, base_url="http://x"), ConfigError, "base_url: does nothing"),
        (Tier("scripted:nobody"), UnknownModelError, "scripted model 'nobody'"),
        (Tier("openai:gpt-5"), MissingAPIKeyError, "OPENAI_API_KEY"),
        (Tier("openai:m", api_key="env:NO_SUCH_KEY"), MissingAPIKeyError, "NO_SUCH_KEY"),
    ],
)
@pytest.mark.anyio
async def test_what_cannot_be_bound_is_said_before_anything_is_called(
    tier: Tier, kind: type[ConfigError], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    first = ScriptedModel("x", name="first")
    async with Engine() as engine:
        with pytest.raises(kind, match=message) as caught:
            await engine.run(Policy("p", [Tier(first), tier]), "hi")
    assert (caught.value.policy, caught.value.tier) == ("p", tier.name)
    assert not first.calls


@pytest.mark.anyio
async def test_a_threshold_needs_scores_and_constrain_a_form() -> None:
    class Plain:
        def verify(self, request: Request, answer: object, /) -> Any:
            raise NotImplementedError

    async with Engine() as engine:
        with pytest.raises(ConfigError, match=r"threshold=0.5: does nothing, as Plain"):
            engine.bind(Policy("p", [Tier(len, verify=Plain(), threshold=0.5)]))
        with pytest.raises(ConfigError, match="Plain has no form to constrain"):
            engine.bind(Policy("p", [Tier(len, verify=Plain(), constrain=True)]))


@pytest.mark.anyio
@pytest.mark.parametrize("prompt", ["", "  ", [], [{"content": "x"}], [{"role": "user", "txt": 1}]])
async def test_a_prompt_that_cannot_be_sent_is_refused(prompt: Any) -> None:
    async with Engine() as engine:
        with pytest.raises(PromptError) as caught:
            await engine.run(Policy("p", tiers("a")), prompt)
    assert caught.value.policy == "p"


@pytest.mark.anyio
async def test_an_unknown_override_or_policy_is_refused() -> None:
    async with Engine() as engine:
        with pytest.raises(ConfigError, match="did you mean 'deadline'"):
            await engine.run(Policy("p", tiers("a")), "hi", dedline=3)  # type: ignore[call-arg]
        with pytest.raises(ConfigError, match="deadline=-1"):
            await engine.run(Policy("p", tiers("a")), "hi", deadline=-1)
        with pytest.raises(UnknownPolicyError, match="no_such_policy"):
            await engine.run("no_such_policy", "hi")
        with pytest.raises(ConfigError, match="a policy is a Policy, a path or a name"):
            await engine.run(7, "hi")  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="start=4: the policy has tiers 0 to 0"):
            await engine.run(Policy("p", tiers("a")), "hi", start=4)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_price_is_a_number(value: float) -> None:
    with pytest.raises(ConfigError, match="US dollars per million tokens"):
        Price(input=value, output=1.0)


def test_errors_name_their_place() -> None:
    error = CascadeError("it broke", policy="p", tier="t", attempt=3)
    assert str(error) == "policy 'p', tier 't', attempt 3: it broke"
    assert str(CascadeError("it broke")) == "it broke"


@pytest.mark.anyio
async def test_a_verifiers_own_models_are_bound_too() -> None:
    judged = Tier(
        ScriptedModel("x"),
        verify=Length(min_chars=1) & Judge("opnai:gpt-5", rubric="good"),
        name="t",
    )
    async with Engine() as engine:
        with pytest.raises(UnknownProviderError, match="did you mean 'openai'") as caught:
            engine.bind(Policy("p", [judged]))
    assert (caught.value.policy, caught.value.tier) == ("p", "t")


@pytest.mark.anyio
async def test_a_base_url_with_the_path_of_the_call_is_refused() -> None:
    tier = Tier("openai:m", base_url="http://127.0.0.1:1/v1/chat/completions")
    async with Engine() as engine:
        with pytest.raises(ConfigError, match="leave that off"):
            engine.bind(Policy("p", [tier]))


def test_a_verifier_given_by_name_in_code_is_explained() -> None:
    with pytest.raises(ConfigError, match=r"make\('json_schema'"):
        Tier("openai:m", verify="json_schema")  # type: ignore[arg-type]


def test_tiers_that_are_no_list_are_refused() -> None:
    with pytest.raises(ConfigError, match="list of tiers"):
        Policy("p", Tier("openai:gpt-5"))  # type: ignore[arg-type]  # as a user may write it
