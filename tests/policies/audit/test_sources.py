"""Reading lines: what form they have, and everything that may be wrong with them."""

from __future__ import annotations

import json
import sqlite3
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cascade.errors import ConfigError
from cascade_policies.audit import sources
from cascade_policies.audit.audit import audit_calls
from cascade_policies.audit.proposal import module_text, project_text
from cascade_policies.audit.sources import read_calls
from cascade_policies.audit.templates import LEAST
from cascade_policies.audit.view import report, shape
from tests.policies.audit.conftest import Read, Write, line

GOOD = line("Hello?", "Hi.")


def test_bad_lines_are_counted_and_named(read: Read) -> None:
    deep = "[" * 5_000 + "]" * 5_000
    reading = read([GOOD, "{no", "", deep, "[1, 2]", '"text"', {"a": 1}, GOOD])
    assert [call.line for call in reading.calls] == [1, 7]
    assert reading.lines == 7
    assert reading.unread == [
        (2, "not JSON"),
        (3, "nested too deeply"),
        (4, "not a JSON object"),
        (5, "not a JSON object"),
        (6, "no messages or prompt"),
    ]
    assert reading.reasons.total() == 5


def test_a_long_line_is_left_out_and_what_follows_is_read(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MAX_LINE", 1_000)
    reading = read_calls(write([GOOD, line("x" * 5_000, "y"), GOOD]))
    assert [call.line for call in reading.calls] == [1, 3]
    assert reading.unread == [(2, "longer than 1,000 bytes")]


def test_a_mark_at_the_start_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\n\xff\xfe\x00\n")
    reading = read_calls(path)
    assert len(reading.calls) == 1
    assert reading.unread == [(2, "not JSON")]


def test_one_array_is_read_as_its_items(tmp_path: Path) -> None:
    path = tmp_path / "l.json"
    path.write_text(json.dumps([GOOD, 7, GOOD], indent=1))
    reading = read_calls(path)
    assert [call.line for call in reading.calls] == [1, 3]
    assert reading.unread == [(2, "not a JSON object")]


def test_since_leaves_out_what_is_earlier_or_has_no_time(write: Write) -> None:
    path = write([{**GOOD, "created": 100}, {**GOOD, "created": 200}, GOOD])
    assert [call.line for call in read_calls(path, since=150.0).calls] == [2]


@pytest.mark.parametrize("content", ["", "\n\n", "no\nJSON", '{"a": 1}\n', "[", "[1]"])
def test_a_file_without_calls_is_refused(write: Write, content: str) -> None:
    with pytest.raises(ConfigError, match=r"no model call in .* lines"):
        read_calls(write([content]))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_calls(tmp_path / "none.jsonl")
    with pytest.raises(ConfigError, match="Is a directory"):
        read_calls(tmp_path)


def test_a_database_that_is_no_ledger(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE calls (id INTEGER)")
        connection.execute("INSERT INTO calls VALUES (1)")
    connection.close()
    with pytest.raises(ConfigError, match="cannot be read as a ledger"):
        read_calls(tmp_path / "other.db")
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"SQLite format 3\0" + b"\xaa" * 5_000)
    with pytest.raises(ConfigError, match="cannot be read as a ledger"):
        read_calls(broken)


KEYS = st.sampled_from(
    ["request", "response", "messages", "prompt", "role", "content", "choices", "message", "text",
     "model", "usage", "prompt_tokens", "created", "latency_s", "metadata", "task", "trace_id",
     "tool_calls", "function", "name", "arguments", "resourceSpans", "scopeSpans", "spans",
     "attributes", "key", "value", "stringValue", "arrayValue", "values", "events", "parts",
     "gen_ai.request.model", "gen_ai.input.messages", "gen_ai.output.messages", "error", "status",
     "gen_ai.usage.input_tokens", "startTimeUnixNano", "context", "body", "output", "input"]
)  # fmt: skip
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("user"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=25,
)
SCHEMAS = st.dictionaries(KEYS, VALUES, max_size=6)


def test_a_first_line_that_only_begins_like_an_array_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\n".join([b"[2026-01-01] started", json.dumps(line("a", "b")).encode()]))
    reading = read_calls(path)
    assert (len(reading.calls), reading.lines) == (1, 2)
    path.write_text(json.dumps([1, line("a", "b"), line("c", "d")]))
    reading = read_calls(path)
    assert (len(reading.calls), reading.lines) == (2, 3)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(SCHEMAS | st.binary(max_size=60), max_size=8), st.text(), st.text())
def test_whatever_a_file_holds_it_is_read_or_refused(
    tmp_path: Path, lines: list[Any], prompt: str, answer: str
) -> None:
    """Nothing crashes, every line is accounted for, and what is written can be read."""
    path = tmp_path / "hostile.jsonl"
    raw = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in lines]
    usual = [json.dumps(line(prompt, answer)).encode()] * 25
    path.write_bytes(b"\n".join([*raw, *usual]))
    try:
        reading = read_calls(path)
    except ConfigError:  # no line was a call: an empty prompt is none
        assert not prompt
        return
    audit = audit_calls(reading)
    placed = [call for one in audit.findings for call in one.group.calls]
    assert sorted(id(call) for call in placed) == sorted(id(call) for call in reading.calls)
    assert json.dumps(shape(audit))
    assert list(report(audit, 80))
    project = tomllib.loads(project_text(audit, "tasks"))
    kinds = [one for one in audit.findings if len(one.group.calls) >= LEAST]
    assert len(project.get("tasks", {})) == len(kinds)
    drafts = {one.name: one.need.draft for one in audit.findings if one.need.draft is not None}
    if drafts:
        compile(module_text(drafts, audit), "tasks.py", "exec")
