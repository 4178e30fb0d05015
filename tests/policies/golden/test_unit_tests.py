"""Code that is tested reaches nothing, and passes by doing what is asked alone."""

from __future__ import annotations

import os
import platform
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from cascade.types import Answer
from cascade_policies.golden import GoldenRow
from cascade_policies.golden.unit_tests import UnitTests

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"),
        reason="full isolation is for Linux",
    ),
]

TEST = "assert add(1, 2) == 3"
RIGHT = "def add(a, b):\n    return a + b\n"


@pytest.fixture
def anyio_backend() -> str:
    """The same process either way."""
    return "asyncio"


async def score(code: str, tests: Any = TEST, **settings: Any) -> Any:
    row = GoldenRow(id="a", prompt="x", reference=tests)
    return await UnitTests(**{"timeout": 5, **settings}).score(row, Answer(code))


async def test_code_is_scored_by_its_tests() -> None:
    assert (await score(f"```python\n{RIGHT}```\nThat adds.")).quality == 1
    assert (await score(RIGHT, [TEST, "assert add(1, 1) == 3"])).quality == 0.5
    assert (await score("def add(a, b): return a - b")).quality == 0
    assert (await score("def add(a, b:")).quality == 0
    assert (await score("import math, json, re, collections, threading\n" + RIGHT)).quality == 1


async def test_a_reference_that_is_no_code_is_not_the_answers_fault() -> None:
    assert (await score(RIGHT, "assert add(")).quality is None
    assert (await score(RIGHT, 7)).quality is None


@pytest.mark.parametrize(
    "code",
    [
        "import os; os._exit(0)",
        "raise SystemExit(0)",
        "import sys; sys.stdout = None; sys.exit(0)",
        "class E(Exception):\n    def __str__(self): raise E\nraise E",
        "while True: pass",
        "import time; time.sleep(60)",
        "x = [0] * 10**10",
        "import ctypes; ctypes.string_at(0)",
    ],
)
async def test_code_that_ends_or_never_ends_has_not_passed(code: str) -> None:
    assert (await score(code + "\n" + RIGHT, timeout=1)).quality == 0


@pytest.mark.parametrize(
    "reach",
    [
        "open({secret!r}).read()",
        "import os; os.listdir({folder!r})",
        "open({target!r}, 'w').write('x')",
        "import os; os.unlink({secret!r})",
        "import os; os.rename({secret!r}, {target!r})",
        "import os; os.symlink({secret!r}, 'link'); open('link').read()",
        "open('/proc/self/environ').read()",
        "import socket; socket.create_connection(('127.0.0.1', {port}))",
        "import socket; socket.socket(socket.AF_UNIX)",
        "import socket; socket.socketpair()",
        "import os; os.fork()",
        "import subprocess; subprocess.run([{python!r}, '-V'], check=True)",
        "import os; os.kill({pid}, 0)",
        "import os; assert os.environ.get('TEST_SECRET')",
    ],
)
async def test_code_reaches_nothing(
    reach: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_SECRET", "sesame")
    secret, target = tmp_path / "secret", tmp_path / "made"
    secret.write_text("sesame")
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = reach.format(
            secret=str(secret), folder=str(tmp_path), target=str(target),
            port=server.getsockname()[1], python=sys.executable, pid=os.getpid(),
        )  # fmt: skip
        found = await score(code + "\n" + RIGHT)
    assert found.quality == 0
    assert "Error" in found.reason
    assert secret.read_text() == "sesame"
    assert not target.exists()


async def test_code_may_use_a_folder_of_its_own() -> None:
    code = "open('f', 'w').write('3')\ndef add(a, b): return int(open('f').read())"
    assert (await score(code)).quality == 1


async def test_where_it_cannot_be_isolated_there_is_no_score(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from cascade_policies.golden import isolated, unit_tests

    broken = _without_machines(Path(isolated.__file__), tmp_path / "isolated.py")
    monkeypatch.setattr(unit_tests, "_RUNNER", broken)
    found = await score(RIGHT)
    assert found.quality is None
    assert "cannot be isolated here: system calls of" in found.reason
    assert (await score(RIGHT, isolation="partial")).quality == 1


def _without_machines(source: Path, target: Path) -> str:
    """The program, as it would be on a machine that it does not know."""
    text = source.read_text(encoding="utf-8")
    target.write_text(text.replace('"x86_64": (', '"x": (').replace('"aarch64": (', '"y": ('))
    return str(target)
