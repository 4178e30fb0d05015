"""A policy file as parsed, before anything is made of it, and errors that say where."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from cascade.errors import PolicyFileError
from cascade_policies.lines import KeyPath, find_lines

_AT = re.compile(r" \(at line (\d+), column \d+\)$")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(eq=False)
class Document:
    """The tables of a policy file and what is needed to point into it.

    Attributes:
        file: the path for messages, as the user gave it.
        text: the TOML itself.
        data: the parsed tables, overrides included.
        folder: where relative file references lead.
        overridden: key paths that come from ``--set`` and so have no line.
        files: every file read so far; a change in one of them makes the policy stale.
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
        try:
            text = target.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise self.error(path, f"cannot read {str(target)!r}: {_why(error)}") from error
        self.files.append(target)
        return text

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


def read_document(path: Path) -> Document:
    """Parse the TOML file at ``path``.

    Raises:
        PolicyFileError: it cannot be read, or is no TOML.
    """
    file = str(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise PolicyFileError(f"cannot read the file: {_why(error)}", file=file) from error
    document = parse_document(text, file=file, folder=path.parent)
    document.files.append(path)
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
        at = _AT.search(str(error))
        message = f"not valid TOML: {_AT.sub('', str(error))}"
        line = int(at.group(1)) if at else None
        raise PolicyFileError(message, file=file, line=line) from error
    # tomllib counts lines after turning CRLF into LF; the scan for keys does the same.
    return Document(file, text.replace("\r\n", "\n"), data, folder)


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
    """A value for a message, cut short."""
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    return str(error)
