"""SIGHUP: the project is read again, a mistake is told, and the signal is given back."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from cascade import Engine
from cascade_policies.commands.hangup import reloading

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP here"),
]

PROJECT = """
[tasks.greet]
[[tasks.greet.tiers]]
model = "function:os.path:{function}"
"""


async def test_a_hangup_reads_the_project_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cascade.toml"
    file.write_text(PROJECT.format(function="basename"))
    before = signal.getsignal(signal.SIGHUP)
    async with Engine(project=file) as engine:
        with reloading(engine):
            assert (await engine.run("greet", "a/b")).text == "b"
            file.write_text(PROJECT.format(function="dirname"))
            os.kill(os.getpid(), signal.SIGHUP)
            assert (await engine.run("greet", "a/b")).text == "a"
            file.write_text("[tasks.greet]\ntears = 1\n")
            os.kill(os.getpid(), signal.SIGHUP)
            assert (await engine.run("greet", "a/b")).text == "a"
    assert "tears" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGHUP) is before
