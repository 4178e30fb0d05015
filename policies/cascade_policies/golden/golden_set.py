"""Golden sets: prompts with their right answers, one a row."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from cascade.errors import PromptError, nearest
from cascade.types import Message, Request
from cascade_policies.data_lines import DataFileError, read_lines, read_objects

PROMPT: Final = "prompt"
_KEYS: Final = ("id", "messages", "metadata", "prompt", "reference", "variables")
_COLUMNS: Final = ("id", "prompt", "reference")
_TABLES: Final = ("metadata.", "variables.")
_HEADER: Final = ("positive", "scorer")
_LONGEST_CELL: Final = 2**24


class GoldenRow(Struct, frozen=True, kw_only=True):
    """One prompt and its right answer.

    Attributes:
        id: unique in the set.
        prompt: text; None where ``messages`` or a variable ``prompt`` says what is asked.
        messages: the chat, in the chat-completions shape.
        variables: values of the task's templates.
        reference: the right answer, in the form that the scorer takes; None where there is none.
        metadata: what else is known, such as a category; scorers may look at it, models do not.
        line: where it stands in the file, from 1.
    """

    id: str
    prompt: str | None = None
    messages: tuple[dict[str, Any], ...] | None = None
    variables: Mapping[str, str] = msgspec.field(default_factory=dict)
    reference: Any = None
    metadata: Mapping[str, Any] = msgspec.field(default_factory=dict)
    line: int = 0

    @property
    def request(self) -> Request:
        """What is asked, before any template."""
        if self.messages is not None:
            return Request.of([Message.of(message) for message in self.messages])
        return Request.of(self.variables[PROMPT] if self.prompt is None else self.prompt)

    @property
    def values(self) -> dict[str, str]:
        """The variables of the templates; ``prompt`` is none of them."""
        return {name: text for name, text in self.variables.items() if name != PROMPT}

    def shape(self) -> dict[str, Any]:
        """Its object, without what is empty: the part of a recording's row that is not answers."""
        told: dict[str, Any] = {"id": self.id}
        for key in ("prompt", "messages", "variables", "reference", "metadata"):
            value = getattr(self, key)
            if value is not None and value != {}:
                told[key] = value
        return told


@dataclass(frozen=True, eq=False)
class GoldenSet:
    """Prompts with their right answers.

    Attributes:
        rows: in the order of the file.
        path: where it was read, or None.
        scorer: how answers are scored, if the file says so: a name, or an object with a
            ``name`` and the scorer's arguments.
        positive: the reference of the rows among which ``min_recall`` is measured, or None.
    """

    rows: Sequence[GoldenRow]
    path: Path | None = None
    scorer: str | Mapping[str, Any] | None = None
    positive: Any = None

    @classmethod
    def load(cls, path: str | Path) -> GoldenSet:
        """Read JSON Lines, packed with gzip or not, or (when the name ends in .csv) CSV.

        Raises:
            DataFileError: it cannot be read, or a row is wrong, or there already; it names the
                file and the line.
        """
        path = Path(path)
        header: dict[str, Any] = {}
        rows: list[GoldenRow] = []
        lines: dict[str, int] = {}
        asked: dict[bytes, int] = {}
        for number, data in _objects(path):
            if not rows and "golden" in data and "id" not in data:
                header = _header_of(data, path, number)
                continue
            row = _row(data, path, number)
            if row.id in lines:
                message = f"id {row.id!r} is in line {lines[row.id]} already: give each its own"
                raise DataFileError(message, file=path, line=number)
            same = _canonical([row.prompt, row.messages, row.variables])
            if same in asked:
                message = f"asks the same as line {asked[same]}, and would count twice: drop one"
                raise DataFileError(message, file=path, line=number)
            lines[row.id] = asked[same] = number
            rows.append(row)
        if not rows:
            raise DataFileError("has no rows", file=path)
        return cls(tuple(rows), path, header.get("scorer"), header.get("positive"))

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def by_id(self) -> Mapping[str, GoldenRow]:
        """The rows by their ids."""
        return {row.id: row for row in self.rows}

    @cached_property
    def sha256(self) -> str:
        """Of the rows, in their order; white space and the order of keys do not count."""
        digest = sha256()
        for row in self.rows:
            digest.update(_canonical(row.shape()) + b"\n")
        return digest.hexdigest()


