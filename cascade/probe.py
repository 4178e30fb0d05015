"""Measures what a server does when the caller closes a stream: stops, or writes on for nobody.

It begins a long answer, closes the stream after the first tokens, and watches what the server says
of itself (`server_view.py`) until the request is gone. A server that says nothing is not guessed
about, and not even asked for the answer.
"""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from typing import Final

import anyio
from msgspec import Struct

from cascade.engine import Engine
from cascade.errors import CascadeError, ProviderError
from cascade.policy import Policy, Tier
from cascade.provider import Call
from cascade.providers.http import make_client
from cascade.providers.local import LocalProvider
from cascade.providers.openai import OpenAIProvider
from cascade.server_view import ServerView, View
from cascade.targets import Target
from cascade.types import Request

LENGTH: Final = 512
"""Tokens of the answer that is asked for: more than a server writes before it can be looked at,
and few enough for any context."""

TASTE: Final = 8
"""Pieces of it that are waited for."""

PATIENCE: Final = 60.0
"""Seconds to wait for those, and then for the server to stop."""

_POLL: Final = 0.02
_QUIET: Final = 2.0
"""Seconds without a new token after which vLLM has stopped, whatever its gauges say: they keep
their last values when the only request is aborted (vllm-project/vllm issues 22545 and 29928)."""

_TELLING: Final = 1.0
"""Seconds that the rest of the answer must take, where only time tells whether it was written."""

_IDLE: Final = "try again while the server has nothing else to do"

_ELSEWHERE: Final = (
    "nothing: only servers behind 'openai:' and 'local:' models show their requests in a way that "
    "is known here"
)

_PROMPT: Final = "Count from 1 to 1000 in words, one number a line."


class Probe(Struct, frozen=True, kw_only=True):
    """What was measured.

    Attributes:
        model: the model that was asked.
        stops: whether the server stops when the stream is closed, which is what
            ``cancel_stops_billing`` should say of it; None when that could not be seen.
        reason: what was seen, or why nothing was, in a sentence.
        documented: what is known of the provider without measuring; see docs/costs.md.
        seen_through: where the server said it, or None.
        seconds: from the end of the stream until the server had stopped, or None.
        received: pieces of the answer that arrived, about one a token.
        generated: tokens that the server wrote in all, or None.
    """

    model: str
    stops: bool | None
    reason: str
    documented: bool | None
    seen_through: str | None = None
    seconds: float | None = None
    received: int = 0
    generated: int | None = None


async def probe(
    engine: Engine,
    model: str,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    patience: float = PATIENCE,
) -> Probe:
    """Measure what the server of a model does when a stream is closed.

    Args:
        engine: makes the call.
        model: ``"provider:model"``.
        base_url: as in `Tier`.
        api_key: as in `Tier`.
        patience: seconds to wait for the first tokens, and then for the server to stop.

    Raises:
        ConfigError: no such provider or model, or an option that does nothing.
        ProviderError: the server cannot be reached, or the call failed.
    """
    target = _target(engine, Tier(model, base_url=base_url, api_key=api_key))
    if target.ready is not None:
        await target.ready(target.model)
    wire = await _wire(target)
    if wire is None:
        return _unknown(target, _ELSEWHERE)
    async with make_client() as client:
        server = ServerView(client, wire.endpoint.url, wire.auth(wire.endpoint.key))
        return await _Measurement(target, server, patience).run()


def _target(engine: Engine, tier: Tier) -> Target:
    try:
        return engine.bind(Policy("probe", [tier])).tiers[0].targets[0][0]
    except CascadeError as error:
        error.policy = error.tier = None  # the user has named none
        raise


async def _wire(target: Target) -> OpenAIProvider | None:
    provider = target.provider
    if isinstance(provider, LocalProvider):
        return await provider.wire(target.model)
    return provider if isinstance(provider, OpenAIProvider) else None


def _unknown(target: Target, reason: str) -> Probe:
    return Probe(
        model=target.name, stops=None, reason=reason, documented=target.cancel_stops_billing
    )


