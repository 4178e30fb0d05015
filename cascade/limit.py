"""How many attempts one provider bears at a time, learnt from how it bears them."""

from __future__ import annotations

from cascade.errors import ConfigError

OVERLOAD = 0.7
"""What an overload leaves of the limit: RFC 9438 (CUBIC), section 4.6."""

TOLERANCE = 2.0
SMOOTHING = 0.2
CROWD = 8
"""Slower than twice the usual, with at least eight attempts in flight, is taken for queueing."""

RECENT, USUAL = 10, 300
"""How far the two averages of the time to the first token go back: samples, and round trips.
Were both of samples, a crowd would make its own slowness the usual within seconds."""


class AdaptiveLimit:
    """A number of attempts that falls when the provider suffers and grows while it does not.

    It starts at ``initial`` (by default the maximum, so that a provider that bears everything is
    never held back). It falls to 0.7 of what is in flight when the provider says it is overloaded,
    and by up to a tenth when first tokens lately took over twice as long as usual for their model
    while many attempts were in flight. It grows with every other answer while at least half of it
    is in use: by about its square root in a round trip, slow enough not to overshoot and quick
    enough to come back.

    Attempts are numbered as they are granted. After a fall, only those granted since then teach it
    anything: what the crowd granted before has to say is the same news, as in TCP, which falls
    once in a round trip.

    The multiplicative decrease on a refusal is TCP's. From Netflix's concurrency-limits are the
    gradient of usual over recent latency, its bound of a half, its smoothing, and not growing while
    unused (``Gradient2Limit``), the tolerance of twice and the square root (``GradientLimit``).

    Attributes:
        value: the limit; a fraction of an attempt is none.
    """

    __slots__ = ("_fell_at", "_maximum", "_minimum", "_paces", "value")

    def __init__(
        self, *, minimum: int = 1, maximum: int = 10_000, initial: int | None = None
    ) -> None:
        initial = maximum if initial is None else initial
        if not 1 <= minimum <= initial <= maximum:
            raise ConfigError(
                f"concurrency limit: {minimum=}, {initial=}, {maximum=}: needs "
                "1 <= minimum <= initial <= maximum"
            )
        self.value = float(initial)
        self._minimum, self._maximum = minimum, maximum
        self._fell_at = 0
        self._paces: dict[str, _Pace] = {}

    @property
    def throttled(self) -> bool:
        """Whether it has fallen to the minimum."""
        return self.value <= self._minimum < self._maximum

    def overloaded(self, number: int, granted: int, in_flight: int) -> None:
        """Attempt ``number`` of ``granted`` was refused because the provider has too much to do."""
        if number > self._fell_at:
            self._fall(granted, in_flight, OVERLOAD)

    def answered(
        self, number: int, granted: int, in_flight: int, model: str, ttft: float | None
    ) -> None:
        """Attempt ``number`` of ``granted`` was answered, ``ttft`` seconds to its first token."""
        if number <= self._fell_at:
            return
        # Out of a crowd the pace is only learned for later: every eighth attempt will do.
        if ttft is not None and (in_flight >= CROWD or number % 8 == 0):
            pace = self._paces.get(model)
            if pace is None:
                pace = self._paces[model] = _Pace()
            slowness = pace.add(ttft, number, granted)
            if slowness > TOLERANCE and in_flight >= CROWD:
                gradient = max(0.5, TOLERANCE / slowness)
                self._fall(granted, in_flight, 1.0 - SMOOTHING * (1.0 - gradient))
                return
        value = self.value
        if value < self._maximum and in_flight * 2 >= value:
            self.value = min(self._maximum, value + value**-0.5)

    def _fall(self, granted: int, in_flight: int, factor: float) -> None:
        self.value = max(self._minimum, min(self.value, in_flight) * factor)
        self._fell_at = granted


class _Pace:
    """One model's times to the first token: how slow it was lately, as a multiple of the usual."""

    __slots__ = ("recent", "samples", "trip_ends", "trips", "usual")

    def __init__(self) -> None:
        self.samples = self.trips = self.trip_ends = 0
        self.recent = self.usual = 0.0

    def add(self, seconds: float, number: int, granted: int) -> float:
        # Plain means of the first few, then exponential ones.
        self.samples = samples = self.samples + 1
        self.recent += (seconds - self.recent) / (samples if samples < RECENT else RECENT)
        if number > self.trip_ends:
            self.trip_ends = granted
            self.trips = trips = self.trips + 1
            self.usual += (self.recent - self.usual) / (trips if trips < RECENT else USUAL)
            if self.usual > TOLERANCE * self.recent:
                self.usual *= 0.9  # a slow spell is over: forget it sooner than by averaging
        return self.recent / self.usual if self.usual > 0.0 else 1.0