def _objects(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if path.name.endswith((".csv", ".csv.gz")):
        return _csv_objects(path)
    return read_objects(path)


def _header_of(data: Mapping[str, Any], path: Path, line: int) -> dict[str, Any]:
    header = data["golden"]
    if len(data) > 1 or not isinstance(header, dict):
        raise DataFileError('needs {"golden": {…}} and nothing else', file=path, line=line)
    for key in header:
        if key not in _HEADER:
            message = f"golden.{key}: unknown key: {nearest(key, _HEADER)}"
            raise DataFileError(message, file=path, line=line)
    if not isinstance(header.get("scorer"), str | dict | None):
        message = "golden.scorer: needs a name, or an object with a 'name'"
        raise DataFileError(message, file=path, line=line)
    return header


def _row(data: Mapping[str, Any], path: Path, line: int) -> GoldenRow:
    def wrong(message: str) -> DataFileError:
        return DataFileError(message, file=path, line=line)

    for key in data:
        if key not in _KEYS:
            raise wrong(f"unknown key {key!r}: {nearest(key, _KEYS)}; what is your own goes "
                        "under 'metadata'")  # fmt: skip
    if not isinstance(data.get("id"), str) or not data["id"].strip():
        raise wrong("id: needs a text that is not empty")
    variables = {} if data.get("variables") is None else data["variables"]
    metadata = {} if data.get("metadata") is None else data["metadata"]
    if not isinstance(variables, dict) or any(not isinstance(v, str) for v in variables.values()):
        raise wrong("variables: needs an object whose values are texts")
    if not isinstance(metadata, dict):
        raise wrong("metadata: needs an object")
    given = [key for key in (PROMPT, "messages") if data.get(key) is not None]
    given += ["variables.prompt"] if PROMPT in variables else []
    if len(given) != 1:
        what = " and ".join(given) if given else "nothing"
        raise wrong(f"says {what}: give one of prompt, messages and variables.prompt")
    if PROMPT in data and not isinstance(data[PROMPT], str | None):
        raise wrong("prompt: needs a text; a chat goes under 'messages'")
    messages = data.get("messages")
    if messages is not None and not _are_objects(messages):
        raise wrong("messages: needs a list of chat messages")
    row = GoldenRow(
        id=data["id"],
        prompt=data.get(PROMPT),
        messages=None if messages is None else tuple(messages),
        variables=variables,
        reference=data.get("reference"),
        metadata=metadata,
        line=line,
    )
    try:
        _ = row.request
    except PromptError as error:
        raise wrong(error.message) from None
    return row


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _csv_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a CSV file (RFC 4180), each with the number of its first line."""
    texts: list[str] = []
    for number, raw in read_lines(path, blank=True):
        try:
            texts.append(raw.decode("utf-8"))
        except UnicodeDecodeError:
            raise DataFileError("is not UTF-8 text", file=path, line=number) from None
    reader = csv.reader(StringIO("".join(texts), newline=""), strict=True)
    limit = csv.field_size_limit(_LONGEST_CELL)
    at = 1
    names: list[str] | None = None
    try:
        for cells in reader:
            first, at = at, reader.line_num + 1
            if not cells:
                continue
            if names is None:
                names = _csv_names(cells, path, first)
                continue
            if len(cells) != len(names):
                message = f"has {len(cells)} cells; the first line names {len(names)} columns"
                raise DataFileError(message, file=path, line=first)
            yield first, _csv_row(names, cells)
    except csv.Error as error:
        raise DataFileError(f"is no CSV: {error}", file=path, line=reader.line_num) from None
    finally:
        csv.field_size_limit(limit)


def _csv_names(cells: list[str], path: Path, line: int) -> list[str]:
    names = [cell.strip() for cell in cells]
    for index, name in enumerate(names):
        table = next((t for t in _TABLES if name.startswith(t) and name != t), None)
        if name not in _COLUMNS and table is None:
            known = (*_COLUMNS, "metadata.NAME", "variables.NAME")
            message = f"column {name!r}: {nearest(name, known)}"
            raise DataFileError(message, file=path, line=line)
        if name in names[:index]:
            raise DataFileError(f"column {name!r} is there twice", file=path, line=line)
    return names


def _csv_row(names: Sequence[str], cells: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, cell in zip(names, cells, strict=True):
        table, dot, key = name.partition(".")
        if dot:
            row.setdefault(table, {})[key] = cell
        elif cell or name != "reference":
            row[name] = cell
    return row


def _canonical(value: Any) -> bytes:
    return msgspec.json.encode(value, order="sorted")
