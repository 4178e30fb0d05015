"""The body of a response as it arrives, and its end before its time."""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, Final, Self

import anyio

from cascade.errors import APIResponseError

_CLOSE_SECONDS: Final = 5.0
_MAX_INFLATED = 10_000_000  # bytes that one piece may grow to


class Body:
    """Iterates over the pieces of a streamed httpx2 or httpx response.

    Compression is not asked for; gzip and deflate are understood from servers that use it anyway.
    """

    __slots__ = ("_inflate", "_pieces", "_response")

    def __init__(self, response: Any) -> None:
        self._response = response
        self._pieces: AsyncGenerator[bytes, None] = response.aiter_raw()
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        self._inflate = None if encoding == "identity" else _Inflate(encoding)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._pieces.__anext__()
        return piece if self._inflate is None else self._inflate.feed(piece)

    async def aclose(self) -> None:
        """Close the socket, unless the body was read to its end. Works while being cancelled.

        The clients nest async generators and do not all close the inner ones, so leaving the loop
        would leave generators to the garbage collector, which on asyncio closes them in a task
        that nobody awaits and on trio warns. A cancelled read unwinds them all, from inside.
        """
        if self._response.is_closed:
            return
        with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
            with anyio.CancelScope() as scope:
                scope.cancel()
                with suppress(Exception):  # what ends the reading is of no interest any more
                    async for _ in self._pieces:
                        pass
            await self._response.aclose()


class _Inflate:
    __slots__ = ("_encoding", "_inflater")

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._inflater: Any = None

    def feed(self, piece: bytes) -> bytes:
        if self._encoding not in ("gzip", "x-gzip", "deflate"):
            raise APIResponseError(
                f"the answer is compressed with {self._encoding[:20]!r}, which was not asked for",
                retryable=False,
            )
        if self._inflater is None:
            # Some servers send deflate without the header that zlib's format has.
            raw = self._encoding == "deflate" and piece[:1] and piece[0] & 0x0F != 8
            self._inflater = zlib.decompressobj(-15 if raw else 47)  # 47: gzip or zlib, by header
        try:
            data: bytes = self._inflater.decompress(piece, _MAX_INFLATED)
        except zlib.error as error:
            raise APIResponseError(f"the answer is compressed wrongly: {error}") from error
        if self._inflater.unconsumed_tail:
            raise APIResponseError("the answer grows too much when unpacked", retryable=False)
        return data
