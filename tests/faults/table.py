"""The faults, and what is to come of each. `docs/faults.md` has the same table for people."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Literal, NamedTuple

from cascade import (
    APIConnectionError,
    APIResponseError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    ContentPolicyError,
    EmptyAnswerError,
    InternalServerError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ProviderError,
    RateLimitError,
    RequestTimeoutError,
    TruncatedAnswerError,
    UnprocessableEntityError,
)
from cascade.testing import Reply, ServedRequest
from tests.faults import bodies

Mode = Literal["plain", "stream"]
Place = Literal["server", "closed", "nowhere", "full", "tls", "mute"]
Script = Reply | Callable[[ServedRequest], Reply]

BRIEF = 0.1
"""Seconds that an attempt has where hanging is the fault."""

LONG_WAIT = 3600.0
"""Seconds to wait that are more than any call here has."""


class Outcome(NamedTuple):
    """What comes of an attempt.

    Attributes:
        error: exactly this; None where the answer is whole all the same, and is taken.
        says: what the error's text has in it; HOST is the server's host and port, MODEL the model.
        retried: whether the same model may be called again.
    """

    error: type[ProviderError] | None = None
    says: str = ""
    retried: bool = False


ANSWERED = Outcome()


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to fail.

    Attributes:
        name: in the words of the docs.
        script: what the server does; None where the call gets to no server that speaks HTTP.
        stream, plain: what comes of it when the answer is asked for as a stream, and when not.
        place: where the call goes.
        timeout: seconds that an attempt has, where it takes them all.
        retries: that the tier has, none of which may be made.
        heavy: it takes so long that it is not repeated for each position and start.
        framed: whether each wire format has its own way to say it.
        others: what comes of it in another format or with another client, where that differs: by
            format, by format and mode, as in ``gemini plain``, or by client. None where the
            format has no such thing.
    """

    name: str
    script: Script | None
    stream: Outcome
    plain: Outcome
    place: Place = "server"
    timeout: float | None = None
    retries: int = 0
    heavy: bool = False
    framed: bool = False
    others: Mapping[str, Outcome | None] = field(default_factory=dict)

    def outcome(self, mode: Mode, wire: str = "openai", client: str = "") -> Outcome | None:
        """What is to come of it in this format; None where there is no such thing."""
        for key in (f"{wire} {mode}", wire, client):
            if key in self.others:
                return self.others[key]
        return self.stream if mode == "stream" else self.plain


def same(name: str, script: Script | None, outcome: Outcome, **more: Any) -> Fault:
    """A fault of which the same comes however the answer is asked for."""
    return Fault(name, script, outcome, outcome, **more)


def refused(
    status: int, error: type[ProviderError], wait: Callable[[], str] | None = None,
    *, name: str = "", retried: bool = False, **more: Any,
) -> Fault:  # fmt: skip
    """An error status, perhaps with how long to wait."""

    def script(_request: ServedRequest) -> Reply:
        headers = {} if wait is None else {"Retry-After": wait()}
        return Reply("the reason", status=status, headers=headers)

    outcome = Outcome(error, f"model 'MODEL' at HOST answered {status}: the reason", retried)
    return same(name or str(status), script, outcome, **more)


def date() -> str:
    """When the long wait is over."""
    return formatdate(time.time() + LONG_WAIT, usegmt=True)


def no_answer(says: str, *, retried: bool = True) -> Outcome:
    """The server sent something that is no answer."""
    return Outcome(APIResponseError, f"model 'MODEL' at HOST{says}", retried)


PART = "good and more of it"  # would pass the check if a part of it were taken for the whole
TIMED_OUT = Outcome(APITimeoutError, f"no whole answer within {BRIEF} s", True)
BROKE = Outcome(APIConnectionError, "the connection to HOST broke: ", True)
ENDED = no_answer(": the stream ended before the answer did")
NO_JSON = no_answer(": the answer is no")
SAID = no_answer(f" broke off with an error: {PART}")
FAILED = Outcome(InternalServerError, f"model 'MODEL' at HOST answered 500: {PART}", True)
TOO_LONG = no_answer(": the stream is longer than 64,000,000 bytes", retried=False)
EMPTY = Outcome(EmptyAnswerError, "the model answered neither text nor a tool call")

ON_THE_WAY = (
    same("connection refused", None,
         Outcome(APIConnectionError, "cannot connect to HOST: connection refused", True),
         place="closed"),
    same("DNS failure", None, Outcome(APIConnectionError, "cannot connect to HOST: ", True),
         place="nowhere"),
    same("connect timeout", None, Outcome(APITimeoutError, "timed out connecting to HOST", True),
         place="full"),
    same("TLS failure", None, Outcome(APIConnectionError, "cannot connect to HOST: ", True),
         place="tls"),
    same("hang in the TLS handshake", None, TIMED_OUT, place="mute", timeout=BRIEF),
    same("reset before headers", Reply(wire=b"", reset=True), BROKE),
    same("closed before headers", Reply(wire=b""), BROKE),
    same("reset mid-body", Reply(PART, cut_after=2, reset=True), BROKE, framed=True),
    same("closed mid-body", Reply(PART, cut_after=2), BROKE, framed=True),
    same("hang before headers", Reply("good", hang="headers"), TIMED_OUT, timeout=BRIEF),
    same("hang before the body", Reply("good", hang="body"), TIMED_OUT, timeout=BRIEF),
    same("hang mid-stream", Reply(PART, hang="end"), TIMED_OUT, timeout=BRIEF),
    same("slow drip", Reply(tokens=["good"] * 200, token_delay=0.02), TIMED_OUT, timeout=BRIEF),
)  # fmt: skip

