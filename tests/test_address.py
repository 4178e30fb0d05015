"""Addresses of models."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.address import fault_in


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com/v1",
        "http://127.0.0.1:8000/v1",
        "http://[::1]:8000",
        "http://llm_1.internal/v1?version=2",
        "https://例え.jp/v1",
    ],
)
def test_an_address_is_taken(url: str) -> None:
    assert fault_in(url) is None


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "is empty: leave it out for the provider's own address"),
        ("ftp://x", "is no address of HTTP"),
        ("localhost:8000/v1", "is no address of HTTP"),
        ("//host/v1", "is no address of HTTP"),
        ("http://", "is no address of HTTP"),
        ("http://:80/", "is no address of HTTP"),
        ("http://a:99999/", "has an impossible host or port"),
        ("http://a:port/", "has an impossible host or port"),
        ("http://[::1/", "has an impossible host or port"),
        ("http://a b/", "has a space or a control character in it"),
        ("http://a/\n", "has a space or a control character in it"),
        ("http://a/\x1b[31m", "has a space or a control character in it"),
        ("http://me:hunter2@a/", "has a user or password in it"),
    ],
)
def test_what_leads_nowhere_is_refused(url: str, says: str) -> None:
    assert (fault_in(url) or "").startswith(says)


@given(st.text())
def test_any_text_is_judged(url: str) -> None:
    found = fault_in(url)
    assert found is None or found
    if found is None:
        assert url.lower().startswith(("http://", "https://"))
