"""`cascade_stream`: an answer as it comes, no earlier than it may be shown."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Unpack, get_args

import anyio
from anyio.abc import TaskGroup

from cascade.default import default_engine
from cascade.engine import Engine
from cascade.errors import ConfigError, nearest
from cascade.finding import PolicyLike
from cascade.live import only
from cascade.overrides import Overrides
from cascade.preparing import prepare
from cascade.release import Release, Releases
from cascade.stream_events import EventStream
from cascade.types import Prompt

if TYPE_CHECKING:
    from cascade.live import LiveCall


def cascade_stream(
    policy: PolicyLike,
    prompt: Prompt,
    *,
    release: Release = "accepted",
    start: str | int | None = None,
    variables: Mapping[str, str] | None = None,
    **overrides: Unpack[Overrides],
) -> CascadeStream:
    """Answer a prompt as `cascade` does, and tell what happens while it does::

        async with cascade_stream(policy, prompt) as events:
            async for event in events:
                ...

    The call runs as long as the block. Leaving it early, in whatever way, cancels the call; by the
    end of the block every attempt has ended and its connection is closed.

    Args:
        policy: as for `cascade`, and so are ``prompt``, ``start``, ``variables``, ``overrides``.
        prompt: as for `cascade`.
        release: when text is released. ``"accepted"``: when its answer is accepted, and then never
            retracted. ``"verified-prefix"``: also while an answer streams, as far as its tier's
            prefix check has looked at it; `TextRetracted` says when that was in vain. With either,
            a last tier without a verifier releases its text as it comes.
        start: as for `cascade`.
        variables: as for `cascade`.
        **overrides: as for `cascade`.

    Raises:
        ConfigError: as `cascade`, and where ``release`` would do nothing; when the block is
            entered.
        CascadeExhausted, DeadlineExceededError: as `cascade`, out of the iteration; or at the end
            of the block, when the call has failed by then and nobody was told.
    """
    return CascadeStream(None, policy, prompt, release, start, variables, overrides)


class CascadeStream:
    """A call to be run event by event: an async context manager, entered once."""

    def __init__(
        self,
        engine: Engine | None,
        policy: PolicyLike,
        prompt: Prompt,
        release: Release,
        start: str | int | None,
        variables: Mapping[str, str] | None,
        overrides: Overrides,
    ) -> None:
        if release not in get_args(Release):
            raise ConfigError(f"release={release!r}: {nearest(str(release), get_args(Release))}")
        self._engine = engine
        self._asked = (policy, prompt, start, variables, overrides)
        self._release: Release = release
        self._events: EventStream | None = None
        self._tasks: TaskGroup | None = None

    async def __aenter__(self) -> EventStream:
        if self._events is not None:
            raise RuntimeError("a stream is entered once: call cascade_stream again")
        engine = self._engine or await default_engine()
        call = await prepare(engine, *self._asked)
        if self._release == "verified-prefix":
            _require_prefix_check(call)
        releases = Releases(call, self._release)
        self._events = releases.events
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(_run, engine, call, releases)
        return self._events

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._tasks is not None
        assert self._events is not None
        if not self._events.over:
            self._tasks.cancel_scope.cancel()
        try:
            # Not told of the block's own error, which it would put into a group.
            await self._tasks.__aexit__(None, None, None)
        except BaseExceptionGroup as group:
            raise only(group) from None
        if error is None:
            self._events.raise_error()


async def _run(engine: Engine, call: LiveCall, releases: Releases) -> None:
    """Run the call; its error goes to whoever iterates, not to the task group."""
    try:
        result = await engine.carry_out(call)
    except Exception as error:  # noqa: BLE001  (raised again by the stream)
        releases.events.close(error)
    except BaseException:
        releases.events.close()
        raise
    else:
        releases.settle(result)
        releases.events.close()
    finally:
        releases.let_go()


def _require_prefix_check(call: LiveCall) -> None:
    first = call.state.plan.first
    if all(tier.prefix is None for tier in call.tiers[first:]):
        raise ConfigError(
            "release='verified-prefix': no tier's verifier has a prefix check, so nothing could "
            "be released early; use release='accepted', or a verifier that has one, as JsonSchema",
            policy=call.name,
        )
