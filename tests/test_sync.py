"""`cascade_sync` and the engines behind `cascade`."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading

import anyio
import pytest

from cascade import Engine, Policy, Tier, cascade, cascade_sync
from cascade.default import default_engine
from cascade.errors import CascadeExhausted, ConfigError
from cascade.testing import ScriptedModel


def policy(text: str = "hello") -> Policy:
    return Policy("p", [Tier(ScriptedModel(text), verify=lambda a: a.text == "hello")])


def test_from_a_script() -> None:
    assert cascade_sync(policy(), "hi").text == "hello"


def test_from_inside_a_running_loop() -> None:
    async def main() -> str:
        return cascade_sync(policy(), "hi").text

    assert anyio.run(main) == "hello"


def test_from_many_threads_at_once() -> None:
    texts: list[str] = []
    threads = [
        threading.Thread(target=lambda: texts.append(cascade_sync(policy(), "hi").text))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == ["hello"] * 8


def test_errors_come_through() -> None:
    with pytest.raises(CascadeExhausted):
        cascade_sync(policy("bad"), "hi")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_one_engine_a_loop_closed_with_it(backend: str) -> None:
    engines: list[Engine] = []

    async def main() -> None:
        await cascade(policy(), "hi")
        engines.append(await default_engine())
        engines.append(await default_engine())
        _ = engines[-1].http  # something to close

    anyio.run(main, backend=backend)
    anyio.run(main, backend=backend)
    first, again, second, _ = engines
    assert first is again
    assert first is not second
    assert first.http.is_closed
    assert second.http.is_closed
    gc.collect()  # an unclosed socket would warn, and warnings are errors


@pytest.mark.anyio
async def test_a_closed_engine_says_so() -> None:
    engine = Engine()
    await engine.aclose()
    await engine.aclose()
    with pytest.raises(ConfigError, match="closed"):
        await engine.run(policy(), "hi")


def test_the_background_loop_ends_with_the_process() -> None:
    code = (
        "from cascade import *; from cascade.testing import ScriptedModel\n"
        "print(cascade_sync(Policy('p', [Tier(ScriptedModel('hello'))]), 'hi').text)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")
