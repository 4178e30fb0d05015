"""Whether what we recorded of our attempts and what the server saw are the same story.

Part of ``python -m benchmarks.soak``, which says what is measured.

An attempt is one start at the server, unless it is known to be invisible there: nothing listens,
the name does not resolve, the port speaks no TLS, or it was over while it waited to begin. Of an
attempt that was cancelled or timed out, or whose connection broke, the server may have seen nothing
yet. All others it must have seen: with the request id that the answer or the error brought, with
every token that the answer counted, and to its end when the answer came whole. And the server must
have seen nothing else.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from benchmarks.load_faults import Served
from cascade import APIConnectionError, Attempt, ProviderError

INVISIBLE: Final = ("refused", "deaf", "nameless", "no-tls")
"""Models that are not at the server: how their names begin."""

_REQUEST: Final = re.compile(r"\(request req-(\d+)\)")
_NUMBER: Final = re.compile(r"req-(\d+)")

Seen = Literal["never", "perhaps", "surely", "whole"]


@dataclass(frozen=True, slots=True)
class Claim:
    """What one attempt of ours says the server must have seen of it.

    Attributes:
        seen: a start never, perhaps or surely, or surely and written to its end.
        number: the server's number of the request, where its id was told.
        tokens: how many the answer counted.
    """

    model: str
    outcome: str
    seen: Seen
    number: int | None = None
    tokens: int | None = None


def claim(attempt: Attempt) -> Claim:
    """From the record of an attempt."""
    model = attempt.model.partition(":")[2]
    answer, error = attempt.answer, attempt.error
    if answer is not None and (answer.finish_reason is not None or answer.usage is not None):
        tokens = None if answer.usage is None else answer.usage.output_tokens
        number = _number(_NUMBER, answer.request_id)
        return Claim(model, attempt.outcome, "whole", number, tokens)
    number = None
    seen: Seen = "perhaps"
    if isinstance(error, ProviderError):
        number = _number(_NUMBER, error.request_id)
        # A connection that was kept may break just as it is used again, before anything is read.
        seen = "perhaps" if isinstance(error, APIConnectionError) else "surely"
        if not error.sent:
            seen = "never"
    if number is not None or answer is not None or attempt.time_to_first_token is not None:
        seen = "surely"
    elif model.startswith(INVISIBLE) or attempt.waited == attempt.latency:
        seen = "never"
    return Claim(model, attempt.outcome, seen, number)


def claim_of_event(event: Mapping[str, Any]) -> Claim:
    """From the log event of an attempt, which says less of it."""
    model = event["model"].partition(":")[2]
    outcome = event["event"].removeprefix("cascade.attempt_")
    number = _number(_REQUEST, event["reason"])
    seen: Seen = "perhaps"
    if event["output_tokens"] is not None:
        seen = "whole"
    elif number is not None or event["time_to_first_token_s"] is not None:
        seen = "surely"
    elif model.startswith(INVISIBLE) or event["waited_s"] == event["latency_s"]:
        seen = "never"
    return Claim(model, outcome, seen, number, event["output_tokens"])


def _number(form: re.Pattern[str], text: str | None) -> int | None:
    found = form.search(text or "")
    return None if found is None else int(found[1])


@dataclass(slots=True)
class Totals:
    """Sums over the calls whose stories agree.

    Attributes:
        attempts: of ours.
        unseen: those of which the server saw nothing, and need not have.
        tokens: that our answers counted; ``served`` that the server wrote for the same answers,
            ``lost`` that it wrote for the other attempts, and for answers without a count.
    """

    attempts: int = 0
    unseen: int = 0
    starts: int = 0
    finishes: int = 0
    aborts: int = 0
    tokens: int = 0
    served: int = 0
    lost: int = 0
    outcomes: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    faults: dict[str, int] = field(default_factory=lambda: defaultdict(int))


def reconcile(claims: Sequence[Claim], served: Sequence[Served], totals: Totals) -> str | None:
    """What differs between our attempts of one call and the server's records of it, or None."""
    left = {record.number: record for record in served}
    open_claims: list[Claim] = []
    matched: list[tuple[Claim, Served]] = []
    for each in claims:
        if each.number is None:
            open_claims.append(each)
            continue
        record = left.pop(each.number, None)
        if record is None:
            return f"{each} names a request that the server has not, or not of this call"
        if (wrong := _wrong(each, record)) is not None:
            return wrong
        matched.append((each, record))
    order: tuple[Seen, ...] = ("whole", "surely", "perhaps")
    for seen in order:
        for each in (one for one in open_claims if one.seen == seen):
            fitting = [r for r in left.values() if _wrong(each, r) is None]
            # Where the answer counted its tokens, rather one that says how many there were.
            record = max(fitting, key=lambda r: r.counted and each.seen == "whole", default=None)
            if record is not None:
                del left[record.number]
                matched.append((each, record))
            elif seen != "perhaps":
                return f"{each} is not at the server"
    if left:
        return f"the server has {next(iter(left.values()))}, which is no attempt of ours"
    _add(claims, matched, totals)
    return None


def _wrong(each: Claim, record: Served) -> str | None:
    if each.model != record.model or each.seen == "never":
        return f"{each} is {record} at the server"
    if each.seen == "whole" and not record.finished:
        return f"{each} came whole, and the server has it as aborted: {record}"
    if each.tokens is not None and record.counted and each.tokens != record.tokens:
        return f"{each} counted {each.tokens} tokens, and the server wrote {record}"
    return None


def _add(claims: Sequence[Claim], matched: Sequence[tuple[Claim, Served]], totals: Totals) -> None:
    totals.attempts += len(claims)
    totals.unseen += len(claims) - len(matched)
    totals.starts += len(matched)
    for each in claims:
        totals.outcomes[each.outcome] += 1
    for each, record in matched:
        totals.faults[record.fault] += 1
        totals.finishes += record.finished
        totals.aborts += not record.finished
        if each.tokens is not None and record.counted:
            totals.tokens += each.tokens
            totals.served += record.tokens
        else:
            totals.lost += record.tokens
