"""Reading calls that a model wrote as text: ``[f(a=1, b="x"), g()]``.

Not with `ast.parse`, which takes expressions of any kind, nests as deep as the C stack, and warns
of odd escapes: only names, named arguments and literals are read, in one pass from left to right.
"""

from __future__ import annotations

import re
from math import isfinite
from typing import Any

from cascade_verifiers.json_text import MAX_DIGITS

MAX_DEPTH = 64

Call = tuple[str, dict[str, Any]]

_WHITE = re.compile(r"(?:\s++|#[^\n]*+)*+")
# Markdown writes an underscore as \_, and some models do so in names.
_NAME = re.compile(r"[^\W\d](?:[\w.]|\\_)*+|\\_(?:[\w.]|\\_)*+")
_NUMBER = re.compile(r"[+-]?\s*(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_STRING = re.compile(
    r'([rRuU]?)(?:"""((?:[^"\\]++|\\.|"(?!""))*+)"""'
    r"|'''((?:[^'\\]++|\\.|'(?!''))*+)'''"
    r'|"((?:[^"\\\n]++|\\.)*+)"'
    r"|'((?:[^'\\\n]++|\\.)*+)')",
    re.DOTALL,
)
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{1,3})|(.))", re.DOTALL
)
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v",
            "\\": "\\", "'": "'", '"': '"', "\n": "", "_": "_"}  # fmt: skip
_WORDS = {"True": True, "False": False, "None": None, "true": True, "false": False, "null": None}


class CallTextError(ValueError):
    """The text is no list of calls; the message says why, fit for a model."""


def parse_calls(text: str) -> list[Call]:
    """The calls in ``text``: a list of them in brackets, or with commas only.

    Raises:
        CallTextError: it is anything else, or nests deeper than `MAX_DEPTH`.
    """
    reader = _Reader(text)
    bracketed = reader.take("[")
    calls: list[Call] = []
    if not (bracketed and reader.take("]")):
        calls.append(reader.call())
        while reader.take(","):
            if bracketed and reader.peek() == "]":
                break
            calls.append(reader.call())
        if bracketed:
            reader.need("]")
    reader.end()
    return calls


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0

    def peek(self) -> str:
        found = _WHITE.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return self.text[self.at : self.at + 1]

    def take(self, mark: str) -> bool:
        if self.peek() != mark:
            return False
        self.at += 1
        return True

    def need(self, mark: str) -> None:
        if not self.take(mark):
            raise self.error(f"{mark!r} is missing")

    def end(self) -> None:
        if self.peek():
            raise self.error("only calls may stand here")

    def error(self, why: str) -> CallTextError:
        near = self.text[self.at : self.at + 20]
        where = f"before {near!r}" if near else "at the end"
        return CallTextError(f"the calls cannot be read: {why}, {where}")

    def name(self, what: str) -> str:
        self.peek()
        found = _NAME.match(self.text, self.at)
        if found is None:
            raise self.error(f"{what} is missing")
        self.at = found.end()
        return found[0].replace("\\_", "_")

    def call(self) -> Call:
        function = self.name("the name of a function")
        self.need("(")
        arguments: dict[str, Any] = {}
        while not self.take(")"):
            if arguments:
                self.need(",")
                if self.take(")"):
                    break
            name = self.name("the name of an argument")
            self.need("=")
            if name in arguments:
                raise self.error(f"{name!r} is given twice")
            arguments[name] = self.value()
        return function, arguments

    def value(self) -> Any:
        mark = self.peek()
        if mark and mark in "[({":
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise self.error(f"nested more than {MAX_DEPTH} levels deep")
            self.at += 1
            found = self.mapping() if mark == "{" else self.sequence("]" if mark == "[" else ")")
            self.depth -= 1
            return found
        string = _STRING.match(self.text, self.at)
        if string is not None:
            self.at = string.end()
            body = next(part for part in string.groups()[1:] if part is not None)
            return body if string[1] in ("r", "R") else self.unescaped(body)
        if _NUMBER.match(self.text, self.at):
            return self.sum()
        word = _NAME.match(self.text, self.at)
        if word is not None and word[0] in _WORDS:
            self.at = word.end()
            return _WORDS[word[0]]
        raise self.error("a value is missing (a string, number, list, dict, True, False or None)")

    def sum(self) -> int | float:
        """Numbers with ``+``, ``-``, ``*`` and ``/`` between them, as in ``2 * 3.14``."""
        total: int | float = 0
        product = self.number()
        while (mark := self.peek()) and mark in "+-*/":
            self.at += 1
            number = self.number()
            if mark == "/" and number == 0:
                raise self.error("a division by zero")
            if mark in "*/":
                product = self.bounded(product * number if mark == "*" else product / number)
            else:
                total, product = total + product, number if mark == "+" else -number
        return self.bounded(total + product)

    def bounded(self, value: float) -> int | float:
        # Of a long chain of products, none may get long.
        if isinstance(value, int):
            if value.bit_length() < 4 * MAX_DIGITS:
                return value
        elif isfinite(value):
            return value
        raise self.error("a number is too large")

    def sequence(self, closing: str) -> Any:
        items: list[Any] = []
        comma = True
        while not self.take(closing):
            if not comma:
                raise self.error("',' is missing")
            items.append(self.value())
            comma = self.take(",")
        # In parentheses, and no tuple.
        return items[0] if closing == ")" and len(items) == 1 and not comma else items

    def mapping(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        comma = True
        while not self.take("}"):
            if not comma:
                raise self.error("',' is missing")
            key = self.value()
            if isinstance(key, list | dict):
                raise self.error("a key is no string")
            self.need(":")
            if str(key) in found:
                raise self.error(f"the key {str(key)[:40]!r} stands twice")
            found[str(key)] = self.value()
            comma = self.take(",")
        return found

    def number(self) -> int | float:
        self.peek()
        found = _NUMBER.match(self.text, self.at)
        if found is None:
            raise self.error("a number is missing")
        self.at = found.end()
        text = re.sub(r"[\s_]", "", found[0])
        if len(text) > MAX_DIGITS:
            raise self.error(f"a number has more than {MAX_DIGITS} digits")
        return int(text) if text.lstrip("+-").isdigit() else self.bounded(float(text))

    def unescaped(self, body: str) -> str:
        if "\\" not in body:
            return body
        return _ESCAPE.sub(self.escape, body)

    def escape(self, found: re.Match[str]) -> str:
        code = found[1] or found[2] or found[3]
        if code or found[4]:
            number = int(code, 16) if code else int(found[4], 8)
            if number > 0x10FFFF or 0xD800 <= number < 0xE000:
                raise self.error(f"{found[0]} is no character")
            return chr(number)
        return _LETTERS.get(found[5], found[0])
