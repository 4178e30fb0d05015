"""Answers made to hurt do not hold up the event loop, whichever built-in verifier reads them.

What counts is the processor time that this process uses between two ticks of the loop, be it in the
loop's own thread or in another one that holds the interpreter. Time that other programs take from
the machine is not in it, so the bound can be tight on a busy one.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import re
import sqlite3
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from importlib.metadata import entry_points
from pathlib import Path
from time import process_time
from typing import Any, cast

import httpx2
import pytest

from cascade.context import Check, current_check
from cascade.cost import FREE, Cost
from cascade.transport import make_transport
from cascade.types import Answer, Request, TokenLogprob
from cascade.verdict import Verdict
from cascade_verifiers import features
from cascade_verifiers.agreement import Agreement
from cascade_verifiers.algebra import at_least
from cascade_verifiers.command import Command
from cascade_verifiers.external import MAX_BYTES
from cascade_verifiers.finished import Finished
from cascade_verifiers.grounded import Grounded
from cascade_verifiers.http import Http
from cascade_verifiers.json_schema import JsonSchema
from cascade_verifiers.judge import Judge
from cascade_verifiers.language import Language
from cascade_verifiers.learned import VERSION, Learned
from cascade_verifiers.length import Length
from cascade_verifiers.no_placeholder import NoPlaceholder
from cascade_verifiers.not_refusal import NotRefusal
from cascade_verifiers.number import Number
from cascade_verifiers.one_of import OneOf
from cascade_verifiers.pairwise_judge import PairwiseJudge
from cascade_verifiers.python_syntax import PythonSyntax
from cascade_verifiers.regex import Regex
from cascade_verifiers.self_confidence import SelfConfidence
from cascade_verifiers.sql import Sql
from cascade_verifiers.tool_calls import ToolCalls

MOST_LAG = 0.02
TICK = 0.001
TRIES = 6
N = 240_000
LONG = 900_000
SHORT = 45_000
"""`N` is just below what most verifiers read, `LONG` below what the others do; what is longer than
`SHORT` is cut to that besides, as some read no more."""

REQUEST = Request.of('the source: 12 apples, "a b"')
TREE: dict[str, Any] = {
    "type": ["object", "array", "string", "integer"],
    "properties": {"a": {"$ref": "#"}, "p": {"type": "string", "pattern": "^(a+)+$"}},
    "items": {"anyOf": [{"$ref": "#"}, {"$ref": "#"}, {"const": 1}]},
    "additionalProperties": False,
}

ANSWERS = {
    "ten megabytes": "a" * 10**7,
    "ten megabytes of white space": " " * 10**7,
    "ten megabytes of lines": "\n" * 10**7,
    "ten megabytes of white space in words": "a" + " " * 10**7 + "b",
    "ten megabytes of lines in words": "a" + "\n" * 10**7 + "b",
    "ten megabytes of JSON": '["' + "a" * 10**7 + '"]',
    "a megabyte of words": "the sum of it is " * (LONG // 17),
    "an array of a million": "[" + "1," * (LONG // 2) + "1]",
    "an array of 240,000": "[" + "1," * 120_000 + "1]",
    "an array of the wrong": "[" + "null," * 3_800 + "null]",
    "objects": "{} " * (N // 3),
    "keys": json.dumps({f"k{n}": n for n in range(2_000)}),
    "duplicate keys": "{" + '"a": 1,' * 2_000 + '"a": 1}',
    "100,000 brackets": "[" * 100_000,
    "100,000 closed brackets": "[" * 100_000 + "]" * 100_000,
    "100,000 braces": '{"a":' * 100_000,
    "100 closed brackets": "[" * 100 + "]" * 100,
    "brackets in prose": "see [x " * (N // 7),
    "lists begun": "[1," * (N // 3),
    "unfinished literals": "[tru" * (N // 4),
    "unfinished strings": '["' * (N // 2),
    "quotes and brackets": '["' + '\\"[' * (LONG // 3),
    "quotations": '"a b" ' * (N // 6),
    "quotations begun": "« " * (N // 2),
    "backslashes": '"' + "\\" * N,
    "an exponential pattern": json.dumps({"p": "a" * 15_000 + "!"}),
    "fences": "```\n" * (N // 4),
    "one long fence": "```" + "a" * N,
    "tildes": "~" * N,
    "backticks": "`" * N,
    "a million digits": "9" * LONG,
    "a million digits in JSON": "[" + "9" * LONG + "]",
    "a million decimals": "[0." + "9" * N + "]",
    "a huge exponent": "[1e" + "9" * N + "]",
    "groups of digits": "1," * (N // 2),
    "one number in groups": "1" + ",111" * (LONG // 4),
    "sums of prose": "1 + 1 = 2, " * (N // 11),
    "nul": '{"a": "\0"}' + "\0" * 1_000,
    "a lone surrogate": '{"a": "\ud800"}',
    "an escaped surrogate": '{"a": "\\ud800"}',
    "lone surrogates": "\ud800" * LONG,
    "right to left": '{"a": "\u202e\u2066"}' + "\u202e\u2066" * 1_000,
    "expanding": "\ufdfa" * LONG,
    "combining": "a" + "\u0301" * N,
    "letters of all scripts": "aбα" * (N // 3),  # noqa: RUF001  (they are meant)
    "gaps": "{{ a" * (N // 4),
    "many gaps": "".join(f"[your {n}]" for n in range(N // 14)),
    "to do": "# " * (LONG // 2),
    "underscores": "_" * N,
    "sorry": "i am sorry, but " * (N // 16),
    "calls": "[" + "ping(a=[1, 2, {'b': 'c'}])," * 700 + "ping(",
    "parentheses": "SELECT " + "(" * 9_900,
    "not not not": "SELECT " + "not " * 2_400 + "1",
    "sums": "SELECT " + "1+" * 4_900 + "1",
    "casts": "SELECT 1" + "::int" * 1_950,
    "short parentheses": "SELECT " + "(" * 990,
    "short sums": "SELECT " + "1+" * 490 + "1",
    "short nots": "SELECT " + "not " * 240 + "1",
    "short casts": "SELECT 1" + "::int" * 190,
    "indexes": "SELECT a" + "[1]" * 300,
    "short columns": "SELECT " + "a," * 490 + "a FROM t",
    "short unknown columns": "SELECT " + "b," * 480 + "a FROM t",
    "short cases": "SELECT " + "case when 1 then 1 end," * 42 + "1",
    "short subqueries": "SELECT " + "(select " * 30 + "1" + ")" * 30,
    "short joins": "SELECT 1 FROM t" + " natural join t" * 60,
    "a recursion": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    "SELECT count(*) FROM n",
    "a cross join": "SELECT count(*) FROM t a, t b, t c, t d, t e",
    "rows": "SELECT a.a FROM t a, t b",
    "a hidden statement": "SELECT 1 /*! ; */; ATTACH 'x' AS y",
}

NAMES = (
    "agreement.text", "agreement.number", "agreement.field", "agreement.json", "agreement.sql",
    "agreement.sql_ast", "command", "finished", "grounded", "grounded.json", "grounded.prose",
    "json_schema", "json_schema.strict", "json_schema.mending", "json_schema.unique", "http",
    "judge", "judge.yes_no", "language", "learned", "length", "length.long", "no_placeholder",
    "not_refusal", "number", "one_of", "pairwise_judge", "python_syntax", "regex",
    "regex.letters", "self_confidence", "self_confidence.json", "self_confidence.logprob",
    "self_confidence.p_true", "sql", "sql.any", "sql.catalogue", "sql.run", "tool_calls",
    "tool_calls.strict", "all", "at_least",
)  # fmt: skip
"""Each the registered name, a dot, and what is particular about it."""


class Engine:
    """An engine whose one model, and every endpoint, says the same."""

    def __init__(self, says: str) -> None:
        self.says = says
        body = says[:MAX_BYTES].encode(errors="replace")
        reply = httpx2.MockTransport(lambda _: httpx2.Response(200, content=body))
        self.transport = make_transport(httpx2.AsyncClient(transport=reply))

    async def complete(
        self, model: Any, request: Request, *, spent: list[Cost], **_: Any
    ) -> tuple[Answer, Cost]:
        return Answer(self.says), FREE


class Group:
    """Two equal answers to a verifier of groups."""

    def __init__(self, verifier: Agreement) -> None:
        self.verifier = verifier

    async def verify(self, request: Request, answer: Answer) -> Verdict:
        found = self.verifier.verify_group(request, [answer, answer])
        return (await found if inspect.isawaitable(found) else found)[0]


class Sure:
    """A verifier of an answer's tokens, with tokens."""

    def __init__(self, verifier: SelfConfidence) -> None:
        self.verifier = verifier

    async def verify(self, request: Request, answer: Answer) -> Verdict:
        pieces = range(0, min(len(answer.text), SHORT), 4)
        tokens = tuple(TokenLogprob(answer.text[at : at + 4], -0.5) for at in pieces)
        await asyncio.sleep(2 * TICK)  # what made them is not the verifier's
        found = self.verifier.verify(request, Answer(answer.text, logprobs=tokens))
        return await found if inspect.isawaitable(found) else found


