"""The example in docs/tuning.md runs, and its figures are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cascade_policies.tuning.binomial import rows_needed
from cascade_policies.tuning.corners import PRICES, RESAMPLES, STEPS

TEXT = (Path(__file__).parents[3] / "docs" / "tuning.md").read_text(encoding="utf-8")


def test_the_example_certifies(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    exec(compile(code, "docs/tuning.md", "exec", dont_inherit=True), {})
    assert capsys.readouterr().out.startswith("True ")


def test_the_figures_are_those_of_the_code() -> None:
    assert f"{rows_needed(0.02, 0.05)} for a drop of 0.02" in TEXT
    assert f"{rows_needed(0.01, 0.05)} for 0.01" in TEXT
    assert f"{len(PRICES)} prices" in TEXT
    assert (RESAMPLES, STEPS) == (8, 12)
