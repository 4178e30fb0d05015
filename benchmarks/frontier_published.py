"""What others published of the recorded sets, and the same figures scored anew from the answers.

Part of ``python -m benchmarks.frontier``, which says what is measured. The sets say of every answer
whether it is right (``correct``). Here every answer is scored a second time, by rules written down
below, from the answer itself; where the two differ, the row is named.

Sources: ZeroEval's `result_dirs/gsm.summary.json` (github.com/yuchenlin/ZeroEval), where
`deepseek-chat` is listed as `deepseek-v2-chat-0628` and the 405B as
`Llama-3.1-405B-Inst@hyperbolic`; Chen, Zaharia, Zou, "How Is ChatGPT's Behavior Changing over
Time?" (arXiv 2307.09009); for Spider, execution accuracy as in Zhong, Yu, Klein, "Semantic
Evaluation for Text-to-SQL with Distilled Test Suites" (arXiv 2010.02840), of the predictions that
DAIL-SQL and CodeS published, on the questions recorded here.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any

from msgspec import Struct

from benchmarks.frontier_data import is_prime, number
from benchmarks.frontier_points import PUBLISHED_POINTS, Reference
from benchmarks.recorded_json import data, rows
from cascade.verifiers import same_result

MAX_ROWS = 100_000
MAX_STEPS = 20_000_000  # of SQLite's virtual machine: some seconds
MAX_BYTES = 1_000_000  # of one value

PUBLISHED: Mapping[str, Mapping[str, float]] = {
    "zeroeval": {
        "Meta-Llama-3-8B-Instruct": 78.47,
        "Meta-Llama-3.1-405B-Instruct@hyperbolic": 95.98,
        "Meta-Llama-3.1-70B-Instruct": 94.16,
        "Meta-Llama-3.1-8B-Instruct": 84.00,
        "Mistral-Nemo-Instruct-2407": 82.79,
        "Mixtral-8x7B-Instruct-v0.1": 70.13,
        "Phi-3.5-mini-instruct": 82.03,
        "Qwen2-72B-Instruct": 92.65,
        "Qwen2-7B-Instruct": 80.06,
        "claude-3-haiku-20240307": 88.78,
        "claude-3-opus-20240229": 95.60,
        "command-r": 52.99,
        "deepseek-chat": 93.93,
        "gemini-1.5-flash": 91.36,
        "gemini-1.5-pro": 93.40,
        "gemma-2-2b-it": 51.63,
        "gemma-2-9b-it": 87.41,
        "gpt-3.5-turbo-0125": 80.36,
        "gpt-4o-2024-08-06": 96.21,
        "gpt-4o-mini-2024-07-18": 94.24,
        "o1-mini-2024-09-12": 96.06,
        "reka-flash-20240226": 74.68,
    },
    "drift": {
        "gpt-3.5-turbo-0301": 49.6,
        "gpt-3.5-turbo-0613": 76.2,
        "gpt-4-0314": 84.0,
        "gpt-4-0613": 51.1,
    },
    "spider": {
        "DAIL-SQL_GPT-4": 82.5,
        "DAIL-SQL_GPT-4_SC": 83.9,
        "codes-15b": 84.3,
        "codes-1b": 78.0,
        "codes-3b": 83.9,
        "codes-7b": 85.9,
    },
}
"""Percent. Two of ZeroEval's 24 models are newer than the list that we know: they are scored, and
compared with nothing."""

_NUMBER = re.compile(r"-?\$?\d[\d,]*(?:\.\d+)?(?:/\d+)?")
_YES_OR_NO = re.compile(r"\b(yes|no)\b", re.IGNORECASE)
_READS = {
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_RECURSIVE,
    sqlite3.SQLITE_SELECT,
}
_DISTINCT = re.compile(r"\bdistinct\b", re.IGNORECASE)

Scorer = Callable[[Mapping[str, Any], Mapping[str, Any]], bool]


class Scored(Struct, frozen=True):
    """One model of one set: percent right as the set says, and as scored anew.

    Attributes:
        differ: the rows where the two differ.
    """

    set: str
    model: str
    rows: int
    recorded: float
    anew: float
    published: float | None
    differ: tuple[str, ...]


def published() -> list[Scored]:
    """Every model of the three sets."""
    return [line for name in PUBLISHED for line in _scored(name)]


def references(lines: list[Scored]) -> list[Reference]:
    """What was published, against the answers scored anew."""
    return [
        Reference(f"{line.set}: {line.model}, %", line.published, line.anew, PUBLISHED_POINTS)
        for line in lines
        if line.published is not None
    ]


def _scored(name: str) -> Iterator[Scored]:
    every = list(rows(name, None))
    scorers: dict[str, Scorer] = {
        "zeroeval": same_number, "drift": says_prime, "spider": Executed()
    }  # fmt: skip
    scorer = scorers[name]
    for model in every[0]["models"]:
        given = [row["models"][model] for row in every]
        anew = [scorer(row, one) for row, one in zip(every, given, strict=True)]
        pairs = zip(every, given, anew, strict=True)
        differ = tuple(row["id"] for row, one, now in pairs if bool(one["correct"]) != now)
        right = sum(bool(one["correct"]) for one in given)
        share = 100 / len(every)
        known = PUBLISHED[name].get(model)
        yield Scored(name, model, len(every), right * share, sum(anew) * share, known, differ)


def same_number(row: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """ZeroEval: the first number of the answer is the reference; a fraction is another number."""
    found = _NUMBER.search(given["answer"] or "")
    if found is None:
        return False
    try:
        value = Decimal(re.sub(r"[$,]", "", found[0]))
    except InvalidOperation:  # a fraction
        return False
    return value == Decimal(row["reference"].replace(",", ""))


def says_prime(row: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """LLMDrift: an answer with the word yes anywhere says yes, else one with the word no says no.

    That is how the published figures come about. It counts a "[No]" whose explanation goes on to
    say yes, of which GPT-3.5 of March has many, as a yes. Whether the number is prime is worked
    out.
    """
    words = {word.lower() for word in _YES_OR_NO.findall(given["output"] or "")}
    said = "yes" if "yes" in words else "no" if words else None
    return said == ("yes" if is_prime(number(row)) else "no")


class Executed:
    """Spider: the query reads the same rows as the reference, both without DISTINCT.

    The order of rows counts where the reference has ORDER BY, that of columns never does.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], list[Any] | None] = {}

    def __call__(self, row: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
        """Whether the answer is right."""
        wanted = self._read(row["db_id"], row["reference"])
        found = self._read(row["db_id"], given["output"])
        if wanted is None:
            raise SystemExit(f"{row['id']}: the reference cannot be run")
        ordered = "order by" in row["reference"].lower()
        return found is not None and same_result(found, wanted, ordered=ordered, columns="any")

    def _read(self, name: str, query: str) -> list[Any] | None:
        key = name, _DISTINCT.sub("", query)
        if key not in self._known:
            self._known[key] = read(*key)
        return self._known[key]


def read(name: str, query: str) -> list[Any] | None:
    """The rows that a query reads, from a database that it cannot write; None where it fails."""
    path = (data() / "spider_dbs" / f"{name}.sqlite").resolve()
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_BYTES)
        connection.set_authorizer(_only_reads)
        connection.set_progress_handler(lambda: True, MAX_STEPS)
        try:
            return connection.execute(query).fetchmany(MAX_ROWS)
        except sqlite3.Error:
            return None


def _only_reads(action: int, *_: str | None) -> int:
    # Read-only is the database, not the query: ATTACH and VACUUM INTO make files elsewhere.
    return sqlite3.SQLITE_OK if action in _READS else sqlite3.SQLITE_DENY
