"""The line finder: right, or silent."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_policies.lines import find_lines

TEXT = '''\
# a comment with [brackets] and = signs
name = "x"  # and one behind
"quoted.key" = 1
dotted.'a b'.c = [1, 2]

[verifiers.order]
use = "json_schema"
schema = { type = "object", required = [
    "a", # one
    "b",
] }

[[tiers]]
model = """
[tiers]
model = "not a key" \\"""
"""
note = \'\'\'
[[tiers]]\'\'\'
when = 1979-05-27 07:32:00

[[tiers]]
model = ["a",
  "b"]
  [tiers.params]
  temperature = 0
  [[tiers.params.stops]]
  text = "x"
  [[tiers.params.stops]]
  text = "y"
'''

EXPECTED = {
    ("name",): 2,
    ("quoted.key",): 3,
    ("dotted",): 4,
    ("dotted", "a b", "c", 1): 4,
    ("verifiers",): 6,
    ("verifiers", "order", "schema", "required"): 8,
    ("verifiers", "order", "schema", "required", 0): 9,
    ("verifiers", "order", "schema", "required", 1): 10,
    ("tiers",): 13,
    ("tiers", 0): 13,
    ("tiers", 0, "model"): 14,
    ("tiers", 0, "note"): 18,
    ("tiers", 0, "when"): 20,
    ("tiers", 1): 22,
    ("tiers", 1, "model", 1): 24,
    ("tiers", 1, "params"): 25,
    ("tiers", 1, "params", "temperature"): 26,
    ("tiers", 1, "params", "stops", 1, "text"): 30,
}


def test_every_kind_of_key_has_its_line() -> None:
    lines = find_lines(TEXT, tomllib.loads(TEXT))
    assert {path: lines.get(path) for path in EXPECTED} == EXPECTED


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
def test_line_ends_do_not_matter(newline: str) -> None:
    text = f"a = 1{newline}[t]{newline}b = 2{newline}"
    assert find_lines(text, tomllib.loads(text)) == {("a",): 1, ("t",): 2, ("t", "b"): 3}


def test_data_that_is_not_of_this_text_gives_no_lines() -> None:
    assert find_lines("a = 1\n", {"b": 1}) == {}


@pytest.mark.parametrize("text", ["a", "a = ", "[a", "a = [1", 'a = "', "= 1", "a = {b = 1"])
def test_text_that_is_no_toml_gives_no_lines(text: str) -> None:
    assert find_lines(text, {"a": 1}) == {}


keys = st.text("ab.-\"' é[#=", min_size=1, max_size=4)
scalars = st.one_of(
    st.integers(-9, 9),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text("a\"'\\#[]{}=,\n é", max_size=8),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(keys, values, max_size=4), st.booleans())
def test_whatever_is_written_is_found_on_its_line(data: dict[str, Any], headers: bool) -> None:
    written: dict[tuple[str | int, ...], int] = {}
    text = _write(data, written, headers=headers)
    parsed = tomllib.loads(text)
    assert parsed == data
    lines = find_lines(text, parsed)
    assert {path: lines[path] for path in written} == written


def _write(
    data: dict[str, Any], written: dict[tuple[str | int, ...], int], *, headers: bool
) -> str:
    """TOML of ``data``, noting in ``written`` the line of each key at the top and below tables."""
    lines: list[str] = []

    def put(path: tuple[str | int, ...], line: str) -> None:
        written[path] = len(lines) + 1
        lines.extend(line.split("\n"))

    tables = {k: v for k, v in data.items() if headers and isinstance(v, dict)}
    for key, value in data.items():
        if key not in tables:
            put((key,), f"{_quoted(key)} = {_value(value)}")
    for key, table in tables.items():
        put((key,), f"  [ {_quoted(key)} ] # {key!r}")
        for inner, value in table.items():
            put((key, inner), f"{_quoted(inner)}={_value(value)} # ]")
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list):
        return "[" + ",\n# a comment ]\n".join(map(_value, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(k)} = {_value(v)}" for k, v in value.items()) + "}"
    return repr(value)


def _quoted(text: str) -> str:
    if "'" not in text and "\n" not in text and len(text) % 2:
        return f"'{text}'"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
