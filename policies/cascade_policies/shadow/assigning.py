"""A/B: the same key goes to the same policy, in every process, and when shares change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import sha256
from math import inf, log
from typing import Final

from cascade.errors import ConfigError, nearest
from cascade.routing import Route
from cascade.types import Request

Key = Callable[[Request], str]
"""Gives the key of a request, such as its customer."""

_BITS: Final = 53
_ROUNDING: Final = 1e-9

_current: ContextVar[str | None] = ContextVar("cascade_key", default=None)


@contextmanager
def keyed(key: str) -> Iterator[None]:
    """All calls made inside are of this key."""
    token = _current.set(key)
    try:
        yield
    finally:
        _current.reset(token)


def call_key(request: Request) -> str:
    """The key of a call: what `keyed` says, else the request's ``user``, else its text."""
    key = _current.get()
    if key is not None:
        return key
    user = request.params.get("user")
    return user if isinstance(user, str) and user else request.text


def assign(key: str, shares: Mapping[str, float], *, salt: str) -> str:
    """The arm that a key belongs to.

    Each arm draws a time from the hash of salt, arm and key, exponentially distributed with its
    share as rate, and the first one wins (weighted rendezvous hashing). So an arm gets its share of
    the keys, and who goes over to another arm does so because that arm's share has grown in
    proportion to the old one's. Between two arms no more keys move than must; among more, at most
    ``2 d / (1 + d)`` of them where the shares differ by ``d``, the best that can be had without
    remembering keys (Bavarian et al. 2020, "Optimality of correlated sampling strategies").

    Args:
        key: any text.
        shares: by the name of the arm; they add up to 1.
        salt: the name of the experiment: with another one all keys are dealt anew.

    Raises:
        ConfigError: the shares are none.
    """
    check_shares(shares)
    return _assign(key, shares, salt)


def check_shares(shares: Mapping[str, float]) -> None:
    """Refuse what are no shares.

    Raises:
        ConfigError: they are negative, or do not add up to 1.
    """
    for arm, share in shares.items():
        if not 0 <= share < inf:
            raise ConfigError(f"shares: {arm}: {share!r} is no share: give a number in [0, 1]")
    if abs(sum(shares.values()) - 1) > _ROUNDING:
        raise ConfigError(f"shares: add up to {sum(shares.values()):.6g}, and must add up to 1")


def _assign(key: str, shares: Mapping[str, float], salt: str) -> str:
    drawn = ((_draw(key, arm, salt) / share, arm) for arm, share in shares.items() if share > 0)
    return min(drawn)[1]


def _draw(key: str, arm: str, salt: str) -> float:
    """An exponentially distributed number, always the same for these three."""
    # With their lengths, or ("a", "bc") and ("ab", "c") would be one.
    text = f"{len(salt)}:{salt}{len(arm)}:{arm}{key}"
    digest = sha256(text.encode("utf-8", "surrogatepass")).digest()
    number = int.from_bytes(digest[:8]) >> (64 - _BITS)
    return -log((number + 0.5) / 2**_BITS)


class Split:
    """A router for an `Entry`: deals calls out to policies by their key.

    The arm is the route's label, in records and in the ledger.

    Args:
        shares: by the names of the entry's policies; they add up to 1.
        salt: the name of the experiment.
        key: of a request; by default `call_key`.

    Raises:
        ConfigError: the shares are none.
    """

    def __init__(self, shares: Mapping[str, float], *, salt: str, key: Key | None = None) -> None:
        check_shares(shares)
        self.name = salt
        self.shares = dict(shares)
        self._key = call_key if key is None else key

    def check(self, choices: Sequence[str]) -> None:
        """Every share is that of a policy.

        Raises:
            ConfigError: one is not.
        """
        for arm in self.shares:
            if arm not in choices:
                raise ConfigError(f"{self.name}: shares: {nearest(arm, choices)}")

    def route(self, request: Request, choices: Sequence[str], /) -> Route:
        """The arm of the request's key."""
        del choices
        arm = _assign(self._key(request), self.shares, self.name)
        return Route(arm, label=arm, reason=f"{self.name}: {self.shares[arm]:.4g} of the keys")
