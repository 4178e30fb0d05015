"""What a caller is told while its call runs, and the stream that brings it."""

from __future__ import annotations

from collections import deque
from typing import final

import anyio
from msgspec import Struct

from cascade.result import Result


@final
class TierStarted(Struct, frozen=True):
    """The tier was started: its models are called."""

    tier: str


@final
class TextReleased(Struct, frozen=True):
    """More of the answer: it goes on where the text released before ends."""

    tier: str
    text: str


@final
class TextRetracted(Struct, frozen=True):
    """All the text released so far is void. Never sent with ``release="accepted"``."""

    tier: str
    reason: str


@final
class TierRejected(Struct, frozen=True):
    """The tier is out: rejected, or failed for good. The reason is that of its last attempt."""

    tier: str
    reason: str


@final
class Finished(Struct, frozen=True):
    """The call is over: ``result.text`` is all that was released since the last retraction."""

    result: Result


StreamEvent = TierStarted | TextReleased | TextRetracted | TierRejected | Finished


class EventStream:
    """The events of one call, in order; iterate over it.

    What the caller has not taken yet is kept, the text in one piece. So a slow caller holds
    nothing up and gets longer pieces, and what is kept is at most what the providers let through.
    """

    def __init__(self) -> None:
        self.over = False
        self._error: Exception | None = None
        self._events: deque[StreamEvent] = deque()
        self._tier = ""
        self._pieces: list[str] = []  # text released after the last of the events
        self._news = anyio.Event()
        self._awaited = False

    def put(self, event: StreamEvent) -> None:
        """Add an event."""
        if self._pieces:
            self._events.append(self._take_text())
        self._events.append(event)
        self._wake()

    def write(self, tier: str, text: str) -> None:
        """Add text that a tier may release."""
        if self._pieces and tier != self._tier:
            self._events.append(self._take_text())
        self._tier = tier
        self._pieces.append(text)
        self._wake()

    def close(self, error: Exception | None = None) -> None:
        """End, in the end with the error that ended the call."""
        self.over = True
        self._error = error
        self._wake()

    def raise_error(self) -> None:
        """Raise what ended the call, unless that was done already."""
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # the traceback has this frame, which would have the error

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> StreamEvent:
        while not self._events:
            if self._pieces:
                return self._take_text()
            if self.over:
                self.raise_error()
                raise StopAsyncIteration
            if self._news.is_set():
                self._news = anyio.Event()
            self._awaited = True
            await self._news.wait()
        return self._events.popleft()

    def _take_text(self) -> TextReleased:
        text = "".join(self._pieces)
        self._pieces.clear()
        return TextReleased(self._tier, text)

    def _wake(self) -> None:
        if self._awaited:
            self._awaited = False
            self._news.set()
