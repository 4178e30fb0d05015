"""Rows to choose on, and rows to certify on: never a text in both, the same split every time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cascade_policies.tuning.grouping import group

CHOOSING: Final = 0.25

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Positions of rows, each in an order that follows from the texts alone.

    Attributes:
        choosing: a quarter of them, to make and order candidates on.
        certifying: the others, to be looked at once.
        groups: how many texts there are, near-duplicates counted once.
        digest: the SHA-256 of the texts to certify on.
    """

    choosing: Rows
    certifying: Rows
    groups: int
    digest: str


def split(texts: Sequence[str], *, choosing: float = CHOOSING) -> Split:
    """Split the rows with these texts; near-duplicates stay on one side.

    Which side a text is on hangs on a hash of it, not on where it stands or what was answered.
    """
    groups = group(texts)
    keys = [_digest(text) for text in texts]
    least: dict[int, str] = {}
    for row, number in enumerate(groups.tolist()):
        least[number] = min(least.get(number, "g"), keys[row])
    # Ties are of equal texts: their answers may differ, and stand as they are given.
    order = sorted(range(len(texts)), key=lambda row: (least[int(groups[row])], keys[row]))
    cut = _cut([int(groups[row]) for row in order], choosing)
    certifying = order[cut:]
    return Split(
        np.array(order[:cut], np.intp),
        np.array(sorted(certifying, key=keys.__getitem__), np.intp),
        len(least),
        _digest("".join(sorted(keys[row] for row in certifying))),
    )


def _cut(ordered: Sequence[int], share: float) -> int:
    """The end of a group that is nearest to the share."""
    ends = [
        at for at in range(len(ordered) + 1)
        if at in (0, len(ordered)) or ordered[at - 1] != ordered[at]
    ]  # fmt: skip
    wanted = share * len(ordered)
    return min(ends, key=lambda at: (abs(at - wanted), at))


def _digest(text: str) -> str:
    return sha256(b"cascade tune\0" + text.encode("utf-8", "surrogatepass")).hexdigest()
