"""Who is measured by `overhead`: the bare clients, and this engine. `peers` has the others.

All send one chat completion with `PROMPT` to the same server and give the text of the answer. What
is set up once in a program (clients, policies) is set up once here.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

from benchmarks.serving import ANSWER
from cascade import Engine, Policy, Tier
from cascade.verifiers import JsonSchema

PROMPT = "Which team should answer this ticket? My card was charged twice."
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"label": {"enum": ["billing", "technical"]}, "urgent": {"type": "boolean"}},
    "required": ["label", "urgent"],
    "additionalProperties": False,
}

Ask = Callable[[], Awaitable[str]]
"""One call, which gives the answer's text."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One that is measured.

    Attributes:
        name: for tables.
        open: given the server's base URL and a model, a context in which calls can be made.
        needs: the packages without which it is skipped.
        kind: whether it is a bare client, a peer, or this engine.
        note: how its work differs from that of one verified tier; "" when it does not.
        requests: how many requests one call has open at once.
    """

    name: str
    open: Callable[[str, str], AbstractAsyncContextManager[Ask]]
    needs: tuple[str, ...]
    kind: Literal["bare", "peer", "ours"]
    note: str = ""
    requests: int = 1

    @property
    def missing(self) -> str:
        """The packages to install first; "" when none is missing."""
        return ", ".join(name for name in self.needs if find_spec(name) is None)


def body(model: str) -> dict[str, Any]:
    """The request that the bare clients send."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": PROMPT}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def text_of(line: str | bytes) -> str:
    """The text in one line of the stream."""
    data = line.strip()[6:]
    if not data or data in ("[DONE]", b"[DONE]"):
        return ""
    choices = json.loads(data)["choices"]
    return (choices[0]["delta"].get("content") or "") if choices else ""


@asynccontextmanager
async def bare_httpx2(base_url: str, model: str) -> AsyncIterator[Ask]:
    import httpx2

    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx2.AsyncClient(limits=limits, timeout=60) as client:

        async def ask() -> str:
            url = f"{base_url}/chat/completions"
            async with client.stream("POST", url, json=body(model)) as response:
                return "".join([text_of(line) async for line in response.aiter_lines()])

        yield ask


@asynccontextmanager
async def bare_aiohttp(base_url: str, model: str) -> AsyncIterator[Ask]:
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask() -> str:
            url = f"{base_url}/chat/completions"
            async with session.post(url, json=body(model)) as response:
                return "".join([text_of(line) async for line in response.content])

        yield ask


def engine(policy: Callable[[str, str], Policy], http: str) -> Any:
    """This engine with a policy made for the server and model, over one of the HTTP clients."""

    @asynccontextmanager
    async def opened(base_url: str, model: str) -> AsyncIterator[Ask]:
        ours = policy(base_url, model)
        async with Engine(http=http) as running:

            async def ask() -> str:
                return (await running.run(ours, PROMPT)).text

            yield ask

    return opened


def tier(model: str, base_url: str, *, name: str = "") -> Tier:
    """A tier that wants JSON after `SCHEMA`."""
    verify = JsonSchema(SCHEMA)
    return Tier(f"openai:{model}", name=name, base_url=base_url, api_key="none", verify=verify)


def one_tier(base_url: str, model: str) -> Policy:
    """One verified tier."""
    return Policy("one", [tier(model, base_url)])


def two_tiers(base_url: str, model: str) -> Policy:
    """A first tier whose answer is rejected, and a second whose answer is accepted."""
    return Policy("two", [tier("wrong", base_url), tier(model, base_url)])


def race_of_three(base_url: str, model: str) -> Policy:
    """Three tiers at once, of which only the first will ever end."""
    tiers = [tier(model, base_url), *(tier("slow", base_url, name=name) for name in ("b", "c"))]
    return Policy("race", tiers, start_after=0)


BARE = (
    Contender("bare aiohttp", bare_aiohttp, ("aiohttp",), "bare", "checks nothing"),
    Contender("bare httpx2", bare_httpx2, ("httpx2",), "bare", "checks nothing"),
)
OURS = (
    Contender("cascade", engine(one_tier, "aiohttp"), ("aiohttp",), "ours"),
    Contender(
        "cascade, escalates", engine(two_tiers, "aiohttp"), ("aiohttp",), "ours", "two requests"
    ),
    Contender(
        "cascade, race of 3",
        engine(race_of_three, "aiohttp"),
        ("aiohttp",),
        "ours",
        "three requests, two of them cancelled and their connections opened anew",
        requests=3,
    ),
    Contender("cascade on httpx2", engine(one_tier, "httpx"), ("httpx2",), "ours"),
)


async def is_right(ask: Ask) -> bool:
    """Whether a call brings the right answer; who does not is not timed."""
    return await ask() == ANSWER