class _Measurement:
    """One answer, begun and given up."""

    def __init__(self, target: Target, server: ServerView, patience: float) -> None:
        self._target = target
        self._server = server
        self._patience = patience
        self._arrived: list[float] = []
        self._tasted = anyio.Event()
        self._over = False
        self._error: CascadeError | None = None

    async def run(self) -> Probe:
        before = await self._server.find()
        if before is None:
            return _unknown(self._target, "the server does not show its requests")
        if before.running:
            return self._judged(f"requests run there already ({before.running}); {_IDLE}")
        during = None
        with anyio.move_on_after(self._patience):
            during = await self._give_up()
        if self._error is not None:
            raise self._error
        if during is None:
            return self._judged(f"{self._late()} within {self._patience:g} s")
        if self._over:
            return self._judged("the answer was over before it could be given up")
        if not during.running and during.generated == before.generated:
            return self._judged("what the server shows does not have this request in it")
        return await self._watch(before, during)

    def _late(self) -> str:
        """What was still awaited when patience was over, and what came instead."""
        if self._tasted.is_set():
            return "the answer began, but the server did not show its requests"
        came = len(self._arrived)
        return f"only {came} of the first {TASTE} tokens came" if came else "no token came"

    async def _give_up(self) -> View | None:
        """Begin an answer, look at the server while it comes, and close the stream."""
        during = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._ask)
            await self._tasted.wait()
            try:
                during = await self._server.look()
            except ProviderError as error:
                self._error = self._error or error
            tasks.cancel_scope.cancel()
        return during

    async def _ask(self) -> None:
        # Both servers know ignore_eos: the answer ends when it is given up, and not by itself.
        request = Request.of(_PROMPT).with_params(max_tokens=LENGTH, ignore_eos=True)
        try:
            await self._target.provider.complete(Call(self._target.model, request, self._taste))
        except CascadeError as error:
            self._error = error
        self._over = True
        self._tasted.set()

    def _taste(self, _text: str) -> None:
        self._arrived.append(anyio.current_time())
        if len(self._arrived) == TASTE:
            self._tasted.set()

    async def _watch(self, before: View, during: View) -> Probe:
        """Look until the request is gone, or for as long as patience lasts."""
        source = self._server.source
        assert source is not None
        quiet = max(_QUIET, TASTE * self._pace)
        left = now = moved = anyio.current_time()
        last, seconds = during, None
        while seconds is None and now - left < self._patience:
            view, now = await self._server.look(), anyio.current_time()
            if view.running > 1:
                return self._judged(f"another request came in; {_IDLE}")
            if view.generated != last.generated:
                moved = now
            last = view
            if not view.running:
                seconds = now - left
            elif source.live and now - moved >= quiet:
                seconds = moved - left
            else:
                await anyio.sleep(_POLL)
        return self._verdict(seconds, _written(before, last))

    def _verdict(self, seconds: float | None, generated: int | None) -> Probe:
        received = len(self._arrived)
        if generated is not None and generated < received:
            generated = None  # llama.cpp long counted only what came to its end
        if seconds is None:
            reason = f"the server still worked {self._patience:g} s after the stream was closed"
            return self._judged(reason, stops=False, generated=generated)
        rest = LENGTH - received
        if generated is not None:
            if generated > LENGTH:
                return self._judged(f"the server wrote for others too; {_IDLE}")
            stops = generated - received < rest / 2
        elif rest * self._pace < _TELLING:
            return self._judged("the server writes too fast to see whether it stopped")
        else:
            stops = seconds < rest * self._pace / 2
        reason = "the server stopped" if stops else "the server wrote on to the end of the answer"
        return self._judged(reason, stops=stops, seconds=seconds, generated=generated)

    @property
    def _pace(self) -> float:
        """Seconds between two pieces, most often; a stall of the network does not count."""
        return median(later - earlier for earlier, later in pairwise(self._arrived))

    def _judged(
        self,
        reason: str,
        *,
        stops: bool | None = None,
        seconds: float | None = None,
        generated: int | None = None,
    ) -> Probe:
        return Probe(
            model=self._target.name,
            stops=stops,
            reason=reason,
            documented=self._target.cancel_stops_billing,
            seen_through=None if self._server.source is None else self._server.source.name,
            seconds=seconds,
            received=len(self._arrived),
            generated=generated,
        )


def _written(before: View, after: View) -> int | None:
    if before.generated is None or after.generated is None:
        return None
    return after.generated - before.generated
