"""``cascade probe``: what it prints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cascade.probe import Probe
from cascade.testing import FaultyServer, Reply

if TYPE_CHECKING:
    from tests.policies.conftest import Run

KEY = "sk-probe"


def test_a_server_that_shows_nothing_is_unknown(
    command_line: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROBE_KEY", KEY)
    with FaultyServer(default=Reply("Hello.")) as server:
        arguments = ["openai:m", "--base-url", server.base_url, "--api-key", "env:PROBE_KEY"]
        code, out, err = command_line("probe", *arguments)
        as_json = command_line("probe", *arguments, "--json")
        assert server.count("m") == 0
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert (code, err) == (0, "")
    assert out == (
        "model                 openai:m\n"
        "seen through          nothing\n"
        "what happened         the server does not show its requests\n"
        "cancel_stops_billing  unknown (documented: unknown)\n"
    )
    assert json.loads(as_json.out) == {
        "model": "openai:m",
        "cancel_stops_billing": None,
        "documented": None,
        "reason": "the server does not show its requests",
        "seen_through": None,
        "seconds": None,
        "received": 0,
        "generated": None,
    }


def test_what_was_measured(command_line: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def measured(*_: Any, **settings: Any) -> Probe:
        assert settings["patience"] == 3.5
        return Probe(
            model="openai:m",
            stops=True,
            reason="the server stopped",
            documented=False,
            seen_through="vLLM's /metrics",
            seconds=0.0123456,
            received=8,
            generated=11,
        )

    monkeypatch.setattr("cascade.probe.probe", measured)
    assert command_line("probe", "openai:m", "--patience", "3.5").out == (
        "model                 openai:m\n"
        "seen through          vLLM's /metrics\n"
        "what happened         the server stopped\n"
        "until then            0.01 s after the stream was closed\n"
        "tokens                11 written, 8 of them had arrived\n"
        "cancel_stops_billing  yes (documented: no)\n"
    )


def test_a_server_that_is_not_there(command_line: Run) -> None:
    code, out, err = command_line("probe", "openai:m", "--base-url", "http://127.0.0.1:1/v1")
    assert (code, out) == (5, "")
    assert err == "cascade: cannot connect to 127.0.0.1:1: connection refused\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--api-key", KEY], "env:NAME"),
        (["--patience", "0"], "seconds above 0"),
        (["--patience", "nan"], "seconds above 0"),
    ],
)
def test_wrong_usage(command_line: Run, arguments: list[str], says: str) -> None:
    code, out, err = command_line("probe", "openai:m", *arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert KEY not in err
