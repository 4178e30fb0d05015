"""Nothing heavy is imported before it is used, and type checkers see every name."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import cascade_verifiers

ROOT = Path(__file__).parents[2]
HEAVY = ("jsonschema", "jsonschema_rs", "pydantic", "sqlglot")


@pytest.mark.parametrize("module", ["cascade_verifiers", "cascade.verifiers"])
def test_importing_is_cheap(module: str) -> None:
    code = (
        f"import sys, {module} as v; from cascade_verifiers import registry; v.OneOf, v.make\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True, text=True, check=True,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'verifiers'}"},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["cascade_verifiers", "cascade.verifiers"])
def test_every_name_is_there(module: str) -> None:
    face = importlib.import_module(module)
    assert face.__all__ == cascade_verifiers.__all__
    assert face.__all__ == sorted(face.__all__)
    for name in face.__all__:
        assert getattr(face, name) is getattr(cascade_verifiers, name)
        assert name in dir(face)
    with pytest.raises(AttributeError, match="Nothing"):
        _ = face.Nothing


def test_jsonschema_is_imported_when_a_verifier_needs_it_and_not_by_its_first_answer() -> None:
    code = (
        "import sys\nfrom cascade.verifiers import JsonSchema\n"
        "from cascade.types import Answer, Request\n"
        "print('jsonschema' in sys.modules)\n"
        "v = JsonSchema({'type': 'integer'}); r = Request.of('x')\n"
        "before = set(sys.modules); print('jsonschema' in before)\n"
        "assert not v.verify(r, Answer('[]')).accepted\n"
        "assert not any('jsonschema' in name for name in set(sys.modules) - before)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True, text=True, check=True,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'verifiers'}"},
    )  # fmt: skip
    assert done.stdout.split() == ["False", "True"]


def test_types() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml",
         "tests/verifiers/typing_api.py"],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
