"""What a call lets through to its caller while it runs, and when it takes that back.

Text goes out before its answer is accepted in two cases: as far as a prefix check has looked and
found nothing wrong, where the caller asked for that; and from a last tier without a verifier, which
would accept it anyway. In both only while nothing else that was started may win (`State.alone`).

A caller who did not ask for it is never told to forget what was released. There, what the last tier
has begun to release is committed: no retry, stand-in or replica follows, and the call ends with
this answer or with an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from cascade.record import attempt_record
from cascade.result import Result
from cascade.standing import AttemptState, Phase, TierState
from cascade.stream_events import EventStream, Finished, TextRetracted, TierRejected, TierStarted

if TYPE_CHECKING:
    from cascade.live import LiveCall

Release = Literal["accepted", "verified-prefix"]

_LOST: frozenset[Phase] = frozenset(("rejected", "failed", "cancelled"))


class Releases:
    """Follows a call and fills an event stream.

    Args:
        call: the call, before it runs.
        release: as in `cascade.stream.cascade_stream`.
    """

    def __init__(self, call: LiveCall, release: Release) -> None:
        self.call = call
        self.events = EventStream()
        self.retracts = release == "verified-prefix"
        self._seen = 0  # attempts
        self._open: list[TierState] = []
        self._outlets: list[Outlet] = []
        call.on_change = self.follow

    def follow(self) -> None:
        """Tell what has changed in the call, and let through what may now go."""
        attempts = self.call.state.attempts
        for outlet in self._outlets:
            if outlet.sent and self.retracts and attempts[outlet.id].phase in _LOST:
                self._retract(outlet, attempt_record(self.call, outlet.id).reason)
        for outlet in self._outlets:
            if attempts[outlet.id].phase in _LOST:
                outlet.close()
        self._outlets = [o for o in self._outlets if attempts[o.id].phase not in _LOST]
        for tier in self._open:
            if tier.status == "out":
                self.events.put(TierRejected(self._name(tier), self._why(tier)))
        self._open = [tier for tier in self._open if tier.status == "open"]
        while self._seen < len(attempts):
            self._begin(attempts[self._seen])
            self._seen += 1
        for outlet in self._outlets:
            outlet.open = self._may_flow(outlet)
            if outlet.open:
                outlet.flow()

    def settle(self, result: Result) -> None:
        """Release what is left of the answer, and finish."""
        released = ""
        for outlet in self._outlets:
            if outlet.sent:
                released = outlet.text
                if not result.text.startswith(released):
                    self._retract(outlet, "the text of the result is another")
                    released = ""
        if len(result.text) > len(released):
            self.events.write(result.tier, result.text[len(released) :])
        self.events.put(Finished(result))

    def let_go(self) -> None:
        """Follow the call no more: they hold each other, work for the garbage collector."""
        self.call.on_change = None
        for outlet in self._outlets:
            outlet.close()
        self._outlets.clear()

    def _begin(self, attempt: AttemptState) -> None:
        tier = self.call.tiers[attempt.tier]
        home, _ = self.call.state.place(attempt)
        if home not in self._open:
            self._open.append(home)
            self.events.put(TierStarted(tier.tier.name))
        last = attempt.tier == len(self.call.tiers) - 1
        if tier.verifier is None:
            if last:
                self._outlets.append(Outlet(self, attempt.id, straight=True))
        elif tier.prefix is not None and self.retracts:
            self._outlets.append(Outlet(self, attempt.id, straight=False))

    def _may_flow(self, outlet: Outlet) -> bool:
        state = self.call.state
        if not state.alone(outlet.id):
            return False
        # A rejected answer may be the result after all when this one fails.
        return self.retracts or not self.call.best or state.best_rejected() is None

    def _retract(self, outlet: Outlet, reason: str) -> None:
        tier, _ = self.call.state.place(self.call.state.attempts[outlet.id])
        self.events.put(TextRetracted(self._name(tier), reason))

    def _name(self, tier: TierState) -> str:
        return self.call.tiers[tier.index].tier.name

    def _why(self, tier: TierState) -> str:
        lost = [
            attempt.id
            for attempt in self.call.state.attempts
            if attempt.tier == tier.index and attempt.phase != "cancelled"
        ]
        return attempt_record(self.call, lost[-1]).reason


class Outlet:
    """One attempt whose text may go out while it runs.

    Attributes:
        straight: whether all its text may, or what a prefix check has looked at.
        open: whether it may now.
        sent: how many chunks have gone out.
    """

    __slots__ = ("_events", "_live", "_releases", "_tier", "id", "open", "sent", "straight")

    def __init__(self, releases: Releases, id_: int, *, straight: bool) -> None:
        call = releases.call
        self.id = id_
        self.straight = straight
        self.open = False
        self.sent = 0
        self._releases = releases
        self._events = releases.events
        self._tier = call.tiers[call.state.attempts[id_].tier].tier.name
        self._live = call.attempts[id_]
        self._live.relay = self.on_delta

    @property
    def text(self) -> str:
        """What has gone out."""
        return "".join(self._live.chunks[: self.sent])

    def on_delta(self, text: str) -> None:
        """Take a piece of the answer in, and let through what may go."""
        live = self._live
        live.on_delta(text)
        if self.open and (self.straight or live.looked > self.sent):
            self.flow()

    def close(self) -> None:
        """Take no more in; what its attempt still streams is noted there alone."""
        self.open = False
        self._live.relay = None

    def flow(self) -> None:
        """Let through what may go and has not gone yet."""
        live = self._live
        end = len(live.chunks) if self.straight else live.looked
        text = "".join(live.chunks[self.sent : end])
        if not self.sent:
            if not text.strip():
                return  # it may end as no answer at all, and be tried again
            if not self._releases.retracts:
                live.committed = True
                self._releases.call.state.commit(self.id)
        self.sent = end
        if text:
            self._events.write(self._tier, text)
