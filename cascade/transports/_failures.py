"""A failure on the way, as this project's error: the same for the same fault with any client."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

from cascade.errors import APIConnectionError, APITimeoutError


def connection_error(
    where: str, cause: str, *, connecting: bool, timed_out: bool
) -> APIConnectionError:
    """The error for a connection that was not made, or broke. ``where`` is the host and port."""
    error: APIConnectionError
    if timed_out:
        doing = "connecting to" if connecting else "waiting for"
        error = APITimeoutError(f"timed out {doing} {where}")
    elif connecting:
        error = APIConnectionError(f"cannot connect to {where}: {cause}")
    else:
        error = APIConnectionError(f"the connection to {where} broke: {cause}")
    error.sent = not connecting
    return error


def host_port(url: str) -> str:
    """Host and port of an address, with the port always."""
    parts = urlsplit(url)
    if parts.port is not None:
        return parts.netloc
    return f"{parts.netloc}:{443 if parts.scheme == 'https' else 80}"


def cause_of(error: BaseException) -> str:
    """What the system said, which HTTP clients bury under words of their own."""
    for deeper in _causes(error):
        if isinstance(deeper, ssl.SSLCertVerificationError):
            # aiohttp's own kind is one too, without what the class promises.
            if reason := getattr(deeper, "verify_message", ""):
                return str(reason)
        elif isinstance(deeper, OSError) and deeper.errno is not None:
            # asyncio writes its own text, with the address in it; names that do not resolve and
            # TLS failures have numbers of their own.
            named = not isinstance(deeper, ssl.SSLError) and deeper.errno > 0
            text = os.strerror(deeper.errno) if named else str(deeper.strerror)
            return text[:1].lower() + text[1:]
    return str(error) or type(error).__name__


def _causes(error: BaseException | None, depth: int = 10) -> Iterator[BaseException]:
    if error is None or depth == 0:
        return
    yield error
    yield from _causes(error.__cause__ or error.__context__, depth - 1)
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _causes(inner, depth - 1)
