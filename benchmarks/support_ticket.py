"""What a support ticket costs before and after: fourteen frontier calls, and the routed form.

    python -m benchmarks.support_ticket [--tickets N] [--seed S] [--json] [--check]

The workflow is that of `benchmarks.ticket_day`. What is routed, and to what, is not written down
here: `cascade audit`'s own code looks through the log of an earlier day (`AUDITED` other tickets),
and its proposal is run: the drafts it made of code tiers, a small model for what it calls small,
the frontier model for the rest. Every call goes through the real engine with real verifiers, over
scripted models on a virtual clock, so costs and times are exact and nothing is asked or waited for.

Where the figures come from:

- Prices are the published ones of claude-opus-4-1 ($15 and $75 for a million tokens read and
  written) and claude-haiku-4-5 ($1 and $5), looked up, not typed.
- Tokens are counted from the texts at four characters each, and the handbook's `HANDBOOK_TOKENS`
  on top where it is in the prompt. Before, it is in all fourteen: 14 * (3,700 + about 110) tokens
  read at $15 are $0.80, and some 550 written at $75 are $0.04: about $0.84 a ticket.
- Speeds are assumed: the frontier model takes 1.5 s to its first token and writes 50 tokens a
  second; the small one takes 0.4 s and writes 150. The calls of a ticket follow one another.
- The small model's answer fails its check in `SMALL_FAILS` of its calls, and the frontier model
  answers after it; both are paid.

Four forms are run, so that what routing saves is not mixed up with what other things save:

- ``before``: every call to the frontier model, the handbook in each;
- ``before, cached``: the same, with the handbook read from the provider's prompt cache by all calls
  of a ticket but the first (what writing to the cache costs extra is left out);
- ``routed, same prompts``: as proposed, and every prompt as it was;
- ``routed``: as proposed, and every prompt with what its task needs. The small tasks need no
  handbook. The draft needs its sections on what the ticket is about, `SECTION_TOKENS` each, and
  which these are, the checks have said by then.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks.limits import add_limits, exceeded
from benchmarks.ticket_day import STEPS, Step, made, tickets
from benchmarks.ticket_forms import FORMS, SMALL, Form, Ran, run
from benchmarks.ticket_logs import request_log
from cascade_policies.audit.audit import Audit, audit_calls
from cascade_policies.audit.sources import read_calls

AUDITED: Final = 250
"""Tickets of the day that is audited."""


TARGETS: Final = {"after_usd": 0.03}
"""US dollars a ticket, routed."""


@dataclass(frozen=True, slots=True)
class Row:
    """One form for the table: US dollars and seconds a ticket, model calls a ticket.

    ``right`` is the share of the answers that have a right one, and are it.
    """

    form: str
    cost: float
    p50: float
    p95: float
    frontier_calls: float
    small_calls: float
    code_calls: float
    right: float


def audit_of_an_earlier_day(seed: int) -> Audit:
    """What the audit says of a day with other tickets."""
    day = tickets(AUDITED, seed + 1_000)
    with TemporaryDirectory() as folder:
        log = Path(folder) / "requests.jsonl"
        log.write_text("\n".join(request_log(made(day, seed + 1_000))), encoding="utf-8")
        return audit_calls(read_calls(log), small=":".join(SMALL))


def measure(count: int, seed: int) -> tuple[Audit, list[Row]]:
    """The audit of the earlier day, and every form on the same tickets."""
    import trio
    from trio.testing import MockClock

    audit = audit_of_an_earlier_day(seed)
    day = tickets(count, seed)
    rows = []
    for form in FORMS:
        job: Callable[[], Any] = partial(run, form, audit, day, seed)
        ran: Ran = trio.run(job, clock=MockClock(autojump_threshold=0))
        rows.append(_row(form, ran))
    return audit, rows


def _row(form: Form, ran: Ran) -> Row:
    ordered = sorted(ran.seconds)
    count = len(ordered)
    return Row(
        form=form.name,
        cost=mean(ran.costs),
        p50=ordered[(count - 1) // 2],
        p95=ordered[int(0.95 * (count - 1))],
        frontier_calls=ran.calls["frontier"] / count,
        small_calls=ran.calls["small"] / count,
        code_calls=ran.calls["code"] / count,
        right=ran.right / ran.judged,
    )


def proposal(audit: Audit) -> dict[str, tuple[str, str]]:
    """Step → what the audit says it needs, and as what."""
    return {one.name: (one.need.level, one.need.kind) for one in audit.findings}


def expected(steps: Sequence[Step] = STEPS) -> dict[str, tuple[str, str]]:
    """Step → what it does need."""
    return {step.name: (step.level, step.kind) for step in steps}


def ratios(rows: Sequence[Row]) -> Mapping[str, float]:
    """How many times cheaper than before each other form is."""
    return {row.form: rows[0].cost / row.cost for row in rows[1:]}


def table(audit: Audit, rows: Sequence[Row], count: int) -> str:
    """For people."""
    levels = Counter(level for level, _ in proposal(audit).values())
    needs = ", ".join(f"{n} {level}" for level, n in levels.most_common())
    lines = [
        f"{count} tickets of 14 calls; the audit of {AUDITED} others proposes: {needs}",
        f"  {'form':<22}{'a ticket':>10}{'cheaper':>9}{'p50':>9}{'p95':>9}"
        f"{'frontier':>10}{'small':>7}{'code':>6}{'right':>8}",
    ]
    for row in rows:
        lines.append(
            f"  {row.form:<22}{f'${row.cost:.4f}':>10}{rows[0].cost / row.cost:>8.1f}x"
            f"{row.p50:>7.1f} s{row.p95:>7.1f} s{row.frontier_calls:>10.2f}"
            f"{row.small_calls:>7.2f}{row.code_calls:>6.2f}{row.right:>8.2%}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Audit, run, print."""
    parser = argparse.ArgumentParser(description="A support ticket before and after routing.")
    parser.add_argument("--tickets", type=int, default=100, help="tickets of the day")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    add_limits(parser, TARGETS)
    options = parser.parse_args(arguments)
    if options.tickets < 1:
        parser.error(f"--tickets {options.tickets}: needs 1 or more")
    audit, rows = measure(options.tickets, options.seed)
    if options.json:
        print(
            json.dumps(
                {
                    "tickets": options.tickets,
                    "proposal": {name: list(need) for name, need in proposal(audit).items()},
                    "forms": [asdict(row) for row in rows],
                    "before_usd": rows[0].cost,
                    "after_usd": rows[-1].cost,
                    "ratio": rows[0].cost / rows[-1].cost,
                    "ratios": ratios(rows),
                }
            )
        )
    else:
        print(table(audit, rows, options.tickets))
    missed = exceeded({"after_usd": rows[-1].cost}, options, TARGETS)
    for line in missed:
        print(line, file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