def learned() -> Learned:
    names = features.names(logprobs=False)
    hashed = {"version": features.VERSION, "hash": features.names_hash(logprobs=False)}
    return Learned(
        {
            "kind": "learned",
            "version": VERSION,
            "features": hashed,
            "logprobs": False,
            "embedding": None,
            "weights": [0.1] * len(names),
            "bias": 0.0,
            "rows": 10,
            "data": "",
        }
    )


def verifiers(database: Path) -> dict[str, Any]:
    """What `NAMES` lists."""
    limits: dict[str, Any] = {"database": database, "timeout": 0.2, "max_rows": 1_000}
    ping = {"name": "ping", "parameters": {"type": "object", "properties": {"a": {}}}}
    reader = "import json, sys; json.load(sys.stdin); print(json.dumps({'outcome': 'accepted'}))"
    rules = (Finished(), NotRefusal(), Regex("a"), Length(max_words=3))
    return {
        "agreement.text": Group(Agreement()),
        "agreement.number": Group(Agreement("number")),
        "agreement.field": Group(Agreement("number", field="a")),
        "agreement.json": Group(Agreement("json")),
        "agreement.sql": Group(Agreement("sql", **limits)),
        "agreement.sql_ast": Group(Agreement("sql_ast", dialect="sqlite")),
        "command": Command([sys.executable, "-I", "-S", "-c", reader]),
        "finished": Finished(sentence=True),
        "grounded": Grounded(),
        "grounded.json": Grounded(ignore=["b"]),
        "grounded.prose": Grounded(form="prose"),
        "http": Http("http://check.invalid/"),
        "json_schema": JsonSchema(TREE),
        "json_schema.strict": JsonSchema(TREE, extract="strict"),
        "json_schema.mending": JsonSchema(TREE, repair="syntax"),
        "json_schema.unique": JsonSchema({"type": "array", "uniqueItems": True}, control=True),
        "judge": Judge("some:model", "It is right."),
        "judge.yes_no": Judge("some:model", "It is right.", scale="yes_no"),
        "language": Language("en"),
        "learned": learned(),
        "length": Length(max_words=5, min_lines=2, max_chars=100),
        "length.long": Length(max_words=10**7, max_lines=10**7),
        "no_placeholder": NoPlaceholder(),
        "not_refusal": NotRefusal(),
        "number": Number(units=["km"]),
        "one_of": OneOf("a", "b", aliases={"a": ["c"]}),
        "pairwise_judge": PairwiseJudge("some:model", "It is right.", baseline="Paris"),
        "python_syntax": PythonSyntax(),
        "regex": Regex("(a|a)*$", full=True),
        "regex.letters": Regex(r"(\p{L}+\s?){1,50}\.$", ignore_case=True),
        "self_confidence": SelfConfidence(),
        "self_confidence.json": SelfConfidence(form="json"),
        "self_confidence.logprob": Sure(SelfConfidence("logprob")),
        "self_confidence.p_true": SelfConfidence("p_true"),
        "sql": Sql(),
        "sql.any": Sql("mysql", extract="strict", read_only=False),
        "sql.catalogue": Sql("sqlite", catalogue=database),
        "sql.run": Sql("sqlite", catalogue=True, execute=True, not_empty=True, **limits),
        "tool_calls": ToolCalls([ping]),
        "tool_calls.strict": ToolCalls([ping], form="json", extract="strict"),
        "all": Finished() & NotRefusal() & Regex("a") & Length(max_words=3) & ~Language("de"),
        "at_least": at_least(2, *rules),
    }


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    path = tmp_path_factory.mktemp("lag") / "t.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (a INTEGER)")
        connection.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(1_000)])
        connection.commit()
    # What there is by now is not looked through again with the garbage of a verifier.
    gc.collect()
    gc.freeze()
    yield verifiers(path)
    gc.unfreeze()


