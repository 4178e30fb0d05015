"""What a test server is to answer, and what it was asked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from cascade.types import ToolCall, Usage


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of a `FaultyServer`, and what goes wrong with it. By default, nothing does.

    Attributes:
        text: the answer's text; with an error status, the error's message.
        tokens: the pieces the text is streamed in; by default its words.
        tool_calls: calls to ask for; they are streamed before the text's end.
        logprobs: one natural-log probability a token.
        finish_reason: None leaves it out. ``stop`` becomes ``tool_calls`` when there are some.
        usage: token counts to report. True counts the words of the messages and the tokens of
            the answer; None leaves them out.
        done: whether a stream ends with ``[DONE]``.
        status: HTTP status; 400 and above answer with an error object.
        error: members of the error object (``code``, ``type``, …). With status 200 the object is
            sent in the stream, after the tokens and instead of the end.
        headers: additional response headers.
        content_type: instead of the right one; "" leaves the header out.
        delay: seconds before the headers.
        token_delay: seconds before each token.
        hang: where to stop and wait until the client gives up: before the ``headers``, after them
            before the first token (``body``), or after the last token (``end``).
        cut_after: number of tokens after which the connection is cut, without a goodbye.
        chunked: whether the body is sent in chunks, so that a client can tell a cut from an end
            and use the connection again. If not, the connection is closed at the body's end.
        raw: the body as it is, instead of all the above that makes one. Pieces are sent
            ``token_delay`` apart and count as tokens for ``cut_after``.
        wire: everything sent, status line and headers too, after which the connection is closed.
    """

    text: str = ""
    tokens: Sequence[str] | None = field(default=None, kw_only=True)
    tool_calls: Sequence[ToolCall] = field(default=(), kw_only=True)
    logprobs: Sequence[float] | None = field(default=None, kw_only=True)
    finish_reason: str | None = field(default="stop", kw_only=True)
    usage: Usage | Literal[True] | None = field(default=True, kw_only=True)
    done: bool = field(default=True, kw_only=True)
    status: int = field(default=200, kw_only=True)
    error: Mapping[str, Any] | None = field(default=None, kw_only=True)
    headers: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    content_type: str | None = field(default=None, kw_only=True)
    delay: float = field(default=0.0, kw_only=True)
    token_delay: float = field(default=0.0, kw_only=True)
    hang: Literal["headers", "body", "end"] | None = field(default=None, kw_only=True)
    cut_after: int | None = field(default=None, kw_only=True)
    chunked: bool = field(default=True, kw_only=True)
    raw: bytes | Sequence[bytes] | None = field(default=None, kw_only=True)
    wire: bytes | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.logprobs is not None and len(self.logprobs) != len(self.pieces):
            raise ValueError(
                f"{len(self.logprobs)} logprobs for {len(self.pieces)} tokens: give one a token"
            )

    @property
    def pieces(self) -> tuple[str, ...]:
        """The tokens: as given, or the words of the text with the spaces before them."""
        if self.tokens is not None:
            return tuple(self.tokens)
        return tuple(re.findall(r"\s*\S+|\s+$", self.text))

    @property
    def ending(self) -> str | None:
        """The finish reason as it is sent."""
        if self.finish_reason == "stop" and self.tool_calls:
            return "tool_calls"
        return self.finish_reason


@dataclass(slots=True)
class ServedRequest:
    """One request to a `FaultyServer` and what became of it. Times are `time.monotonic` seconds.

    Attributes:
        number: from 0, in the order in which the requests came in.
        path: the path of the address.
        model: the model asked for; "" when the body names none.
        body: the body's JSON; empty when it is no JSON object.
        headers: names in lower case. ``authorization`` is among them, so they are not in the repr.
        started: when the request was whole.
        finished: when the last byte of the reply was written, or the connection was cut as the
            reply asked for; or None.
        aborted: when the client was seen to be gone before that, or None.
        tokens_sent: tokens written to the connection.
    """

    number: int
    path: str
    model: str
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(repr=False)
    started: float
    finished: float | None = None
    aborted: float | None = None
    tokens_sent: int = 0


class WireFormat(Protocol):
    """The bodies of one reply, as bytes of one wire format."""

    @property
    def streams(self) -> bool: ...
    @property
    def content_type(self) -> str: ...
    def tokens(self) -> list[bytes]: ...
    def end(self) -> bytes: ...
    def whole(self) -> bytes: ...


def body_pieces(reply: Reply, body_of: WireFormat) -> tuple[list[bytes], bytes]:
    """The pieces to send one by one, and what follows them."""
    if reply.raw is not None:
        return ([reply.raw] if isinstance(reply.raw, bytes) else list(reply.raw)), b""
    if body_of.streams:
        return body_of.tokens(), body_of.end()
    return [], body_of.whole()


def response_headers(reply: Reply, body_of: WireFormat, number: int) -> dict[str, str]:
    headers = {"X-Request-Id": f"req-{number}"}
    kind = body_of.content_type if reply.content_type is None else reply.content_type
    if kind:
        headers["Content-Type"] = kind
    if reply.chunked:
        headers["Transfer-Encoding"] = "chunked"
    else:
        headers["Connection"] = "close"
    return {**headers, **reply.headers}
