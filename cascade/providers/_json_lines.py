"""JSON lines, decoded from bytes as they arrive: one event a line."""

from __future__ import annotations

from cascade.errors import APIResponseError
from cascade.providers._sse import MAX_EVENT_BYTES, Event


class LineDecoder:
    """Turns pieces of bytes into events; the cut between two pieces may be anywhere.

    Linear in the bytes fed: a line that arrives in many pieces is joined once, at its end.
    """

    __slots__ = ("_pending", "_size")

    def __init__(self) -> None:
        self._pending: list[bytes] = []  # pieces of the line that has not ended yet
        self._size = 0

    def feed(self, piece: bytes) -> list[Event]:
        """The lines that this piece completes, empty ones left out.

        Raises:
            APIResponseError: a line is longer than `MAX_EVENT_BYTES`.
        """
        *lines, rest = piece.split(b"\n")
        if lines and self._pending:
            lines[0] = b"".join([*self._pending, lines[0]])
            self._pending.clear()
            self._size = 0
        if rest:
            self._pending.append(rest)
            self._size += len(rest)
        if self._size > MAX_EVENT_BYTES or len(self._pending) > MAX_EVENT_BYTES:
            raise APIResponseError(
                f"one line of the stream is longer than {MAX_EVENT_BYTES:,} bytes", retryable=False
            )
        return [Event(stripped) for line in lines if (stripped := line.strip())]

    def close(self) -> list[Event]:
        """The line that the end of the stream completes, if any."""
        last = b"".join(self._pending).strip()
        self._pending.clear()
        return [Event(last)] if last else []
