"""What a wire format is to a test server."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Protocol

from cascade.testing.reply import Reply, ServedRequest
from cascade.types import Usage


class Dialect(Protocol):
    """The bytes of one reply to one request, in one wire format.

    Attributes:
        request_id_header: the response header that names the request; None when the format has
            none.
        streams: whether the reply is sent piece by piece. One with an error status never is.
        content_type: of the reply as it is, streamed or whole.
    """

    request_id_header: ClassVar[str | None]

    def __init__(self, reply: Reply, request: ServedRequest) -> None: ...

    @staticmethod
    def model_asked(path: str, body: Mapping[str, Any]) -> str | None:
        """The model that a request asks for; None when the path, which has no query, is not
        this format's. A body that names none asks for the model ""."""
        ...

    @property
    def streams(self) -> bool: ...

    @property
    def content_type(self) -> str: ...

    def tokens(self) -> Iterable[bytes]:
        """What is sent for each of the reply's tokens, with whatever goes before them."""
        ...

    def end(self) -> bytes:
        """What follows the last token: finish reason, usage, the end mark, or the error."""
        ...

    def whole(self) -> bytes:
        """The answer, or the error, as one body."""
        ...


def body_pieces(reply: Reply, body_of: Dialect) -> tuple[Iterable[bytes], bytes]:
    """The pieces to send one by one, and what follows them."""
    if reply.raw is not None:
        return ([reply.raw] if isinstance(reply.raw, bytes) else reply.raw), b""
    if body_of.streams:
        return body_of.tokens(), body_of.end()
    body = body_of.whole()
    between = reply.cut_after is not None or reply.token_delay or reply.hang == "end"
    if not between or reply.status >= 400 or reply.error is not None:
        return (), body
    parts = len(reply.pieces) + 1
    ends = [len(body) * part // parts for part in range(parts + 1)]
    *tokens, end = (body[start:stop] for start, stop in itertools.pairwise(ends))
    return tokens, end


def response_headers(reply: Reply, body_of: Dialect, number: int) -> dict[str, str]:
    """The headers of a reply; its own win."""
    headers = {}
    if body_of.request_id_header is not None:
        headers[body_of.request_id_header] = f"req-{number}"
    kind = body_of.content_type if reply.content_type is None else reply.content_type
    if kind:
        headers["Content-Type"] = kind
    if reply.chunked:
        headers["Transfer-Encoding"] = "chunked"
    else:
        headers["Connection"] = "close"
    return {**headers, **reply.headers}


def model_in(body: Mapping[str, Any]) -> str:
    """The model that a body names, or ""."""
    model = body.get("model")
    return model if isinstance(model, str) else ""


def counted(reply: Reply, prompt: Iterable[str]) -> Usage | None:
    """The token counts to report: as given, or the words of the prompt and the reply's tokens."""
    if reply.usage is True:
        return Usage(sum(len(text.split()) for text in prompt), len(reply.pieces))
    return reply.usage


def texts_in(content: object) -> Iterable[str]:
    """Every text in a message's content, however the format nests it."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            yield from texts_in(part)
    elif isinstance(content, Mapping):
        for key in ("content", "text", "parts"):
            yield from texts_in(content.get(key))


def sse(value: Mapping[str, Any], event: str | None = None) -> bytes:
    """One server-sent event."""
    name = b"" if event is None else b"event: " + event.encode() + b"\n"
    return name + b"data: " + json.dumps(value).encode() + b"\n\n"
