"""What a server sends when its format is right and its bytes are not."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cascade.testing import Reply, ServedRequest
from cascade.testing._dialect import Dialect, response_headers
from cascade.testing._dialects import find_dialect
from cascade.testing._http11 import head

Change = Callable[[bytes], bytes]
Script = Callable[[ServedRequest], Reply]


def sent(
    reply: Reply, change: Change = bytes, *, streamed: bool | None = None, **more: Any
) -> Script:
    """The bytes of the reply in the format of the request, changed.

    ``streamed`` is for a server that streams, or does not, whatever it is asked for.
    """

    def script(request: ServedRequest) -> Reply:
        return Reply(raw=change(written(reply, request, streamed)), **more)

    return script


def written(reply: Reply, request: ServedRequest, streamed: bool | None = None) -> bytes:
    """The body of the reply as the server would send it."""
    body_of = dialect(reply, request, streamed)
    return b"".join(body_of.tokens()) + body_of.end() if body_of.streams else body_of.whole()


def dialect(reply: Reply, request: ServedRequest, streamed: bool | None = None) -> Dialect:
    """What writes the reply in the format of the request."""
    if streamed is not None:
        path = request.path.replace(":streamGenerate", ":generate")
        if streamed:
            path = path.replace(":generate", ":streamGenerate")
        request = replace(request, body={**request.body, "stream": streamed}, path=path)
    found, _ = find_dialect(request.path.partition("?")[0], request.body)
    assert found is not None
    return found(reply, request)


def half(body: bytes) -> bytes:
    return body[: len(body) // 2]


def damaged(body: bytes) -> bytes:
    """With a byte in the answer that no UTF-8 has."""
    return body.replace(b"good", b"go\xffod")


def named_error(body: bytes) -> bytes:
    """With the error marked as one by the event's type too, where the format leaves it out."""
    return body.replace(b'data: {"error"', b'event: error\ndata: {"error"')


def doubled(reply: Reply) -> Script:
    """Every event after the text, which is one piece, comes twice."""

    def script(request: ServedRequest) -> Reply:
        body_of = dialect(reply, request, streamed=True)
        events = [e for e in body_of.end().splitlines(keepends=True) if e.strip()]
        end = b"".join(event + b"\n" for event in events for _ in range(2))
        return Reply(raw=b"".join(body_of.tokens()) + end)

    return script


def miscounted(reply: Reply, factor: float) -> Script:
    """With a Content-Length of so many times what is sent."""

    def script(request: ServedRequest) -> Reply:
        body = written(reply, request)
        headers = response_headers(Reply(chunked=False), dialect(reply, request), request.number)
        length = str(int(len(body) * factor))
        # In one piece: what a client makes of a surplus depends on when it arrives.
        return Reply(wire=head(200, {**headers, "Content-Length": length}) + body)

    return script


BOMB = gzip.compress(bytes(100_000_000))
"""100 kB that unpack to a thousand times as much."""


def heap(request: ServedRequest) -> Reply:
    """100 MB: one answer that is not streamed, or a thousand pieces of a stream."""
    text = b"good " * 20_000
    if request.body.get("stream") is False:
        return Reply(raw=[b'{"choices": [{"message": {"content": "', *[text] * 1000])
    piece = b'{"choices": [{"delta": {"content": "%s"}}]}' % text
    return Reply(raw=[b"data: " + piece + b"\n\n"] * 1000)


def swarm(request: ServedRequest) -> Reply:
    """A million chunks, each of the usual size."""
    del request
    choice = b'{"index": 0, "delta": {"content": " good"}, "finish_reason": null}'
    named = b'"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": "m"'
    event = b"data: {" + named + b', "choices": [' + choice + b"]}\n\n"
    return Reply(raw=[event * 1000] * 1000)


_NO_CHOICES = {
    "/v1/messages": (b'"type": "message", "content": []', b'"type": "message_stop"'),
    "/v1/chat/completions": (b'"choices": []', b'"choices": []'),
    "/api/chat": (b'"done": true', b'"done": true'),
    "/v1/responses": (
        b'"output": []',
        b'"type": "response.completed", "response": {"output": []}',
    ),
}


def without_choices(request: ServedRequest) -> Reply:
    """An answer in which there is none, with a regular end."""
    path = request.path.partition("?")[0]
    whole, event = _NO_CHOICES.get(path, (b'"candidates": []', b'"candidates": []'))
    if not dialect(Reply(), request).streams:
        return Reply(raw=b"{" + whole + b"}")
    if path == "/api/chat":
        return Reply(raw=b"{" + event + b"}\n")
    end = b"data: [DONE]\n\n" if path.endswith("/completions") else b""
    return Reply(raw=b"data: {" + event + b"}\n\n" + end)
