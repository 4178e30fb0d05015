"""``--set``: changes to a policy file before its strict reading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cascade.errors import ConfigError, PolicyFileError
from cascade_policies.document import parse_document
from cascade_policies.file import load_policy
from cascade_policies.overrides import apply_overrides

TEXT = """
[[tiers]]
name = "small"
model = "function:os.path:basename"
timeout = 5

[[tiers]]
model = "openai:gpt-5.2"
params = { temperature = 0.5, stop = ["a", "b"] }
"""


def changed(*overrides: str) -> dict[str, Any]:
    document = parse_document(TEXT, file="p.toml", folder=Path())
    apply_overrides(document, overrides)
    return document.data


@pytest.mark.parametrize(
    ("override", "index", "key", "value"),
    [
        ("tiers.0.timeout=0.9", 0, "timeout", 0.9),
        ("tiers[0].timeout=1", 0, "timeout", 1),
        ("tiers.small.timeout=2", 0, "timeout", 2),
        (' tiers . "small" . timeout = 2', 0, "timeout", 2),
        ('tiers."openai:gpt-5.2".timeout=2', 1, "timeout", 2),
        ("tiers.'openai:gpt-5.2'.timeout=2", 1, "timeout", 2),
        ("tiers.0.constrain=true", 0, "constrain", True),
        ("tiers.0.timeout=none", 0, "timeout", "none"),
        ("tiers.0.system=Be brief. = Please", 0, "system", "Be brief. = Please"),
        ("tiers.0.system='a'", 0, "system", "a"),
        ("tiers.0.system=", 0, "system", ""),
        ("tiers.0.params={a = 1}", 0, "params", {"a": 1}),
        ('tiers.0.params={"a": [1, null]}', 0, "params", {"a": [1, None]}),
        ("tiers.0.system=[a-z]{2}", 0, "system", "[a-z]{2}"),
        ("tiers.0.system={" + "[" * 100_000, 0, "system", "{" + "[" * 100_000),
        ("tiers.0.params.a=1", 0, "params", {"a": 1}),
        ("tiers.0.system=1\nx = 2", 0, "system", "1\nx = 2"),
    ],
)
def test_a_value_is_set(override: str, index: int, key: str, value: Any) -> None:
    assert changed(override)["tiers"][index][key] == value


def test_values_deep_in_tables_and_lists_are_set() -> None:
    data = changed("tiers.1.params.temperature=0", "tiers.1.params.stop.1=c", "deadline=3")
    assert data["tiers"][1]["params"] == {"temperature": 0, "stop": ["a", "c"]}
    assert data["deadline"] == 3


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("tiers.0.timeout", "write KEY=VALUE"),
        ("=3", "write KEY=VALUE"),
        ("tiers.=3", "write KEY=VALUE"),
        ("a b=3", "write KEY=VALUE"),
        ("tiers.2.timeout=1", "tiers has 2 items, counted from 0"),
        ("tiers.smal.timeout=1", "no 'smal' in tiers: did you mean 'small'?"),
        ("tiers.zzz.timeout=1", "no 'zzz' in tiers: known: openai:gpt-5.2, small"),
        ("tiers.0.timeout.x=1", "tiers[0].timeout has no keys below it"),
        ("tiers.0.model.x.y=1", "tiers[0].model has no keys below it"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(override: str, says: str) -> None:
    with pytest.raises(ConfigError, match=r"^--set ") as caught:
        changed(override)
    assert says in str(caught.value)


def test_a_refused_override_does_not_show_its_value() -> None:
    with pytest.raises(ConfigError) as caught:
        changed("tiers.9.api_key=sk-secret")
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "key", "says"),
    [
        ("tiers.0.timeout=-1", "tiers[0].timeout", "got -1: needs seconds above 0"),
        ("tiers.0.timeuot=1", "tiers[0].timeuot", "did you mean 'timeout'?"),
        ("teirs.0.timeout=1", "teirs", "did you mean 'tiers'?"),
        ("tiers.1.params.temperature=nan", "tiers[1].params.temperature", "no JSON value"),
        ("tiers.0.api_key=sk-secret", "tiers[0].api_key", "a file must not hold a key"),
    ],
)
def test_a_mistake_that_an_override_made_has_no_line(
    override: str, key: str, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "p.toml"
    path.write_text(TEXT)
    with pytest.raises(PolicyFileError) as caught:
        load_policy(path, overrides=[override])
    assert says in caught.value.message
    assert caught.value.message.endswith("(from --set)")
    assert (caught.value.line, caught.value.key) == (None, key)
    assert "sk-secret" not in str(caught.value)


def test_a_mistake_beside_an_override_keeps_its_line(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(TEXT + "retries = -1\n")
    with pytest.raises(PolicyFileError) as caught:
        load_policy(path, overrides=["tiers.1.timeout=1"])
    assert (caught.value.line, caught.value.key) == (10, "tiers[1].retries")
