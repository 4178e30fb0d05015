"""Compressed bodies. Compression is not asked for; some servers and proxies use it anyway."""

from __future__ import annotations

import zlib
from typing import Any, Final

from cascade.errors import APIResponseError

MAX_INFLATED: Final = 10_000_000
"""Bytes that one piece may grow to."""


class Inflate:
    """Unpacks gzip and deflate, piece by piece.

    Args:
        encoding: the value of ``content-encoding``; another one is refused when data arrives.
    """

    __slots__ = ("_encoding", "_inflater")

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._inflater: Any = None

    def feed(self, piece: bytes) -> bytes:
        """The piece unpacked; it may be empty.

        Raises:
            APIResponseError: it cannot be unpacked, or grows too much.
        """
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
            data: bytes = self._inflater.decompress(piece, MAX_INFLATED)
        except zlib.error as error:
            raise APIResponseError(f"the answer is compressed wrongly: {error}") from error
        if self._inflater.unconsumed_tail:
            raise APIResponseError("the answer grows too much when unpacked", retryable=False)
        return data
