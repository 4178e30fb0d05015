"""Type checkers see every public name used as users use it."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

import cascade
import cascade.policies
import cascade.verifiers

HERE = Path(__file__).parent
PAGES = [HERE / "api.py", HERE / "errors.py", HERE.parent / "verifiers" / "typing_api.py"]


@pytest.mark.parametrize(
    "face", [cascade, cascade.policies, cascade.verifiers], ids=lambda face: face.__name__
)
def test_every_name_is_used(face: ModuleType) -> None:
    # An import alone is no use.
    text = "".join(
        re.sub(
            r"^from [\w.]+ import (\([^)]*\)|.*)", "", page.read_text(encoding="utf-8"), flags=re.M
        )
        for page in PAGES
    )
    unused = [name for name in face.__all__ if not re.search(rf"\b{name}\b", text)]
    assert unused == []
