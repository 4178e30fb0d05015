"""Server-sent events, decoded from bytes as they arrive.

The rules are those of https://html.spec.whatwg.org/multipage/server-sent-events.html, with one
exception: an event at the end of the stream counts even when its blank line is missing, because
some servers close right after ``data: [DONE]``. ``id`` and ``retry`` steer reconnection, which
an answer cannot use, so they are dropped.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from cascade.errors import APIResponseError

MAX_EVENT_BYTES: Final = 10_000_000
"""The longest line, and the longest event of several lines."""

_BOM = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One event: its data lines joined by newlines, and its type (empty unless it was given)."""

    data: bytes
    type: bytes = b""


class SSEDecoder:
    """Turns pieces of bytes into events; the cut between two pieces may be anywhere.

    Linear in the bytes fed: a line that arrives in many pieces is joined once, at its end.
    """

    __slots__ = ("_after_cr", "_data", "_first", "_pending", "_size", "_type")

    def __init__(self) -> None:
        self._pending: list[bytes] = []  # pieces of the line that has not ended yet
        self._data: list[bytes] = []
        self._type = b""
        self._size = 0  # bytes held in both lists
        self._first = True
        self._after_cr = False

    def feed(self, piece: bytes) -> list[Event]:
        """The events that this piece completes.

        Raises:
            APIResponseError: a line or an event is longer than `MAX_EVENT_BYTES`.
        """
        if self._after_cr and piece:
            self._after_cr = False
            if piece[0] == 0x0A:  # the second half of a CRLF that was cut in two
                piece = piece[1:]
        if not piece:
            return []
        if b"\n" not in piece and b"\r" not in piece:
            self._hold(self._pending, piece)
            return []
        self._after_cr = piece[-1] == 0x0D
        lines = piece.splitlines()
        rest = b"" if piece[-1] in b"\r\n" else lines.pop()
        if self._pending:
            self._hold(self._pending, lines[0])
            lines[0] = b"".join(self._pending)
            self._size -= len(lines[0])
            self._pending.clear()
        if self._first:
            self._first = False
            lines[0] = lines[0].removeprefix(_BOM)
        events = self._take(lines)
        if rest:
            self._hold(self._pending, rest)
        return events

    def close(self) -> list[Event]:
        """The event that the end of the stream completes, if any."""
        last = b"".join(self._pending)
        self._pending.clear()
        if self._first:
            last = last.removeprefix(_BOM)
        return self._take([last, b""])

    def _take(self, lines: list[bytes]) -> list[Event]:
        events = []
        for line in lines:
            if not line:
                if self._data:
                    events.append(self._dispatch())
                self._type = b""
            elif line.startswith(b"data:"):
                self._hold(self._data, line[6:] if line.startswith(b" ", 5) else line[5:])
            elif line.startswith(b"event:"):
                self._type = line[6:].removeprefix(b" ")
            elif line == b"data":  # a field without a colon has an empty value
                self._hold(self._data, b"")
        return events

    def _dispatch(self) -> Event:
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        self._size -= sum(map(len, self._data))
        self._data.clear()
        return Event(data, self._type)

    def _hold(self, where: list[bytes], piece: bytes) -> None:
        self._size += len(piece)
        if self._size > MAX_EVENT_BYTES or len(where) > MAX_EVENT_BYTES:
            raise APIResponseError(
                f"one event of the stream is longer than {MAX_EVENT_BYTES:,} bytes",
                retryable=False,
            )
        where.append(piece)
