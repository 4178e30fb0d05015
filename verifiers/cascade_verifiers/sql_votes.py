"""How SQL queries vote: by their results on a database, or by their syntax trees."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Literal

from cascade.types import Answer
from cascade.verdict import Verdict
from cascade_verifiers.agreement_keys import Vote
from cascade_verifiers.sql import MAX_CHARS, READ_SECONDS, check_dialect, read_long
from cascade_verifiers.sql_results import same_pickled, same_result
from cascade_verifiers.sql_sandbox import Sandbox, in_worker
from cascade_verifiers.sql_text import Reader, is_short

_INLINE_BYTES = 8_192
"""Larger results are compared in a worker process."""


class ResultVotes:
    """Two queries vote the same when their results are the same; one that fails has no vote.

    With ``not_empty``, one that gives no rows has none either.
    """

    def __init__(
        self,
        *,
        database: str | Path,
        ordered: bool = False,
        columns: Literal["given", "any"] = "given",
        tolerance: float = 1e-6,
        not_empty: bool = False,
        **limits: Any,
    ) -> None:
        same_result((), (), tolerance=tolerance, columns=columns)  # refuses wrong ones
        self._sandbox = Sandbox(database, **limits)
        self._reader = Reader(self._sandbox.kind)
        self._how = (ordered, tolerance, columns)
        self._not_empty = not_empty

    async def __call__(self, answer: Answer) -> Vote | None:
        query = await _read(self._reader, answer.text)
        if query is None:
            return None
        run = await self._sandbox.run(query, keep=True)
        if run.status != "done" or (self._not_empty and not run.rows):
            return None
        return Vote(run.result, text=None if query == answer.text else query)

    async def same(self, one: Vote, other: Vote) -> bool:
        """Whether two results are the same, which is more than that they are equal."""
        a, b = one.key, other.key
        assert isinstance(a, bytes)
        assert isinstance(b, bytes)
        if len(a) + len(b) <= _INLINE_BYTES:
            return same_pickled(a, b, *self._how)
        return await in_worker(READ_SECONDS, same_pickled, a, b, *self._how)


class AstVotes:
    """Two queries vote the same when they differ in spacing, letter case and comments only."""

    def __init__(self, dialect: str | None) -> None:
        check_dialect(dialect)
        self._reader = Reader(dialect)

    def __call__(self, answer: Answer) -> Vote | Awaitable[Vote | None] | None:
        text = answer.text
        if len(text) > MAX_CHARS:
            return None
        if not is_short(text):
            return self._in_worker(text)
        return _vote(self._reader.canonical(text))

    async def _in_worker(self, text: str) -> Vote | None:
        try:
            return _vote(await in_worker(READ_SECONDS, self._reader.canonical, text))
        except TimeoutError:
            return None


def _vote(key: str | None) -> Vote | None:
    return None if key is None else Vote(key)


async def _read(reader: Reader, text: str) -> str | None:
    if len(text) > MAX_CHARS:
        return None
    query = reader.judge(text) if is_short(text) else await read_long(reader, text)
    return None if isinstance(query, Verdict) else query
