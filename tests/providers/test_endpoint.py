"""Where calls go, and which key goes with them: never one that was meant for somebody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cascade.errors import ConfigError, MissingAPIKeyError
from cascade.provider import Call
from cascade.providers._endpoint import Endpoint
from cascade.providers.openai import OpenAIProvider
from cascade.testing.faulty_server import FaultyServer
from cascade.types import Request

pytestmark = pytest.mark.anyio

Make = Callable[..., OpenAIProvider]
KEY = "sk-very-secret"


async def sent_key(server: FaultyServer, provider: OpenAIProvider) -> str | None:
    provider.check("m", {})
    await provider.complete(Call("m", Request.of("hi")))
    return server.requests[-1].headers.get("authorization")


async def test_the_environments_key_never_goes_to_a_given_address(
    server: FaultyServer, openai: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    assert await sent_key(server, openai()) is None
    assert await sent_key(server, openai(api_key="")) is None
    assert await sent_key(server, openai(base_url=None)) == f"Bearer {KEY}"
    assert await sent_key(server, openai(base_url="")) == f"Bearer {KEY}"


async def test_a_given_key_is_sent(
    server: FaultyServer, openai: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_KEY", f" {KEY}\n")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-this-one")
    for given in (KEY, "env:OTHER_KEY", "os.environ/OTHER_KEY"):
        assert await sent_key(server, openai(api_key=given)) == f"Bearer {KEY}"


async def test_loopback_needs_no_key(
    server: FaultyServer, openai: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    assert await sent_key(server, openai(base_url=None)) is None
    for host in ("localhost:8000", "127.9.9.9", "[::1]:80", "llm.localhost"):
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://{host}/v1")
        openai(base_url=None).check("m", {})


@pytest.mark.parametrize(
    ("options", "environment", "named"),
    [
        ({}, {}, "OPENAI_API_KEY is not set"),
        ({}, {"OPENAI_API_KEY": " "}, "OPENAI_API_KEY is not set"),
        ({}, {"OPENAI_BASE_URL": "https://llm.example/v1"}, "OPENAI_API_KEY is not set"),
        ({"api_key": "env:OTHER"}, {"OPENAI_API_KEY": KEY}, "OTHER is not set"),
        ({"api_key": "env:OTHER", "base_url": "http://localhost"}, {}, "OTHER is not set"),
        ({"base_url": "https://api.openai.com/v1"}, {"OPENAI_API_KEY": KEY},
         "write api_key='env:OPENAI_API_KEY'"),
    ],
)  # fmt: skip
async def test_a_missing_key_is_refused_at_load(
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    environment: dict[str, str],
    named: str,
    openai: Make,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    provider = openai(**{"base_url": None, **options})
    with pytest.raises(MissingAPIKeyError) as caught:
        provider.check("m", {})
    assert named in str(caught.value)
    if "is not set" in named:
        assert str(caught.value).endswith("it must hold the API key")
    assert KEY not in str(caught.value)
    with pytest.raises(MissingAPIKeyError):
        await provider.complete(Call("m", Request.of("hi")))


@pytest.mark.parametrize(
    ("base_url", "message"),
    [
        ("localhost:8000", "base_url is no address"),
        ("ftp://localhost", "base_url is no address"),
        ("http://", "base_url is no address"),
        ("http://localhost:99999/v1", "base_url is no address"),
        ("http://[::1/v1", "base_url is no address"),
        ("http://local\nhost/v1", "base_url is no address"),
        ("https://me:hunter2@llm.example/v1", "base_url has a user or password in it"),
        ("https://llm.example/v1?api-key=hunter2", "base_url has 'api-key' in it"),
    ],
)
async def test_a_bad_address_is_refused(openai: Make, base_url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        openai(base_url=base_url)
    assert "hunter2" not in str(caught.value)


async def test_a_bad_address_in_the_environment(
    openai: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "nonsense")
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL is no address"):
        openai(base_url=None)


@pytest.mark.parametrize("key", ["sk-secret\r\nX: y", "sk-sëcret", "sk secret"])
async def test_a_key_that_no_header_can_hold(
    openai: Make, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    with pytest.raises(ConfigError, match="api_key holds a character") as caught:
        openai(api_key=key)
    assert "cret" not in str(caught.value)
    monkeypatch.setenv("OTHER", key)
    with pytest.raises(ConfigError, match="variable OTHER holds a character"):
        openai(api_key="env:OTHER")


async def test_slashes_and_queries_are_kept_in_their_places(
    server: FaultyServer, openai: Make
) -> None:
    provider = openai(base_url=f"{server.base_url}//?api-version=7")
    await provider.complete(Call("m", Request.of("hi")))
    assert server.requests[0].path == "/v1/chat/completions?api-version=7"
    both = Endpoint("http://host/v1", "api-version=7").path("/models/m:stream?alt=sse")
    assert both == "http://host/v1/models/m:stream?alt=sse&api-version=7"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"model": "x"}, "'model' of 'm': it is set by the tier's 'model'"),
        ({"messages": []}, "'messages' of 'm'"),
        ({"n": 2}, "'n' of 'm': a call takes one answer"),
        ({"stream": "no"}, "'stream' of 'm': write true or false"),
    ],
)
async def test_parameters_that_cannot_work(
    openai: Make, params: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        openai().check("m", params)
    openai().check("m", {"n": 1, "stream": False, "temperature": 0.5})
