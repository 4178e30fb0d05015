"""What a [budget] may say."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from cascade.errors import ConfigError
from cascade_policies.budget import BudgetSettings, LedgerBudget, Step, TaskBudget
from cascade_policies.budget.settings import check, faults

GOOD = """
per_call = 0.05
hour = 5.0
day = 20
month = 400.0
timezone = "Europe/Berlin"
orphans = "free"
steps = [
  { above = 0.5 },
  { above = 0.2, hedges = false, start = "lower" },
  { above = 0, only = "cheapest" },
]
[tasks.narrative]
day = 5.0
per_call = 0.01
allow = ["hedges"]
"""


def read(text: str) -> BudgetSettings:
    """As a project file is read."""
    return msgspec.convert(tomllib.loads(text), BudgetSettings)


def test_everything_that_can_be_said() -> None:
    settings = read(GOOD)
    check(settings, {"narrative", "other"})
    assert settings == BudgetSettings(
        per_call=0.05,
        hour=5.0,
        day=20.0,
        month=400.0,
        timezone="Europe/Berlin",
        orphans="free",
        steps=[
            Step(above=0.5),
            Step(above=0.2, hedges=False, start="lower"),
            Step(above=0.0, only="cheapest"),
        ],
        tasks={"narrative": TaskBudget(day=5.0, per_call=0.01, allow=["hedges"])},
    )
    assert settings.windows() == {"hour": 5.0, "day": 20.0, "month": 400.0}
    assert settings.per_call_of("narrative") == 0.01
    assert settings.per_call_of("other") == 0.05
    assert BudgetSettings(day=1.0).per_call_of("other") is None


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("days = 1", "", "unknown field `days`"),
        ('day = "1"', "$.day", "Expected `float | null`"),
        ("day = true", "$.day", "Expected `float | null`"),
        ('orphans = "forget"', "$.orphans", "Invalid enum value 'forget'"),
        ("steps = [{ hedges = false }]", "$.steps[0]", "missing required field `above`"),
        ('steps = [{ above = 0, start = "higher" }]', "$.steps[0].start", "Invalid enum"),
        ('steps = [{ above = 0, only = "best" }]', "$.steps[0].only", "Invalid enum"),
        ("steps = [{ above = 0, hedge = false }]", "$.steps[0]", "unknown field `hedge`"),
        ("tasks.a = { week = 1 }", "$.tasks[...]", "unknown field `week`"),
        ('tasks.a = { allow = ["all"] }', "$.tasks[...].allow[0]", "Invalid enum value 'all'"),
    ],
)
def test_what_has_the_wrong_type_is_refused_when_read(text: str, where: str, message: str) -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        read(text)
    assert message in str(raised.value)
    assert where in str(raised.value)


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("", (), "sets no limit"),
        ("day = inf", ("day",), "needs US dollars"),
        ("day = nan", ("day",), "nan: needs US dollars"),
        ("day = 0", ("day",), "0.0: needs US dollars"),
        ("day = -1.0", ("day",), "-1.0: needs US dollars"),
        ("tasks.a.day = 0", ("tasks", "a", "day"), "needs US dollars"),
        ("per_call = 1e-12", ("per_call",), "needs US dollars"),
        ('day = 1\ntimezone = "Mars"', ("timezone",), "no time zone 'Mars'"),
        ("hour = 2\nday = 2", ("hour",), "2 does nothing: the limit of the day is 2"),
        ("hour = 9\nmonth = 2", ("hour",), "the limit of the month is 2"),
        ("tasks.a = { day = 9, month = 2 }", ("tasks", "a", "day"), "the limit of the month is 2"),
        ("tasks.b = { day = 9 }", ("tasks", "b"), "no task 'b': known: a"),
        ("day = 1\ntasks.a = {}", ("tasks", "a"), "says nothing"),
        ('day = 1\ntasks.a = { allow = ["only"] }', ("tasks", "a", "allow"), "does nothing"),
        ("per_call = 1\nsteps = [{ above = 0, hedges = false }]", ("steps",), "set a limit"),
        ("day = 1\nsteps = [{ above = 0.5 }]", ("steps",), "change nothing"),
        *(
            (
                f"day = 1\nsteps = [{{ above = {above}, hedges = false }}]",
                ("steps", 0, "above"),
                "needs a fraction, from 0 to less than 1",
            )
            for above in ("1", "-0.1", "nan", "inf")
        ),
        (
            "day = 1\nsteps = [{ above = 0.2 }, { above = 0.5, hedges = false }]",
            ("steps", 1, "above"),
            "0.5: needs less than 0.2",
        ),
        (
            "day = 1\nsteps = [{above = 0.5, hedges = false}, {above = 0.2, hedges = false}]",
            ("steps", 1),
            "as the step before",
        ),
    ],
)
def test_what_makes_no_sense_is_told_with_its_key(
    text: str, path: tuple[str | int, ...], message: str
) -> None:
    (first, *_) = faults(read(text), {"a"})
    assert first.path == path
    assert message in first.message


def test_a_budget_refuses_settings_that_make_no_sense(tmp_path: object) -> None:
    with pytest.raises(ConfigError, match=r"budget\.steps\[0\]\.above|budget\.steps: do nothing"):
        LedgerBudget(
            BudgetSettings(per_call=1.0, steps=[Step(above=0.1, hedges=False)]),
            path=f"{tmp_path}/ledger.db",
        )


def test_the_page_about_budgets_shows_one_that_can_be_read() -> None:
    page = (Path(__file__).parents[3] / "docs" / "budgets.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    settings = msgspec.convert(tomllib.loads(example)["budget"], BudgetSettings)
    check(settings, {"narrative"})
    keys = {
        *BudgetSettings.__struct_fields__,
        *TaskBudget.__struct_fields__,
        *Step.__struct_fields__,
    }
    for key in keys:
        assert f"`{key}" in page