REFUSALS = (
    refused(400, BadRequestError, framed=True),
    refused(401, AuthenticationError, framed=True),
    refused(403, PermissionDeniedError),
    refused(404, NotFoundError, framed=True),
    refused(408, RequestTimeoutError, retried=True),
    refused(409, ConflictError, retried=True),
    refused(413, BadRequestError),
    refused(422, UnprocessableEntityError),
    refused(429, RateLimitError, retried=True, framed=True),
    refused(429, RateLimitError, lambda: str(LONG_WAIT), retried=True, retries=1,
            name="429, Retry-After in seconds, past the deadline"),
    refused(429, RateLimitError, date, retried=True, retries=1,
            name="429, Retry-After as a date, past the deadline"),
    refused(429, RateLimitError, lambda: "1e300", retried=True, name="429, absurd Retry-After"),
    refused(500, InternalServerError, retried=True),
    refused(502, InternalServerError, retried=True),
    refused(503, OverloadedError, retried=True, framed=True),
    refused(529, OverloadedError, retried=True, framed=True),
    same("redirect to another host",
         Reply(raw=b"", status=307, headers={"Location": "https://elsewhere.example/v1?key=k"}),
         no_answer(" redirects (307) to https://elsewhere.example, which is not followed",
                   retried=False)),
)  # fmt: skip

NO_ANSWERS = (
    same("200 with HTML", Reply(raw=b"<!doctype html>good", content_type="text/html"),
         no_answer(": the answer is a web page; is the base_url right?", retried=False)),
    same("200 with an error object", bodies.sent(Reply(PART, error={}), streamed=False), SAID,
         framed=True, others={"anthropic": FAILED, "gemini": FAILED}),
    same("SSE error event", bodies.sent(Reply(PART, error={}), bodies.named_error, streamed=True),
         SAID, framed=True,
         others={"anthropic": FAILED, "gemini": FAILED, "openai-responses": FAILED,
                 "ollama plain": None}),
    same("truncated JSON", bodies.sent(Reply(PART), bodies.half, streamed=False), NO_JSON,
         framed=True, others={"ollama stream": ENDED}),
    same("truncated SSE", bodies.sent(Reply(PART), bodies.half, streamed=True), ENDED,
         framed=True, others={"ollama plain": None}),
    same("missing [DONE]", bodies.sent(Reply("good", done=False), streamed=True), ANSWERED,
         framed=True, others={"openai-responses": ENDED, "ollama stream": ENDED,
                              "ollama plain": None}),
    same("neither finish reason nor [DONE]",
         bodies.sent(Reply("good", done=False, finish_reason=None), streamed=True), ENDED,
         framed=True, others={"ollama plain": None}),
    same("duplicate final chunk", bodies.doubled(Reply(tokens=["good"])), ANSWERED, framed=True,
         others={"ollama plain": None}),
    Fault("empty choices", bodies.without_choices, EMPTY,
          no_answer(": the answer has no choices"), framed=True,
          others={"anthropic": EMPTY, "openai-responses": EMPTY, "ollama": EMPTY,
                  "gemini plain": no_answer(": the answer has no candidates"),
                  "gemini stream": ENDED}),
    same("null content", Reply(""), EMPTY, framed=True),
    same("content filter", Reply("good", finish_reason="content_filter"),
         Outcome(ContentPolicyError, "the provider filtered the answer"), framed=True),
    same("length cut-off", Reply("good", finish_reason="length"),
         Outcome(TruncatedAnswerError, "the answer was cut off at max_tokens"), framed=True),
    same("invalid UTF-8", bodies.sent(Reply(PART), bodies.damaged), NO_JSON, framed=True,
         others={"openai-responses stream": no_answer(": an event of the stream is no"),
                 "openai-responses plain": no_answer(": the content is not text")}),
    Fault("Content-Length too long", bodies.miscounted(Reply("good"), 2.0), ANSWERED, BROKE),
    # aiohttp takes what follows the body for another response, and it is none.
    Fault("Content-Length too short", bodies.miscounted(Reply(PART), 0.5), ENDED, NO_JSON,
          others={"aiohttp": BROKE}),
    same("gzip bomb", Reply(raw=bodies.BOMB, headers={"Content-Encoding": "gzip"}),
         no_answer(": the answer grows too much when unpacked", retried=False)),
    Fault("100 MB body", bodies.heap, TOO_LONG,
          no_answer(": the answer is longer than 10,000,000 bytes", retried=False), heavy=True),
    same("1,000,000-chunk stream", bodies.swarm, TOO_LONG, heavy=True,
         others={"openai plain": None}),
    same("another model's answer", Reply("good", model="another-model"), ANSWERED, framed=True),
)  # fmt: skip

FAULTS: tuple[Fault, ...] = (*ON_THE_WAY, *REFUSALS, *NO_ANSWERS)
