"""A policy file as parsed, before anything is made of it, and errors that say where."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from cascade.errors import PolicyFileError
from cascade_policies.lines import KeyPath, find_lines

_AT = re.compile(r" \(at line (\d+), column (\d+)\)$")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_WORD = re.compile(r"[^,\]}#\n]*")
_NULL = frozenset({"null", "none", "nil", "undefined", "~"})
_SECRET = re.compile(r"key|secret|password|sk-", re.IGNORECASE)
_LONGEST = 60


@dataclass(eq=False)
class Document:
    """The tables of a policy file and what is needed to point into it.

    Attributes:
        file: the path for messages, as the user gave it.
        text: the TOML itself.
        data: the parsed tables, overrides included.
        folder: where relative file references lead.
        overridden: key paths that come from ``--set`` and so have no line.
        files: every file read so far, or tried: a change in one of them makes the policy stale.
    """

    file: str
    text: str
    data: dict[str, Any]
    folder: Path
    overridden: set[KeyPath] = field(default_factory=set)
    files: list[Path] = field(default_factory=list)

    def error(self, path: KeyPath, message: str) -> PolicyFileError:
        """The error to raise about the value at ``path``."""
        if self._is_overridden(path):
            message, line = f"{message} (from --set)", None
        else:
            line = self._line(path)
        return PolicyFileError(message, file=self.file, line=line, key=show_path(path) or None)

    def get(self, path: KeyPath) -> Any:
        """The value at ``path``, or None."""
        value: Any = self.data
        for key in path:
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def read_text(self, reference: str, path: KeyPath) -> str:
        """The text of the file that the key at ``path`` refers to.

        Raises:
            PolicyFileError: it cannot be read.
        """
        target = self.folder / Path(reference).expanduser()
        self.files.append(target)
        try:
            return target.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise self.error(path, f"cannot read {str(target)!r}: {_why(error)}") from error

    def _is_overridden(self, path: KeyPath) -> bool:
        """Whether ``path`` is in an overridden value, or is there only because of one."""
        if any(path[: len(key)] == key for key in self.overridden):
            return True
        return path not in self._lines and any(key[: len(path)] == path for key in self.overridden)

    def _line(self, path: KeyPath) -> int | None:
        """The line of ``path``, or of the nearest table around it when it is missing."""
        for length in range(len(path), 0, -1):
            if path[:length] in self._lines:
                return self._lines[path[:length]]
        return None

    @cached_property
    def _lines(self) -> Mapping[KeyPath, int]:
        try:
            return find_lines(self.text, tomllib.loads(self.text))
        except (ValueError, RecursionError):
            return {}


def read_document(path: Path, files: list[Path] | None = None) -> Document:
    """Parse the TOML file at ``path``; it is the first of the document's ``files``, or the next.

    Raises:
        PolicyFileError: it cannot be read, or is no TOML.
    """
    file = str(path)
    files = [] if files is None else files
    files.append(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise PolicyFileError(f"cannot read the file: {_why(error)}", file=file) from error
    document = parse_document(text, file=file, folder=path.parent)
    document.files = files
    return document


def parse_document(text: str, *, file: str, folder: Path) -> Document:
    """Parse TOML text; ``file`` is its name in messages, ``folder`` where references lead.

    Raises:
        PolicyFileError: it is no TOML.
    """
    try:
        data = tomllib.loads(text)
    except RecursionError:
        raise PolicyFileError("nested too deeply", file=file) from None
    except ValueError as error:
        message, line = _mistake(str(error), text)
        raise PolicyFileError(f"not valid TOML: {message}", file=file, line=line) from error
    # tomllib counts lines after turning CRLF into LF; the scan for keys does the same.
    return Document(file, text.replace("\r\n", "\n"), data, folder)


def _mistake(message: str, text: str) -> tuple[str, int | None]:
    """What tomllib says, with the text it is about and a remedy, and the line."""
    at = _AT.search(message)
    if at is None:
        return message, None
    message, line = message[: at.start()], int(at[1])
    shown = text.replace("\r\n", "\n").split("\n")[line - 1]
    if _SECRET.search(shown):
        # Someone's key, without its quotes.
        return f"{message} (the line is not shown: it may hold a secret)", line
    if message != "Invalid value":
        return f"{message}: {_cut(shown.strip())}", line
    found = _WORD.match(shown, int(at[2]) - 1)
    word = found[0].strip() if found else ""
    return f"{message}{f' {_cut(word)}' if word else ''}: {_remedy(word)}", line


def _remedy(word: str) -> str:
    if not word:
        return "there is nothing after '='"
    if word.lower() in _NULL:
        return 'TOML has no null, write "none", or leave the key out'
    if word.lower() in ("true", "false"):
        return f"write {word.lower()}"
    return "text goes in quotes"


def show_path(path: Iterable[str | int]) -> str:
    """``("tiers", 1, "threshold")`` as ``tiers[1].threshold``."""
    shown = ""
    for key in path:
        if isinstance(key, int):
            shown += f"[{key}]"
        else:
            name = key if _BARE_KEY.fullmatch(key) else f'"{key}"'
            shown += f".{name}" if shown else name
    return shown


def show_value(value: object) -> str:
    """A value for a message, as TOML would have it, cut short."""
    if isinstance(value, dict):
        *most, last = [repr(key) for key in value] or [""]
        names = f"{', '.join(most)} and {last}" if most else last
        return _cut(f"a table with {names}") if last else "an empty table"
    return _cut(_as_toml(value))


def _as_toml(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            plain = value.isprintable() and "'" not in value
            return f"'{value}'" if plain else json.dumps(value, ensure_ascii=False)
        case dict():
            return "{…}" if value else "{}"
        case list():
            return f"[{', '.join(map(_as_toml, value))}]"
    return str(value)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    return str(error)
