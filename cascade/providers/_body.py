"""The body of a response of httpx2 or httpx as it arrives, and its end before its time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, Final, Self

import anyio

CLOSE_SECONDS: Final = 5.0


class Body:
    """Iterates over the pieces of a streamed response, as they were sent."""

    __slots__ = ("_pieces", "_response")

    def __init__(self, response: Any) -> None:
        self._response = response
        self._pieces: AsyncGenerator[bytes, None] = response.aiter_raw()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        return await self._pieces.__anext__()

    async def aclose(self) -> None:
        """Close the socket, unless the body was read to its end. Works while being cancelled.

        The clients nest async generators and do not all close the inner ones, so leaving the loop
        would leave generators to the garbage collector, which on asyncio closes them in a task
        that nobody awaits and on trio warns. A cancelled read unwinds them all, from inside.
        """
        if self._response.is_closed:
            return
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            with anyio.CancelScope() as scope:
                scope.cancel()
                with suppress(Exception):  # what ends the reading is of no interest any more
                    async for _ in self._pieces:
                        pass
            await self._response.aclose()
