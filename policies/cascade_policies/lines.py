"""Where in a TOML text each key stands.

tomllib gives values without their lines, so this scans the text a second time. It only ever sees
text that tomllib has accepted, and keeps its hands off everything but structure: headers, keys,
brackets, and where a string or scalar ends.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

KeyPath = tuple[str | int, ...]
"""Like ``("tiers", 1, "threshold")``."""

_SPACE = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
# Multi-line strings may end in up to two quotes of their own before the closing three.
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:\\.|[^"\\])*"' r"|'[^']*'", re.DOTALL
)
# A date may be divided from its time by one space.
_SCALAR = re.compile(r"\d{4}-\d\d-\d\d \d\d:[^,\]}\s#]*|[^,\]}\s#]+")


def find_lines(text: str, data: Mapping[str, Any]) -> dict[KeyPath, int]:
    """The line (from 1) of every key, table header and list item of ``data`` in ``text``.

    Empty when the scan and the parsed ``data`` disagree: no line is better than a wrong one.
    """
    scan = _Scan(text)
    try:
        scan.document()
    except (_Lost, RecursionError):
        return {}
    if set(scan.lines) != _paths(data):
        return {}
    return scan.lines


def _paths(value: Any, path: KeyPath = ()) -> set[KeyPath]:
    found = {path} if path else set()
    if isinstance(value, Mapping):
        for key, item in value.items():
            found |= _paths(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found |= _paths(item, (*path, index))
    return found


class _Lost(Exception):  # noqa: N818  (never leaves this file)
    """The text is not what the scanner thinks it is."""


class _Scan:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[KeyPath, int] = {}
        self._ends = [match.start() for match in re.finditer("\n", text)]
        self._tables: dict[KeyPath, int] = {}  # arrays of tables, and how many each has so far

    def document(self) -> None:
        table: KeyPath = ()
        while self._skip(_SPACE) < len(self.text):
            if self._next("[["):
                table = self._array_header()
            elif self._next("["):
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> KeyPath:
        line = self._line()
        self.at += 1
        path: KeyPath = ()
        for key in self._keys():
            path = self._enter((*path, key), line)
        self._expect("]")
        return path

    def _array_header(self) -> KeyPath:
        line = self._line()
        self.at += 2
        *parents, last = self._keys()
        path: KeyPath = ()
        for key in parents:
            path = self._enter((*path, key), line)
        self._expect("]]")
        path = (*path, last)
        self.lines.setdefault(path, line)
        index = self._tables.get(path, 0)
        self._tables[path] = index + 1
        self.lines[*path, index] = line
        return (*path, index)

    def _enter(self, path: KeyPath, line: int) -> KeyPath:
        """Note ``path``; inside an array of tables a header means its newest table."""
        self.lines.setdefault(path, line)
        return (*path, self._tables[path] - 1) if path in self._tables else path

    def _pair(self, table: KeyPath) -> None:
        line = self._line()
        path = table
        for key in self._keys():
            path = (*path, key)
            self.lines.setdefault(path, line)
        self._expect("=")
        self._skip(_BLANK)
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        if self._next("["):
            self._array(path)
        elif self._next("{"):
            self._inline_table(path)
        else:
            self._take(_STRING if self.text[self.at : self.at + 1] in ("'", '"') else _SCALAR)

    def _array(self, path: KeyPath) -> None:
        self.at += 1
        index = 0
        while self._skip(_SPACE) < len(self.text) and not self._next("]"):
            self.lines[*path, index] = self._line()
            self._value((*path, index))
            index += 1
            self._skip(_SPACE)
            if not self._next("]"):
                self._expect(",")
        self._expect("]")

    def _inline_table(self, path: KeyPath) -> None:
        self.at += 1
        while self._skip(_SPACE) < len(self.text) and not self._next("}"):
            self._pair(path)
            self._skip(_SPACE)
            if not self._next("}"):
                self._expect(",")
        self._expect("}")

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._skip(_BLANK)
            if self.text[self.at : self.at + 1] in ("'", '"'):
                quoted = self._take(_STRING)
                keys.append(next(iter(tomllib.loads(f"{quoted} = 0"))))
            else:
                keys.append(self._take(_BARE))
            self._skip(_BLANK)
            if not self._next("."):
                return keys
            self.at += 1

    def _line(self) -> int:
        return bisect_left(self._ends, self.at) + 1

    def _next(self, token: str) -> bool:
        return self.text.startswith(token, self.at)

    def _expect(self, token: str) -> None:
        if not self._next(token):
            raise _Lost
        self.at += len(token)

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self.text, self.at)
        assert match is not None  # both patterns match the empty string
        self.at = match.end()
        return self.at

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise _Lost
        self.at = match.end()
        return match.group()
