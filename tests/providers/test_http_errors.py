"""The parts of HTTP errors that need no server."""

from __future__ import annotations

import string
import time
from email.utils import formatdate

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cascade.providers._http_errors import MAX_MESSAGE, one_line, retry_after


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e300"}, None),
        ({"retry-after": "1763800000"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 9999 07:28:00 GMT"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_retry_after_as_a_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000_000_000.0)
    assert retry_after({"retry-after": formatdate(1_000_000_030.0, usegmt=True)}) == 30.0


def test_a_key_is_cut_out_before_the_text_is_shortened() -> None:
    text = "x" * 490 + "secret-key-that-is-long"
    assert "secret" not in one_line(text, "secret-key-that-is-long")


KEYS = st.text(string.ascii_letters + string.digits + "-_.+/=~", min_size=1, max_size=60)
REDACTED = "[redacted]"


@given(st.text(), KEYS, st.text())
def test_the_key_that_was_sent_is_never_shown(before: str, key: str, after: str) -> None:
    assume(len(key) >= 8 or not (key.isalpha() or len(key) < 4))
    shown = one_line(before + key + after, key)
    assert all(key not in piece for piece in shown.split(REDACTED))
    assert len(shown) <= MAX_MESSAGE


@given(
    st.sampled_from(["", " ", "key=", '"', "'", "Bearer ", "\\n", "\\u003d", "%3D", "_", "é", "("]),
    st.text(string.ascii_letters, min_size=1, max_size=7),
    st.sampled_from(["", " ", ".", '"', "'", "\\n", "%20", "_", ")", ",", "\n", "é"]),
)
def test_a_key_that_is_a_short_word_is_not_shown_as_a_word(
    before: str, key: str, after: str
) -> None:
    assume(key not in before and key not in after)
    shown = one_line(f"{before}{key}{after}", key)
    assert REDACTED in shown
    assert key not in shown.replace(REDACTED, "")


@pytest.mark.parametrize("key", ["e", "x", "EMPTY", "none", "model", "1"])
def test_a_key_that_is_a_short_word_leaves_other_words_alone(key: str) -> None:
    text = "nonetheless, the remodelled executor is EMPTYing 21 boxes"
    assert one_line(text, key) == text


PREFIXES = [
    "sk-",
    "sk-proj-",
    "sk-ant-api03-",
    "pk-",
    "key-",
    "gsk_",
    "hf_",
    "xai-",
    "pplx-",
    "AIza",
]
BODY = st.text(string.ascii_letters + string.digits, min_size=20, max_size=60)


@given(st.text(max_size=100), st.sampled_from([*PREFIXES, "Bearer ", "bearer\t "]), BODY, st.text())
def test_what_looks_like_another_key_is_not_shown(
    before: str, prefix: str, body: str, after: str
) -> None:
    assume(any(c.isdigit() for c in body))
    assume(not before or not (before[-1].isalnum() or before[-1] == "_"))
    assert body not in one_line(f"{before}{prefix}{body}{after}")


@pytest.mark.parametrize("masked", ["sk-abc...wxyz", "sk-proj-****abcd", "key-ab******yz"])
def test_what_is_left_of_a_hidden_key_is_not_shown(masked: str) -> None:
    assert one_line(f"Incorrect API key provided: {masked}.").startswith(
        "Incorrect API key provided: [redacted]"
    )


WORDS = st.text(string.ascii_lowercase, min_size=1, max_size=15)


@given(st.lists(WORDS, min_size=1, max_size=5), st.sampled_from(["Bearer", "sk", "key", "a"]))
def test_words_are_left_alone(words: list[str], first: str) -> None:
    for text in (" ".join([first, *words]), f"{first}-{words[0]}", f'{first} realm="{words[0]}"'):
        assert one_line(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "Bearer auth is required",
        "use Bearer authentication, not Basic",
        'WWW-Authenticate: Bearer realm="api"',
        "a key-value pair, a key-management-service, a key-encrypted disk",
        "sk-learn-like estimators, a task-oriented bot",
        "Bearer tokens (RFC 6750)",
        "the public-key-infrastructure is down",
    ],
)
def test_innocent_text_is_shown_as_it_is(text: str) -> None:
    assert one_line(text) == text


@pytest.mark.parametrize(
    "piece", ["sk-", "key-", "key-a", "Bearer ", "Bearer\t\t", "hf_", "AIza", "%", "\\u00"]
)
def test_cutting_keys_out_takes_time_in_proportion_to_the_text(piece: str) -> None:
    began = time.process_time()
    one_line(piece * 64_000, "x")
    assert time.process_time() - began < 2.0, "a pattern goes over the text again and again"