async def lag(work: Callable[[], Awaitable[None]]) -> float:
    """The most processor seconds that went by between two ticks of the loop during ``work``."""
    worst, last = 0.0, process_time()

    def seen() -> None:
        nonlocal worst, last
        now = process_time()
        worst, last = max(worst, now - last), now

    async def tick() -> None:
        while True:
            await asyncio.sleep(TICK)
            seen()

    ticker = asyncio.create_task(tick())
    try:
        await work()
        seen()  # what never gave way has had no tick
    finally:
        ticker.cancel()
        await asyncio.gather(ticker, return_exceptions=True)
    return worst


async def judge(verifier: Any, text: str) -> None:
    """Have the verifier judge ``text``; a model that it asks says the same again."""
    token = current_check.set(Check(cast("Any", Engine(text))))
    try:
        found = verifier.verify(REQUEST, Answer(text))
        verdict = await found if inspect.isawaitable(found) else found
    finally:
        current_check.reset(token)
    assert isinstance(verdict, Verdict)
    assert len(verdict.reason) <= 500


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.anyio
async def test_the_loop_goes_on(name: str, table: dict[str, Any]) -> None:
    verifier = table[name]
    await judge(verifier, "{}")  # what is loaded and started on first use is not the answer's doing
    for about, whole in ANSWERS.items():
        cut = len(whole) > SHORT and name != "command"  # a process each time, and no limit below
        for text in [whole, whole[:SHORT]] if cut else [whole]:

            async def once(text: str = text) -> None:
                await judge(verifier, text)

            # Now and then the garbage of all tests before is collected: of some times, the least.
            lags = [await lag(once)]
            while min(lags) >= MOST_LAG and len(lags) < TRIES:
                lags.append(await lag(once))
            place = f"{about}, {len(text):,} characters"
            assert min(lags) < MOST_LAG, f"{place}: {min(lags) * 1000:.0f} ms"


def test_every_built_in_verifier_is_measured(table: dict[str, Any]) -> None:
    assert table.keys() == set(NAMES)
    built_in = {
        entry.name
        for entry in entry_points(group="cascade.verifiers")
        if entry.value.startswith("cascade_verifiers.")
    }
    assert built_in <= {name.partition(".")[0] for name in NAMES}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_a_loop_that_is_held_is_seen() -> None:
    """By its own thread, and by another one that does not let go of the interpreter."""

    async def busy() -> None:
        end = process_time() + 2 * MOST_LAG
        while process_time() < end:
            pass

    async def elsewhere() -> None:
        text = "a" * 20_000
        await asyncio.to_thread(re.compile("(?:a{0,60}){4}b").match, text)

    assert await lag(busy) >= MOST_LAG
    assert await lag(elsewhere) >= MOST_LAG
