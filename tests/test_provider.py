"""Providers of the user's own come in by the same door as the built-in ones."""

from __future__ import annotations

from typing import Any

import pytest

from cascade import (
    Answer,
    Call,
    ConfigError,
    Engine,
    MissingAPIKeyError,
    Policy,
    Tier,
    provider,
)
from cascade.provider import find_provider, provider_names, split_model

pytestmark = pytest.mark.anyio


@provider("test-echo")
class Echo:
    closed = False

    def __init__(self, context: Any, *, base_url: str | None = None) -> None:
        self.base_url = base_url

    def check(self, model: str, params: Any) -> None:
        if model != "loud":
            raise ConfigError(f"echo model {model!r}: there is only 'loud'")

    async def complete(self, call: Call, /) -> Answer:
        return Answer(f"{self.base_url}: {call.request.text.upper()}")

    async def aclose(self) -> None:
        type(self).closed = True


async def test_a_registered_provider_is_used_configured_and_closed() -> None:
    Echo.closed = False
    async with Engine() as engine:
        policy = Policy("p", [Tier("test-echo:loud", base_url="here")])
        assert (await engine.run(policy, "hi")).text == "here: HI"
        with pytest.raises(ConfigError, match="there is only 'loud'"):
            engine.bind(Policy("p", [Tier("test-echo/quiet")]))
        with pytest.raises(ConfigError, match="api_key: does nothing for the provider 'test-echo'"):
            engine.bind(Policy("p", [Tier("test-echo:loud", api_key="env:X")]))
        assert not Echo.closed
    assert Echo.closed


def test_the_built_in_ones_are_entry_points() -> None:
    assert {"openai", "local", "function", "scripted", "test-echo"} <= set(provider_names())
    assert find_provider("openai").__name__ == "OpenAIProvider"


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ConfigError, match="registered already"):
        provider("test-echo")(type("Other", (Echo,), {}))
    with pytest.raises(ConfigError, match="use letters"):
        provider("a:b")


@pytest.mark.parametrize(
    ("reference", "pair"),
    [
        ("openai:gpt-5", ("openai", "gpt-5")),
        ("openai/gpt-5", ("openai", "gpt-5")),
        ("openai:org/model:tag", ("openai", "org/model:tag")),
        ("openrouter/meta/llama:free", ("openrouter", "meta/llama:free")),
        ("local:/models/a.gguf", ("local", "/models/a.gguf")),
    ],
)
def test_a_reference_is_divided_at_the_first_mark(reference: str, pair: tuple[str, str]) -> None:
    assert split_model(reference) == pair


async def test_a_key_that_is_set_after_all_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    policy = Policy("p", [Tier("openai:gpt-5-mini")])
    async with Engine(http="httpx") as engine:
        with pytest.raises(MissingAPIKeyError, match="OPENAI_API_KEY"):
            engine.bind(policy)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-later")
        assert engine.bind(policy).tiers[0].targets[0][0].name == "openai:gpt-5-mini"
