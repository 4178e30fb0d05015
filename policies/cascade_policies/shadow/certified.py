"""`Certified`: keeps watch over the certified error of a policy, and falls back when it is more."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cascade.errors import CallError, ConfigError
from cascade.logs import emitters, warn
from cascade.policy import Policy
from cascade.preparing import prepare
from cascade.records import CallRecord
from cascade.result import Result
from cascade.routing import Entry, Route
from cascade.types import Request
from cascade_policies.shadow.background import DRAIN, Background
from cascade_policies.shadow.canary import arm_of
from cascade_policies.shadow.comparing import Comparer, error_of, exact
from cascade_policies.shadow.guard import Guard, number, version_of
from cascade_policies.shadow.shadow import AUDIT, copy_of
from cascade_policies.shadow.tally import Tally

if TYPE_CHECKING:
    from cascade.engine import Engine

CHOICES: Final = ("certified", "fallback")
_KIND: Final = "audit"


class Sampled(NamedTuple):
    """An accepted answer that is to be audited, and the probability with which it was chosen."""

    record: CallRecord
    probability: float


class Certified(Guard[tuple[float, float]]):
    """Serves a certified policy, audits its answers, and falls back when they are no longer right.

    Give ``certified.entry`` where a policy is given, and run the audits beside the engine's calls::

        certified = Certified(policy, error=0.02)
        async with Engine(observers=[ledger]) as engine, certified.running(engine):
            result = await engine.run(certified.entry, prompt)

    A sampled share of the accepted answers is compared with what the top tier says to the same
    prompt, in the background. Once it is certain that more of all accepted answers are wrong than
    certified, ``cascade.certificate_broken`` is logged, once, and all calls get the fallback. The
    chance of that is at most ``alpha`` while it is not so, however long it is watched.

    An answer that the top tier itself gave is right by definition, and its audit costs nothing.

    Args:
        policy: the certified policy. Its top tier's templates may use no variables but the prompt.
        error: the certified error among accepted answers, against the top tier, in (0, 1).
        fallback: the last policy that was certified; by default the top tier alone.
        share: of the accepted answers that are audited, in (0, 1]; or a function of the call that
            gives it, which is audited with at least ``least``.
        least: with a function for ``share``: the least that it gives.
        alpha: the chance of a false alarm that is allowed, in (0, 1).
        compare: tells whether an answer is as good as the top tier's; by default `exact`.
        name: in logs, and of the audits' own calls; by default that of the policy and "audit".
        seed: of the sampling.
        queue: answers that may wait for an audit; one more is dropped.
        concurrency: audits at once.
        drain: seconds that the end waits for what is left.
        state: what `to_dict` gave, to go on from.

    Raises:
        ConfigError: a value is impossible, or would do nothing.

    Attributes:
        broken: Unix time in seconds at which the certificate broke, or None.
        undecided: audits that said nothing: the top tier had no answer, or the comparer no opinion.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        error: float,
        fallback: Policy | Path | str | None = None,
        share: float | Callable[[CallRecord], float] = 0.05,
        least: float | None = None,
        alpha: float = 0.01,
        compare: Comparer = exact,
        name: str | None = None,
        seed: int | None = None,
        queue: int = 100,
        concurrency: int = 1,
        drain: float = DRAIN,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{policy.name} audit" if name is None else name)
        number("error", error, above=0, below=1)
        number("alpha", alpha, above=0, below=1)
        if len(policy.tiers) == 1:
            raise ConfigError("has its top tier alone: nothing to audit", policy=policy.name)
        self._top = replace(
            policy, name=self.name, tiers=policy.tiers[-1:], start_after=None, prefer=None,
            grace=None, router=None, efforts={}, variables=None, exhausted="best",
            priority="background",
        )  # fmt: skip
        self._share, self._least = share, _least(share, least)
        self._error, self._alpha, self._compare = error, alpha, compare
        self._random = Random(seed)  # noqa: S311  (sampling, no secret)
        self._tally = Tally(error, self._least)
        self.broken: float | None = None
        self.undecided = 0
        self.work = Background(
            self.name, self._audit, queue=queue, concurrency=concurrency, drain=drain
        )
        """The audits that were made or dropped are counted here."""
        if state is not None:
            self.restore(state)
        if fallback is None:
            fallback = replace(
                self._top, name=policy.name, exhausted=policy.exhausted, priority=policy.priority
            )
        self.entry = Entry(policy.name, self, {"certified": policy, "fallback": fallback})

    @property
    def tally(self) -> Tally:
        """What the audits say."""
        return self._tally

    def check(self, choices: Sequence[str]) -> None:
        """It is the router of its own entry alone.

        Raises:
            ConfigError: it is given to another.
        """
        if tuple(choices) != CHOICES:
            raise ConfigError(f"{self.name} guards a certified policy: use its .entry")

    def route(self, request: Request, choices: Sequence[str], /) -> Route:
        """The certified policy while its certificate holds, else the fallback."""
        del request, choices
        if self.broken is not None:
            return Route("fallback", label="fallback", reason=f"{self.name}: certificate broken")
        return Route("certified", label="certified", reason=f"{self.name}: certificate holds")

    def running(self, engine: Engine) -> AbstractAsyncContextManager[None]:
        """The block in which answers are audited; nothing is left running when it ends.

        Raises:
            ConfigError, PromptError: the top tier cannot be asked.
        """
        engine.bind(self._top).check_variables({}, first=0)
        return self.work.running(engine)

    def call_finished(self, record: CallRecord, /) -> None:
        """Take note of a call that it has routed; see `Observer`."""
        if arm_of(record) != "certified" or record.outcome != "accepted" or self.broken is not None:
            return
        probability = self._probability(record)
        if self._random.random() < probability:
            self.work.put(Sampled(record, probability))

    def _probability(self, record: CallRecord) -> float:
        if not callable(self._share):
            return self._share
        return min(max(self._share(record), self._least), 1.0)

    async def _audit(self, engine: Engine, sampled: Sampled) -> None:
        record, probability = sampled
        given = record.result
        assert given is not None
        error: float | None = 0.0
        if given.tier != self._top.tiers[0].name:
            top = await self._ask_top(engine, record)
            if top is None:
                error = None
            else:
                error = await error_of(engine, self.name, self._compare, record.request, given, top)
        inform = emitters().inform
        if inform is not None:
            inform("cascade.answer_audited", audit=self.name, call_id=record.id, error=error)
        if error is None:
            self.undecided += 1
        else:
            self._note((error, probability))

    async def _ask_top(self, engine: Engine, record: CallRecord) -> Result | None:
        call = await prepare(engine, self._top, record.request, None, None, {})
        call.variant = copy_of(record, AUDIT, call.variant)
        try:
            return await engine.carry_out(call)
        except CallError:  # told of in its own record
            return None

    def _take(self, seen: tuple[float, float]) -> None:
        if self.broken is not None:
            return
        if self._tally.take(*seen) >= 1 / self._alpha:
            self.broken = time.time()
            self._tell()

    def _tell(self) -> None:
        low, high = self._tally.interval(self._alpha)
        warn(
            "cascade.certificate_broken",
            audit=self.name,
            policy=self.entry.name,
            certified=self._error,
            error=self._tally.error,
            low=low,
            high=high,
            audited=self._tally.audited,
            alpha=self._alpha,
            evidence=round(self._tally.evidence),
        )

    def to_dict(self) -> dict[str, Any]:
        """All that it has learned, as plain data for JSON."""
        return {
            "kind": _KIND,
            "version": 1,
            "error": self._error,
            "least": self._least,
            "broken": self.broken,
            "tally": self._tally.to_dict(),
        }

    def restore(self, data: Mapping[str, Any]) -> None:
        """Go on from what `to_dict` gave.

        Raises:
            ConfigError: it is something else, or of another certificate.
        """
        version_of(data, _KIND, 1)
        if (data.get("error"), data.get("least")) != (self._error, self._least):
            raise ConfigError(
                f"{self.name}: its state is of error={data.get('error')!r} and a least share of "
                f"{data.get('least')!r}, not {self._error!r} and {self._least!r}: begin anew, "
                "under another name"
            )
        at, tally = data.get("broken"), data.get("tally")
        if at is not None and not isinstance(at, int | float):
            raise ConfigError(f"{self.name}: its state has broken={at!r}")
        self._tally = Tally.from_dict(
            tally if isinstance(tally, Mapping) else {}, self._error, self._least
        )
        self.broken = at


def _least(share: float | Callable[[CallRecord], float], least: float | None) -> float:
    if callable(share):
        if least is None:
            raise ConfigError("share is a function: give the least that it gives, as least=0.01")
    else:
        if least is not None:
            raise ConfigError("least is for a share that is a function: here it does nothing")
        least = share
    if not 0 < least <= 1:
        raise ConfigError(f"share={least!r}: needs a part of the answers, above 0, at most 1")
    return least
