"""`Shadow`: a candidate policy answers a share of the calls too, and nobody sees its answers."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

from cascade.errors import CallError, ConfigError
from cascade.policy import Policy
from cascade.preparing import prepare
from cascade.records import CallRecord
from cascade_policies.shadow.background import DRAIN, Background

if TYPE_CHECKING:
    from cascade.engine import Engine

SHADOW: Final = "shadow of "
"""What the variant of a shadow's call begins with; the id of the call it shadows follows."""

AUDIT: Final = "audit of "
"""The same for the call that audits an answer."""


class Shadow:
    """An `Observer` that has a candidate answer a sampled share of the finished calls.

    It does so in the background, with the candidate's priority ``background``, after the call has
    ended: no call waits for it. Give it to the engine, and run it beside the engine's calls::

        shadow = Shadow(candidate, of="tickets")
        async with Engine(observers=[ledger, shadow]) as engine, shadow.running(engine):
            ...

    What it answers is a call of its own, of the candidate's name: observers are told of it, budgets
    pay for it, and the ledger has it with the variant ``shadow of CALL_ID``. ``cascade compare``
    reads the pairs.

    Args:
        candidate: a policy, or the path or name of one. Its templates may use no variables but the
            prompt: the record of a call does not have them.
        of: name of the policy that is shadowed; by default all but the candidate.
        share: of the calls that are shadowed, in (0, 1].
        seed: of the sampling.
        queue: calls that may wait; one more is dropped.
        concurrency: calls the candidate answers at once.
        drain: seconds that the end waits for what is left.

    Raises:
        ConfigError: a value is impossible.
    """

    def __init__(
        self,
        candidate: Policy | Path | str,
        *,
        of: str | None = None,
        share: float = 0.05,
        seed: int | None = None,
        queue: int = 100,
        concurrency: int = 1,
        drain: float = DRAIN,
    ) -> None:
        if not 0 < share <= 1:
            raise ConfigError(f"share={share!r}: needs a part of the calls, above 0, at most 1")
        self.candidate = candidate
        self._of = of
        self._share = share
        self._random = Random(seed)  # noqa: S311  (sampling, no secret)
        self._found: Policy | None = None
        self._quiet: Policy | None = None  # the same, with background priority
        name = candidate.name if isinstance(candidate, Policy) else str(candidate)
        self.work = Background(
            f"shadow {name}", self._answer, queue=queue, concurrency=concurrency, drain=drain
        )
        """The calls that were shadowed or dropped are counted here."""

    def call_finished(self, record: CallRecord, /) -> None:
        """Take note of a call; see `Observer`."""
        if record.outcome in ("cancelled", "error") or is_copy(record.variant):
            return
        if self._of is None:
            if self._found is not None and record.policy == self._found.name:
                return
        elif record.policy != self._of:
            return
        if self._random.random() < self._share:
            self.work.put(record)

    def running(self, engine: Engine) -> AbstractAsyncContextManager[None]:
        """The block in which calls are shadowed; nothing is left running when it ends.

        Raises:
            ConfigError, PromptError: the candidate cannot be used.
        """
        engine.bind(self._policy(engine)).check_variables({}, first=0)
        return self.work.running(engine)

    def _policy(self, engine: Engine) -> Policy:
        """The candidate as it is now: a project's files may change."""
        found = engine.find(self.candidate)
        if not isinstance(found, Policy):
            raise ConfigError("is a router over policies: shadow one of those", policy=found.name)
        if found is not self._found or self._quiet is None:
            if found.name == self._of:
                raise ConfigError(
                    "the candidate has the name of the policy it shadows: nothing could tell "
                    "their calls apart; give it another",
                    policy=found.name,
                )
            self._found, self._quiet = found, replace(found, priority="background")
        return self._quiet

    async def _answer(self, engine: Engine, record: CallRecord) -> None:
        call = await prepare(engine, self._policy(engine), record.request, None, None, {})
        call.variant = copy_of(record, SHADOW, call.variant)
        with suppress(CallError):  # how it ends is in its own record
            await engine.carry_out(call)


def copy_of(record: CallRecord, why: str, variant: str) -> str:
    """The variant of a call that repeats another one, and of what else was changed of it."""
    return ", ".join(filter(None, (f"{why}{record.id}", variant)))


def is_copy(variant: str) -> bool:
    """Whether a call of this variant only repeats another one."""
    return variant.startswith((SHADOW, AUDIT))
