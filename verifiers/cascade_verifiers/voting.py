"""Counting votes: who wins, and whether that can still change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

from cascade.verdict import Verdict
from cascade_verifiers.agreement_keys import Vote


def settled(
    votes: Sequence[Hashable | None], k: int, threshold: float, *, in_order: bool = True
) -> bool:
    """Whether a vote of ``k`` cannot change any more after these votes.

    That is, whether the same group is accepted, or none is, whatever the rest says. None is an
    answer without a vote. The order counts, as among groups of one size the first one wins;
    ``in_order=False`` says that a vote still to come may stand before these.
    """
    left = k - len(votes)
    if left <= 0:
        return True
    sizes = Counter(vote for vote in votes if vote is not None)
    top = max(sizes.values(), default=0)
    if not _enough(top + left, k, threshold):
        return True
    if not _enough(top, k, threshold):
        return False
    # most_common keeps the order of first appearance among equals, as the tally does.
    leader = next(iter(sizes.most_common(1)))[0]
    if not in_order:
        return left < top and all(s + left < top for key, s in sizes.items() if key != leader)
    order = list(sizes)
    return left <= top and all(
        size + left < top or (size + left == top and order.index(leader) < order.index(key))
        for key, size in sizes.items()
        if key != leader
    )


def tally(
    keys: Sequence[Hashable | None],
    k: int,
    threshold: float,
    votes: Sequence[Vote | None] | None = None,
) -> list[Verdict]:
    """The verdict on each answer of a vote of ``k``; ``votes`` has their values."""
    if k < 2:
        return [alone() for _ in keys]
    sizes = Counter(key for key in keys if key is not None)
    leader, top = next(iter(sizes.most_common(1)), (None, 0))
    accepted = _enough(top, k, threshold)
    verdicts: list[Verdict] = []
    for n, key in enumerate(keys):
        vote = votes[n] if votes is not None else None
        size = sizes[key] if key is not None else 0
        if accepted and key is not None and key == leader:
            verdict = Verdict.accept(
                score=size / k,
                parsed=vote.parsed if vote else None,
                text=vote.text if vote else None,
            )
        else:
            verdict = _against(size, top, k, accepted, voted=key is not None, vote=vote)
        verdicts.append(verdict)
    return verdicts


def _against(
    size: int, top: int, k: int, accepted: bool, *, voted: bool, vote: Vote | None
) -> Verdict:
    if not voted:
        reason, code = "the answer has nothing to compare with the others", "no_vote"
    elif accepted:
        reason, code = f"{size} of {k} answers say this; {top} say another", "outvoted"
    else:
        reason, code = f"the answers disagree: at most {top} of {k} say the same", "disagree"
    parsed = vote.parsed if vote else None
    return Verdict.reject(reason, code=f"agreement.{code}", score=size / k, parsed=parsed)


def _enough(size: int, k: int, threshold: float) -> bool:
    # The division is the one whose result is the score, so that the two never disagree.
    return size >= 2 and size / k >= threshold


def alone() -> Verdict:
    """The abstention on an answer that has no other beside it."""
    return Verdict.abstain("one answer alone cannot agree", code="agreement.alone")
