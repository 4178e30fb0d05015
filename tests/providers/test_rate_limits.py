"""What providers say of their rate limits: read alike, from whoever says it and however."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import APIStatusError, RateLimitError, RateLimits
from cascade.provider import Call, find_provider
from cascade.providers._rate_limits import ANTHROPIC, MAX_COUNT, MAX_RESET, OPENAI, rate_limits
from cascade.testing import FaultyServer, Reply
from cascade.transport import Transport
from cascade.types import Answer, Request
from tests.providers.conftest import Context

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000.0
SAID = ("5000", "4999", "12ms", "160000", "159976", "6m0.5s")
MEANT = RateLimits(5000, 4999, 0.012, 160_000, 159_976, 360.5)
HEADERS = {
    "openai": dict(zip(OPENAI, SAID, strict=True)),
    "openai-responses": dict(zip(OPENAI, SAID, strict=True)),
    "anthropic": dict(zip(ANTHROPIC, SAID, strict=True)),
}


def read(reset: str) -> float | None:
    found = rate_limits({OPENAI[1]: "1", OPENAI[2]: reset}, OPENAI)
    assert found is not None
    return found.reset_requests


async def ask(name: str, server: FaultyServer, transport: Transport) -> Answer:
    chat = name.startswith("openai")
    url = server.base_url if chat else server.url
    provider = find_provider(name)(Context(transport), base_url=url)
    answer = await provider.complete(Call("m", Request.of("hi")))
    assert answer is not None
    return answer


@pytest.mark.parametrize("name", HEADERS)
async def test_limits_are_on_the_answer(
    name: str, server: FaultyServer, transport: Transport
) -> None:
    server.on("m", Reply("hi", headers=HEADERS[name]), Reply("hi"))
    answer = await ask(name, server, transport)
    assert answer.rate_limits == MEANT
    assert answer.timed(1.0, 0.5).rate_limits == MEANT
    assert (await ask(name, server, transport)).rate_limits is None


@pytest.mark.parametrize("status", [429, 503, 200])
@pytest.mark.parametrize("name", HEADERS)
async def test_limits_are_on_the_error(
    name: str, status: int, server: FaultyServer, transport: Transport
) -> None:
    error = {"type": "rate_limit_error"} if status == 200 else None
    server.on("m", Reply("slow down", status=status, error=error, headers=HEADERS[name]))
    with pytest.raises(APIStatusError) as caught:
        await ask(name, server, transport)
    assert caught.value.rate_limits == MEANT
    assert isinstance(caught.value, RateLimitError) == (status != 503)


@pytest.mark.parametrize("name", ["gemini", "ollama"])
async def test_who_sends_none_is_not_asked(
    name: str, server: FaultyServer, transport: Transport
) -> None:
    server.on("m", Reply("hi", headers=HEADERS["openai"]))
    assert (await ask(name, server, transport)).rate_limits is None


def test_what_is_not_said_is_none() -> None:
    assert rate_limits({}, OPENAI) is None
    assert rate_limits({"x-ratelimit-limit": "5", **HEADERS["anthropic"]}, OPENAI) is None
    tokens = {"x-ratelimit-remaining-tokens": "7"}  # as Azure does
    assert rate_limits(tokens, OPENAI) == RateLimits(remaining_tokens=7)
    assert rate_limits({"x-ratelimit-remaining-tokens": "many"}, OPENAI) is None


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("0", 0.0), ("0s", 0.0), ("20ms", 0.02), ("7.66s", 7.66), ("2m59.56s", 179.56),
        ("1h0m5s", 3605.0), ("1d2h", 93_600.0), ("1s500ms", 1.5), ("59.5", 59.5), (" 3s ", 3.0),
        ("", None), ("s", None), ("ms", None), ("5 s", None), ("5s3h", None), ("-5s", None),
        ("1e9", None), ("inf", None), ("nan", None), ("soon", None), ("999999h", None),
        ("1800000000", None), ("\u0665s", None), ("9" * 10_000, None),
    ],
)  # fmt: skip
def test_a_duration(said: str, seconds: float | None) -> None:
    found = read(said)
    assert found == (None if seconds is None else pytest.approx(seconds, rel=1e-12))


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=-8)), None])
@pytest.mark.parametrize("ahead", [90.0, 0.0, -90.0, 2 * MAX_RESET])
def test_a_date(ahead: float, zone: timezone | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: NOW)
    then = datetime.fromtimestamp(NOW + ahead, zone or UTC).replace(tzinfo=zone)
    assert read(then.isoformat()) == (None if ahead > MAX_RESET else max(0.0, ahead))
    assert read("2027-01-15T08:00:30Z") == 30.0


VALUES = st.one_of(
    st.text(max_size=60),
    st.text("0123456789.dhms", max_size=45),
    st.text("0123456789-:TZ+.W", min_size=8, max_size=32),
    st.integers().map(str),
    st.floats().map(str),
    st.datetimes().map(datetime.isoformat),
)


@given(st.lists(VALUES, min_size=6, max_size=6), st.sampled_from([OPENAI, ANTHROPIC]))
def test_whatever_is_said_is_read_within_bounds(values: list[str], names: tuple[str, ...]) -> None:
    found = rate_limits(dict(zip(names, values, strict=True)), names) or RateLimits()
    for count in (found.limit_requests, found.remaining_requests, found.limit_tokens):
        assert count is None or 0 <= count <= MAX_COUNT
    for reset in (found.reset_requests, found.reset_tokens):
        assert reset is None or 0.0 <= reset <= MAX_RESET
