"""`Agreement`: several answers to one prompt vote, and what most of them say is accepted."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, Literal, get_args

from anyio import create_task_group

from cascade.errors import ConfigError, nearest
from cascade.types import Answer, Request
from cascade.verdict import Verdict, Verifier
from cascade_verifiers.agreement_keys import (
    MAX_CHARS,
    Vote,
    field_text,
    json_vote,
    number_vote,
    text_vote,
)
from cascade_verifiers.composable import Composable
from cascade_verifiers.sql_votes import AstVotes, ResultVotes
from cascade_verifiers.voting import alone, settled, tally

By = Literal["text", "number", "json", "sql", "sql_ast"]
KeyFunction = Callable[[Answer], Any]

MORE_THAN_HALF = 0.501


class Agreement(Composable):
    """Accepts what most of several answers say (self-consistency).

    For a tier with several samples or several models, whose answers are judged together: each
    votes with a key, and equal keys are one vote. The answers of the largest group are accepted
    with the share of the votes as score, when that reaches ``threshold`` and at least two agree;
    all others are rejected. Among groups of one size, the one with the first answer is it.

    An answer without a key (no number, broken JSON, SQL that fails) votes for nothing and counts
    as one that disagrees. One answer alone cannot agree: then it abstains.

    Args:
        by: what must be the same: ``"text"`` (white space aside), ``"number"`` (the last one in
            the text), ``"json"`` (as values), ``"sql"`` (the results on ``database``),
            ``"sql_ast"`` (the queries, spacing and letter case aside), or a function of the
            answer that gives a hashable key, or None for no vote; it may be async.
        threshold: the share of votes from which it accepts; by default more than half. A tier's
            ``threshold`` sets it.
        field: for text, number and JSON: only what stands at this path in the answer's JSON, such
            as ``"answer"`` or ``"result.total"``, is compared.
        database: for ``"sql"``: the path of an SQLite or DuckDB file.
        dialect: for ``"sql_ast"``: as sqlglot names it.
        ordered: for ``"sql"``: whether the order of rows counts.
        columns: for ``"sql"``: ``"any"`` lets columns stand in any order.
        tolerance: for ``"sql"``: relative difference that numbers may have.
        not_empty: for ``"sql"``: whether a query that gives no rows has no vote.
        timeout: for ``"sql"``: seconds the database may take for one query.
        max_rows: for ``"sql"``: queries with more rows do not vote.
        memory_mb: for ``"sql"``: megabytes a query may take.

    Raises:
        ConfigError: an argument is wrong, missing, or would do nothing.
    """

    def __init__(
        self,
        by: By | KeyFunction = "text",
        *,
        threshold: float = MORE_THAN_HALF,
        field: str | None = None,
        database: str | Path | None = None,
        dialect: str | None = None,
        ordered: bool | None = None,
        columns: Literal["given", "any"] | None = None,
        tolerance: float | None = None,
        not_empty: bool | None = None,
        timeout: float | None = None,
        max_rows: int | None = None,
        memory_mb: int | None = None,
    ) -> None:
        if isinstance(by, str) and by not in get_args(By):
            raise ConfigError(f"by={by!r}: {nearest(str(by), get_args(By))}")
        if not isinstance(by, str) and not callable(by):
            raise ConfigError(f"by={by!r}: give one of {', '.join(get_args(By))}, or a function")
        self.threshold = _share(threshold)
        given: dict[str, Any] = {
            "field": field, "database": database, "dialect": dialect, "ordered": ordered,
            "columns": columns, "tolerance": tolerance, "not_empty": not_empty, "timeout": timeout,
            "max_rows": max_rows, "memory_mb": memory_mb,
        }  # fmt: skip
        settings = {name: value for name, value in given.items() if value is not None}
        kind = by if isinstance(by, str) else "function"
        for name in settings:
            if name not in _TAKEN.get(kind, ()):
                raise ConfigError(f"{name}= does nothing with by={kind!r}")
        if kind == "sql" and database is None:
            raise ConfigError("by='sql' needs database=")
        self.by: str | KeyFunction = by
        self._votes = _vote_of(by, settings)
        self.cost_class = "cpu" if kind in ("sql", "sql_ast") else "free"

    def verify(self, request: Request, answer: Answer, /) -> Verdict | Awaitable[Verdict]:
        """An abstention: one answer alone cannot agree."""
        return alone()

    def verify_group(
        self, request: Request, answers: Sequence[Answer]
    ) -> Sequence[Verdict] | Awaitable[Sequence[Verdict]]:
        """One verdict an answer, in order; awaitable where the keys have to be waited for."""
        poll = self.poll(len(answers))
        waiting = [found for n, answer in enumerate(answers)
                   if (found := poll.add(n, answer)) is not None]  # fmt: skip
        return _counted(poll, waiting) if waiting else poll.verdicts()

    def enough(self, answers: Sequence[Answer], members: int) -> bool:
        """Whether these answers of ``members`` settle the vote; the engine then asks no more.

        Never for SQL, whose results and long texts are read in another process.
        """
        if self.by in ("sql", "sql_ast"):
            return False
        keys: list[Hashable | None] = []
        for answer in answers:
            vote = self.vote(answer)
            if inspect.iscoroutine(vote):  # a key function of the user's own
                vote.close()
                return False
            keys.append(vote.key if isinstance(vote, Vote) else None)
        return settled(keys, members, self.threshold, in_order=False)

    def poll(self, k: int) -> Poll:
        """A vote of ``k`` answers that come in one by one."""
        return Poll(self, k)

    def with_threshold(self, threshold: float) -> Verifier:
        """The same with another threshold."""
        changed = copy(self)
        changed.threshold = _share(threshold)
        return changed

    def vote(self, answer: Answer) -> Vote | Awaitable[Vote | None] | None:
        """What the answer votes for; None when it has no vote."""
        return self._votes(answer) if len(answer.text) <= MAX_CHARS else None

    async def same(self, one: Vote, other: Vote) -> bool:
        """Whether two votes with different keys are the same after all (results, nearly)."""
        compare = getattr(self._votes, "same", None)
        return compare is not None and await compare(one, other)

    @property
    def exact(self) -> bool:
        """Whether votes with different keys are always different."""
        return not hasattr(self._votes, "same")

    def __repr__(self) -> str:
        name = self.by if isinstance(self.by, str) else getattr(self.by, "__name__", "function")
        return f"Agreement({name})"


class Poll:
    """A vote in progress: answers are added as they come, until `settled`."""

    def __init__(self, agreement: Agreement, k: int) -> None:
        self._agreement = agreement
        self._k = k
        self._votes: dict[int, Vote | None] = {}
        self._keys: dict[int, Hashable | None] = {}
        self._groups: list[Vote] = []

    def add(self, index: int, answer: Answer) -> Awaitable[None] | None:
        """Count the answer of sample ``index``; None when that is done, else to be awaited."""
        found = self._agreement.vote(answer)
        if inspect.isawaitable(found):
            return self._add_later(index, found)
        self._votes[index] = found
        self._keys[index] = None if found is None else found.key
        return None

    @property
    def settled(self) -> bool:
        """Whether the answers still to come cannot change who wins, or that nobody does."""
        return settled([key for _, key in sorted(self._keys.items())], self._k,
                       self._agreement.threshold)  # fmt: skip

    def verdicts(self) -> list[Verdict]:
        """One verdict an answer, by the index of its sample.

        The share is that of all ``k``, so of a vote that was stopped early it is the least that
        it would have been.
        """
        order = sorted(self._keys)
        return tally(
            [self._keys[n] for n in order],
            max(self._k, len(order)),
            self._agreement.threshold,
            [self._votes[n] for n in order],
        )

    async def _add_later(self, index: int, pending: Awaitable[Vote | None]) -> None:
        vote = await pending
        self._votes[index] = vote
        self._keys[index] = None if vote is None else await self._group(vote)

    async def _group(self, vote: Vote) -> Hashable:
        """The key of the group the vote belongs to, by its first member."""
        seen = 0
        for known in self._groups:
            if known.key == vote.key:
                return known.key
        if not self._agreement.exact:
            # While one comparison is awaited another task may have opened a group: look on.
            while seen < len(self._groups):
                known = self._groups[seen]
                seen += 1
                if known.key == vote.key or await self._agreement.same(known, vote):
                    return known.key
        self._groups.append(vote)
        return vote.key


async def _counted(poll: Poll, waiting: Iterable[Awaitable[None]]) -> Sequence[Verdict]:
    async def wait(pending: Awaitable[None]) -> None:
        await pending

    async with create_task_group() as group:
        for pending in waiting:
            group.start_soon(wait, pending)
    return poll.verdicts()


def _share(threshold: float) -> float:
    if not 0 < threshold <= 1:
        raise ConfigError(f"threshold={threshold!r}: give a share of votes above 0, at most 1")
    return threshold


_SQL = (
    "database", "ordered", "columns", "tolerance", "not_empty", "timeout", "max_rows", "memory_mb"
)  # fmt: skip
_TAKEN: Mapping[str, tuple[str, ...]] = {
    "text": ("field",),
    "number": ("field",),
    "json": ("field",),
    "sql": _SQL,
    "sql_ast": ("dialect",),
}


def _vote_of(by: str | KeyFunction, settings: Mapping[str, Any]) -> Callable[[Answer], Any]:
    if not isinstance(by, str):
        return _FunctionVotes(by)
    if by == "sql":
        return ResultVotes(**settings)
    if by == "sql_ast":
        return AstVotes(settings.get("dialect"))
    field: str | None = settings.get("field")
    if by == "json":
        return lambda answer: json_vote(answer.text, field)
    read = number_vote if by == "number" else text_vote
    if field is None:
        return lambda answer: read(answer.text)

    def of_field(answer: Answer) -> Vote | None:
        text = field_text(answer.text, field)
        return None if text is None else read(text)

    return of_field


class _FunctionVotes:
    """The votes a user's function gives."""

    def __init__(self, function: KeyFunction) -> None:
        self._function = function

    def __call__(self, answer: Answer) -> Vote | Awaitable[Vote | None] | None:
        found = self._function(answer)
        return self._later(found) if inspect.isawaitable(found) else self._vote(found)

    async def _later(self, pending: Awaitable[Any]) -> Vote | None:
        return self._vote(await pending)

    def _vote(self, key: Any) -> Vote | None:
        hash(key)  # a TypeError here names what is wrong better than one in the count
        return None if key is None else Vote(key)
