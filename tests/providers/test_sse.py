"""Server-sent events: the rules of the specification, whatever the cuts."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cascade.errors import APIResponseError
from cascade.providers import _sse
from cascade.providers._sse import Event, SSEDecoder


def decode(*pieces: bytes) -> list[Event]:
    decoder = SSEDecoder()
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return events + decoder.close()


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [Event(b"a")]),
        (b"data:a\n\n", [Event(b"a")]),
        (b"data:  a \n\n", [Event(b" a ")]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [Event(b"a"), Event(b"b")]),
        (b"data: a\r\rdata: b\r\r", [Event(b"a"), Event(b"b")]),
        (b"data: a\r\n\rdata: b\n\r\n", [Event(b"a"), Event(b"b")]),
        (b"data: a\ndata: b\n\n", [Event(b"a\nb")]),
        (b"data\ndata:\n\n", [Event(b"\n")]),
        (b": keep-alive\n\n:\n\ndata: a\n\n", [Event(b"a")]),
        (b"event: error\ndata: a\n\ndata: b\n\n", [Event(b"a", b"error"), Event(b"b")]),
        (b"event: lost\n\ndata: b\n\n", [Event(b"b")]),
        (b"id: 7\nretry: 10\nnonsense\ndata: a\n\n", [Event(b"a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [Event(b"a")]),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [Event(b"a")]),
        (b"data: a\x0b\x0c\xc2\x85b\n\n", [Event(b"a\x0b\x0c\xc2\x85b")]),
        (b"database: a\n\n", []),
        (b"data: [DONE]", [Event(b"[DONE]")]),
        (b"\xef\xbb\xbfdata: [DONE]\n", [Event(b"[DONE]")]),
        (b"", []),
    ],
)
def test_decodes_by_the_specification(stream: bytes, events: list[Event]) -> None:
    assert decode(stream) == events
    assert decode(*(stream[i : i + 1] for i in range(len(stream)))) == events


FRAGMENTS = st.sampled_from(
    [b"data: ", b"data:", b"data", b"event: x", b": c", b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r",
     b"\xef\xbb\xbf", "grüße €😀".encode(), b"{}", b" ", b"\x00\xff"]
)  # fmt: skip


@given(st.lists(FRAGMENTS, max_size=30).map(b"".join), st.data())
@example(b"data: a\r\n\r\n", None)
def test_any_cut_gives_the_same_events(stream: bytes, data: st.DataObject | None) -> None:
    cuts = [] if data is None else data.draw(st.lists(st.integers(0, len(stream)), max_size=10))
    edges = [0, *sorted(cuts), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    assert b"".join(pieces) == stream
    assert decode(*pieces) == decode(stream)


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]),
                        min_size=1), max_size=10))  # fmt: skip
def test_what_was_sent_arrives(texts: list[str]) -> None:
    stream = "".join(f"data: {text}\n\n" for text in texts).encode()
    assert [event.data.decode() for event in decode(stream)] == texts


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 94, b"data: xxxx\n", b"data:\n"])
def test_events_are_bounded(monkeypatch: pytest.MonkeyPatch, piece: bytes) -> None:
    monkeypatch.setattr(_sse, "MAX_EVENT_BYTES", 1000)
    decoder = SSEDecoder()

    def feed_forever() -> None:
        for _ in range(2000):
            decoder.feed(piece)

    with pytest.raises(APIResponseError, match="longer than 1,000 bytes") as caught:
        feed_forever()
    assert not caught.value.retryable


def test_many_events_are_not_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sse, "MAX_EVENT_BYTES", 100)
    decoder = SSEDecoder()
    for _ in range(100):
        assert decoder.feed(b"event: x\ndata: one\ndata: two\n\ndata: th") == [
            Event(b"one\ntwo", b"x")
        ]
        assert decoder.feed(b"ree\n\n") == [Event(b"three")]
