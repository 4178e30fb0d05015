"""What a test server is to answer, and what it was asked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from cascade.types import ToolCall, Usage


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of a `FaultyServer`, and what goes wrong with it. By default, nothing does.

    Attributes:
        text: the answer's text; with an error status, the error's message.
        tokens: the pieces the text is streamed in; by default its words.
        tool_calls: calls to ask for; they are streamed before the text's end.
        logprobs: one natural-log probability a token.
        finish_reason: ``stop``, ``length``, ``tool_calls``, ``content_filter``, which are sent in
            the format's own words, or a word of the format. None leaves it out. ``stop`` becomes
            ``tool_calls`` when there are some.
        usage: token counts to report. True counts the words of the messages and the tokens of
            the answer; None leaves them out.
        model: the model that the answer names, instead of the one asked for.
        done: whether a stream ends with the format's end mark, such as ``[DONE]``.
        status: HTTP status; 400 and above answer with an error object.
        error: members of the error object (``code``, ``type``, …), besides or instead of those
            that the wire format has for the status. With status 200 the object is sent in the
            stream, after the tokens and instead of the end.
        headers: additional response headers.
        content_type: instead of the right one; "" leaves the header out.
        delay: seconds before the headers.
        token_delay: seconds before each token, or one number a token, of which the last one stays.
        hang: where to stop and wait until the client gives up: before the ``headers``, after them
            before the first token (``body``), or after the last token (``end``).
        cut_after: number of tokens after which the connection is cut, without a goodbye. An
            answer that is not streamed is sent in as many parts as it has tokens where this,
            ``token_delay`` or ``hang`` say what happens between them.
        reset: whether the connection is reset, instead of closed, where it is cut or ``wire``
            ends.
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
    model: str | None = field(default=None, kw_only=True)
    done: bool = field(default=True, kw_only=True)
    status: int = field(default=200, kw_only=True)
    error: Mapping[str, Any] | None = field(default=None, kw_only=True)
    headers: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    content_type: str | None = field(default=None, kw_only=True)
    delay: float = field(default=0.0, kw_only=True)
    token_delay: float | Sequence[float] = field(default=0.0, kw_only=True)
    hang: Literal["headers", "body", "end"] | None = field(default=None, kw_only=True)
    cut_after: int | None = field(default=None, kw_only=True)
    reset: bool = field(default=False, kw_only=True)
    chunked: bool = field(default=True, kw_only=True)
    raw: bytes | Sequence[bytes] | None = field(default=None, kw_only=True)
    wire: bytes | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.logprobs is not None and len(self.logprobs) != len(self.pieces):
            raise ValueError(
                f"{len(self.logprobs)} logprobs for {len(self.pieces)} tokens: give one a token"
            )
        if isinstance(self.token_delay, Sequence) and not self.token_delay:
            raise ValueError("token_delay is empty: give seconds, or one number a token")

    @property
    def pieces(self) -> tuple[str, ...]:
        """The tokens: as given, or the words of the text with the spaces before them."""
        if self.tokens is not None:
            return tuple(self.tokens)
        return tuple(re.findall(r"\s*\S+|\s+$", self.text))

    def delay_of(self, token: int) -> float:
        """Seconds before the token of this number, from 0."""
        if isinstance(self.token_delay, Sequence):
            return self.token_delay[min(token, len(self.token_delay) - 1)]
        return self.token_delay

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
        path: the path of the address, with its query.
        model: the model asked for; "" when the request names none.
        body: the body's JSON; empty when it is no JSON object.
        headers: names in lower case. The key is among them, so they are not in the repr.
        started: when the request was whole.
        finished: when the last byte of the reply was written, or the connection was cut as the
            reply asked for; or None.
        aborted: when the client was seen to be gone before that, or None.
        tokens_sent: tokens written to the connection; none of an answer sent in one go.
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


@dataclass(frozen=True, slots=True)
class ServerLedger:
    """What a `FaultyServer` has seen until now. Each request is one start, and when it is over
    one finish or one abort.

    Attributes:
        starts: requests that came in.
        finishes: replies written to their end, or cut as they asked for.
        aborts: requests whose connection was lost before that.
        tokens: tokens written.
    """

    starts: int = 0
    finishes: int = 0
    aborts: int = 0
    tokens: int = 0

    @property
    def running(self) -> int:
        """Requests that are not over."""
        return self.starts - self.finishes - self.aborts
