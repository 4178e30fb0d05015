"""The code tier of ``sql``: questions that are the same for every table."""

from __future__ import annotations

import re

from cascade.providers.function import nonblocking

SCHEMA_MARK = "\nSchema:\n"
"""What stands between question and schema in the tier's prompt."""

_TABLE = re.compile(
    r"\bcreate\s+table\s+(?:if\s+not\s+exists\s+)?[\"`\[]?(\w+)|^\s*(\w+)\s*\(",
    re.IGNORECASE | re.MULTILINE,
)
_END = r"(?:\s+(?:are\s+there|do\s+we\s+have))?(?:\s+in\s+total)?\s*[?.!]?"
_COUNT = re.compile(
    r"(?:how\s+many\s+(?:rows\s+(?:are\s+)?(?:there\s+)?in\s+(?:the\s+)?)?|count\s+(?:all\s+)?"
    rf"(?:the\s+)?)(\w+?)(?:\s+table)?{_END}",
    re.IGNORECASE,
)
_LIST = re.compile(
    r"(?:list|show|get|select)\s+(?:me\s+)?(?:all|every)\s+(?:of\s+)?(?:the\s+)?(?:rows\s+(?:in|of)"
    r"\s+(?:the\s+)?)?(\w+?)(?:\s+table)?\s*[?.!]?",
    re.IGNORECASE,
)


@nonblocking
def answer_question(text: str) -> str | None:
    """SQL for "how many T are there" and "list all T", where T is a table; else None."""
    question, mark, schema = text.partition(SCHEMA_MARK)
    if not mark:
        return None
    question = " ".join(question.split())
    for pattern, statement in ((_COUNT, "SELECT COUNT(*) FROM {}"), (_LIST, "SELECT * FROM {}")):
        match = pattern.fullmatch(question)
        if match:
            table = _table(match.group(1), schema)
            return None if table is None else statement.format(table)
    return None


def _table(word: str, schema: str) -> str | None:
    """The one table that ``word`` names, be it singular or plural."""
    names = {name for pair in _TABLE.findall(schema) for name in pair if name}
    found = [name for name in names if _stem(name) == _stem(word)]
    return found[0] if len(found) == 1 else None


def _stem(word: str) -> str:
    word = word.lower()
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    return word.removesuffix("s")
