"""Isotonic regression by pooling adjacent violators.

Ayer, Brunk, Ewing, Reid and Silverman, "An empirical distribution function for sampling with
incomplete information", Annals of Mathematical Statistics 26 (1955). Written out here, as it is
short and the only other thing scikit-learn would be needed for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Block:
    """Neighbouring scores that share one value: how many rows, how many of them right."""

    low: float
    high: float
    rows: int
    right: int

    @property
    def mean(self) -> float:
        """The share of right ones."""
        return self.right / self.rows


def pool_adjacent_violators(scores: Sequence[float], correct: Sequence[bool]) -> list[Block]:
    """The blocks of the rising step function with the least squared error, in rising order.

    Rows of the same score are one block from the start, so that a score has one value.
    """
    blocks: list[Block] = []
    for score, label in sorted(zip(scores, correct, strict=True)):
        if blocks and blocks[-1].low == score:
            blocks[-1].rows += 1
            blocks[-1].right += label
        else:
            blocks.append(Block(score, score, 1, int(label)))
    pooled: list[Block] = []
    for block in blocks:
        pooled.append(block)
        # Whole numbers, so that rounding cannot leave a violation behind.
        while len(pooled) > 1 and (
            pooled[-2].right * pooled[-1].rows >= pooled[-1].right * pooled[-2].rows
        ):
            last = pooled.pop()
            pooled[-1].high = last.high
            pooled[-1].rows += last.rows
            pooled[-1].right += last.right
    return pooled
