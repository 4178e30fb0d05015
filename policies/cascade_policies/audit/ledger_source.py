"""Reading our own ledger. It is opened to be read only, and only what the audit needs is read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec

from cascade.cost import Cost
from cascade.errors import ConfigError
from cascade.types import Usage
from cascade_policies.audit.calls import Call, Reading, ToolUse, count, model_name, number, shorten
from cascade_policies.ledger.database import open_read_only

# The attempt that answered, or else the last one, says which model a call was for.
_CALLS: Final = """
SELECT c.id, c.began, c.policy, c.outcome, c.latency_s, c.cost_low, c.cost_high, c.cost_basis,
       c.prompt, c.prompt_hash, c.answer, c.answer_hash, c.answer_chars,
       a.model, a.input_tokens, a.output_tokens, a.cached_input_tokens
FROM calls AS c LEFT JOIN attempts AS a ON a.id = (
  SELECT id FROM attempts WHERE call = c.id
  ORDER BY outcome = 'accepted' DESC, number DESC LIMIT 1
)
WHERE c.began >= ? ORDER BY c.id
"""
_TOOLS: Final = '[{"name":'
_BASES: Final = ("reported", "estimated", "cancelled")


class _Tool(msgspec.Struct):
    name: str
    arguments: str


_TOOL_LIST: Final = msgspec.json.Decoder(list[_Tool])


def read_ledger(path: Path, since: float | None) -> Reading:
    """The calls of a ledger since ``since`` (Unix seconds).

    Raises:
        ConfigError: it is no ledger, or is corrupt.
    """
    reading = Reading(source=str(path), form="ledger")
    try:
        with closing(_open(path)) as connection:
            rows = connection.execute(_CALLS, (-1e18 if since is None else since,))
            reading.calls = list(_calls(rows, reading))
    except sqlite3.Error as error:
        raise ConfigError(f"{str(path)!r} cannot be read as a ledger: {error}") from error
    if not reading.lines and since is None:
        raise ConfigError(f"{str(path)!r}: the ledger has no calls yet")
    return reading


def _open(path: Path) -> sqlite3.Connection:
    connection = open_read_only(path)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return connection


def _calls(rows: sqlite3.Cursor, reading: Reading) -> Iterator[Call]:
    for row in rows:
        reading.lines += 1
        try:
            yield _call(reading.lines, row)
        except (TypeError, ValueError):
            reading.skip(reading.lines, "not a row of a ledger")


def _call(line: int, row: tuple[Any, ...]) -> Call:
    (_, began, policy, outcome, latency, low, high, basis, prompt, prompt_hash, answer,
     answer_hash, answer_chars, model, read, written, cached) = row  # fmt: skip
    provider, _, name = (model or "").partition(":")
    tools = _tools(answer)
    return Call(
        line=line,
        place=str(policy),
        model=model_name(provider, name) if name else provider,
        prompt=None if prompt is None else shorten(prompt),
        prompt_key=bytes(prompt_hash or b""),
        answer=None if answer is None else "" if tools else shorten(answer),
        answer_key=bytes(answer_hash or b""),
        answer_chars=count(answer_chars),
        tools=tools,
        began=number(began),
        latency=number(latency),
        usage=Usage(count(read), count(written), count(cached)) if name else None,
        cost=Cost(number(low), number(high), basis if basis in _BASES else "estimated"),
        failed=outcome not in ("accepted", "exhausted") or answer_chars is None,
    )


def _tools(answer: str | None) -> tuple[ToolUse, ...]:
    """The tool calls that the ledger keeps in place of a text."""
    if answer is None or not answer.startswith(_TOOLS):
        return ()
    try:
        return tuple(ToolUse(one.name, one.arguments) for one in _TOOL_LIST.decode(answer))
    except (ValueError, RecursionError):
        return ()
