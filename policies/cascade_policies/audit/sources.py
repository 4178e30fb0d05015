"""Reading calls: which form a source has, and its lines, however malformed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import msgspec

from cascade.errors import ConfigError
from cascade_policies.audit.calls import Reading

MAX_LINE: Final = 32 * 2**20
"""Bytes of a line: an export of spans may have a whole batch on one."""

MAX_WHOLE: Final = 256 * 2**20
"""Bytes of a file that is one JSON array instead of lines."""

_SQLITE: Final = b"SQLite format 3\0"


class Line(NamedTuple):
    """A line that is a JSON object."""

    number: int
    data: dict[str, object]


def read_calls(path: Path, *, since: float | None = None) -> Reading:
    """The model calls of a ledger, or of JSON lines: spans or a log of requests.

    Args:
        path: the file.
        since: Unix seconds; earlier calls, and those whose time is not known, are left out.

    Raises:
        ConfigError: the file cannot be read, or is neither.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(_SQLITE))
            file.seek(0)
            if start != _SQLITE:
                return _read_lines(path, file, since)
    except OSError as error:
        raise ConfigError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    from cascade_policies.audit.ledger_source import read_ledger

    return read_ledger(path, since)


def _read_lines(path: Path, file: IO[bytes], since: float | None) -> Reading:
    from cascade_policies.audit.request_source import read_request
    from cascade_policies.audit.span_source import Spans, spans_of

    reading = Reading(source=str(path))
    spans, seen = Spans(reading), 0
    requests = []
    for line in json_lines(file, reading):
        found = spans_of(line.data)
        if found is not None:
            spans.add(line.number, found)
            seen += 1
        elif (call := read_request(line, reading)) is not None:
            requests.append(call)
    reading.form = "spans" if seen else "requests"
    calls = spans.calls() + requests if seen else requests
    reading.calls = [
        call for call in calls if since is None or (call.began is not None and call.began >= since)
    ]
    if not calls:
        raise ConfigError(
            f"{str(path)!r}: no model call in {reading.lines:,} lines "
            f"({_why(reading)}): give a ledger, OpenTelemetry spans or a log of requests "
            "as JSON lines"
        )
    return reading


def _why(reading: Reading) -> str:
    if most := reading.reasons.most_common(1):
        return f"of most: {most[0][0]}"
    return "spans of other kinds" if reading.other else "the file is empty"


def json_lines(file: IO[bytes], reading: Reading) -> Iterator[Line]:
    """Every line that is a JSON object; the others are counted. One array counts as its items."""
    decoder = msgspec.json.Decoder()
    if _is_array(file) and (items := _items(file, reading)) is not None:
        yield from items
        return
    for raw in _bounded(file):
        reading.lines += 1
        number = reading.lines
        if raw is None:
            reading.skip(number, f"longer than {MAX_LINE:,} bytes")
            continue
        if not raw.strip():
            reading.lines -= 1
            continue
        try:
            data = decoder.decode(raw.removeprefix(b"\xef\xbb\xbf"))
        except RecursionError:
            reading.skip(number, "nested too deeply")
        except (ValueError, UnicodeDecodeError, OverflowError):
            reading.skip(number, "not JSON")
        else:
            if isinstance(data, dict):
                yield Line(number, data)
            else:
                reading.skip(number, "not a JSON object")


def _is_array(file: IO[bytes]) -> bool:
    start = file.read(64).lstrip()
    file.seek(0)
    return start.startswith(b"[")


def _items(file: IO[bytes], reading: Reading) -> list[Line] | None:
    """The array's objects; None where it is no array: its first line may only begin like one."""
    raw = file.read(MAX_WHOLE + 1)
    if len(raw) > MAX_WHOLE:
        reading.lines = 1
        reading.skip(1, f"longer than {MAX_WHOLE:,} bytes")
        return []
    try:
        items = msgspec.json.decode(raw, type=list[Any])
    except (ValueError, RecursionError, UnicodeDecodeError, OverflowError):
        file.seek(0)
        return None
    reading.lines = len(items)
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict):
            reading.skip(number, "not a JSON object")
    return [Line(number, item) for number, item in enumerate(items, 1) if isinstance(item, dict)]


def _bounded(file: IO[bytes]) -> Iterator[bytes | None]:
    """Lines; None in place of one that is too long, which is not kept in memory."""
    while raw := file.readline(MAX_LINE + 1):
        if len(raw) <= MAX_LINE:
            yield raw
            continue
        while raw and not raw.endswith(b"\n"):
            raw = file.readline(MAX_LINE)
        yield None
