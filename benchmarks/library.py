"""What the ready policies make of their golden sets, with the real local models.

    python -m benchmarks.library [extract|classify|sql ...] [--json] [--limit N]

Every set is answered by the policy, and by each of its models alone: the same prompt and
parameters, but only the form of the answer is checked (a label, a query, JSON of the schema),
so that every well-formed answer counts. Rows used while prompts and thresholds were chosen
(``tuned``) and rows that were not (``held_out``) are reported apart. A row without a right answer
counts as wrong when anything is accepted for it.

The seconds are those of a whole call on this machine: engine, loopback HTTP, reading the prompt,
writing the answer, checks, and every tier that was tried. Not in them: loading the weights and
reading a model's instructions for the first time, which one unmeasured call does. llama.cpp keeps
what a prompt has in common with the one before it in the same slot, so instructions (and for
``sql`` now and then a schema) are not read again, as with any server that stays up. No prompt is
asked twice in a pass, rows come in shuffled order (always the same), and every pass has freshly
started servers, so that no answer is faster because an earlier pass asked the same.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import sqrt
from random import Random
from statistics import fmean, quantiles
from typing import Any

from benchmarks.golden import GoldenRow, is_right, read_golden
from cascade import CascadeExhausted, Engine, Policy, Tier
from cascade.policy import Exhausted
from cascade.providers.local.server import close_all
from cascade.verifiers import JsonSchema, OneOf, Sql
from cascade_policies.search import LIBRARY, find_policy

FORMS: Mapping[str, Any] = {
    "extract": JsonSchema(LIBRARY / "extract.schema.json"),
    "classify": OneOf("billing", "technical", "account"),
    "sql": Sql("sqlite"),
}
"""The form of an answer: all that is checked of a model alone."""

UNMEASURED: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "extract": ("The vase I bought on 4 May for 20 euros came broken, number V-1. What now?", {}),
    "classify": ("Where do I see how many days are left?", {}),
    "sql": ("Colours of the red cars", {"schema": "CREATE TABLE cars (id INTEGER, colour TEXT);"}),
}
"""Asked of each model once before a pass; in no golden set."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One row answered. ``tiers`` were tried in this order; the last one answered if accepted."""

    id: str
    split: str
    answerable: bool
    accepted: bool
    right: bool
    tiers: tuple[str, ...]
    seconds: float
    text: str


@dataclass(frozen=True, slots=True)
class Escalation:
    """How often a tier passed a row on (the last one: gave it up), with a 95% interval."""

    tier: str
    reached: int
    escalated: int
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Summary:
    """One subject on one split. ``left`` rows were not accepted, ``rightly_left`` of them right
    so; ``answered`` has the accepted rows by tier, ``wrong_by`` those of them that are wrong."""

    policy: str
    subject: str
    split: str
    rows: int
    right: int
    wrong: int
    left: int
    rightly_left: int
    unanswerable: int
    answered: Mapping[str, int]
    wrong_by: Mapping[str, int]
    escalations: Sequence[Escalation]
    mean: float
    p50: float
    p95: float


def wilson(hits: int, of: int) -> tuple[float, float]:
    """The 95% Wilson score interval of a share; the whole of [0, 1] without a trial."""
    if of == 0:
        return 0.0, 1.0
    z = 1.959964
    share = hits / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return max(0.0, middle - half), min(1.0, middle + half)


def percentile(values: Sequence[float], percent: int) -> float:
    """Interpolated between the two nearest values."""
    if len(values) == 1:
        return values[0]
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def summarise(
    policy: str, subject: str, split: str, tiers: Sequence[str], trials: Sequence[Trial]
) -> Summary:
    """One line of the table from the trials of one split; needs at least one."""
    accepted = [trial for trial in trials if trial.accepted]
    wrong = [trial for trial in accepted if not trial.right]
    left = [trial for trial in trials if not trial.accepted]
    escalations = []
    for tier in tiers:
        reached = [trial for trial in trials if tier in trial.tiers]
        answered = sum(trial.accepted and trial.tiers[-1] == tier for trial in reached)
        out = len(reached) - answered
        escalations.append(Escalation(tier, len(reached), out, wilson(out, len(reached))))
    seconds = [trial.seconds for trial in trials]
    return Summary(
        policy=policy,
        subject=subject,
        split=split,
        rows=len(trials),
        right=len(accepted) - len(wrong),
        wrong=len(wrong),
        left=len(left),
        rightly_left=sum(not trial.answerable for trial in left),
        unanswerable=sum(not trial.answerable for trial in trials),
        answered={tier: sum(t.tiers[-1] == tier for t in accepted) for tier in tiers},
        wrong_by={tier: sum(t.tiers[-1] == tier for t in wrong) for tier in tiers},
        escalations=escalations,
        mean=fmean(seconds),
        p50=percentile(seconds, 50),
        p95=percentile(seconds, 95),
    )


async def ask(engine: Engine, name: str, policy: Policy, row: GoldenRow) -> Trial:
    """One row."""
    started = time.perf_counter()
    try:
        result = await engine.run(policy, row.prompt, variables=row.variables)
        attempts, text, accepted, last = result.attempts, result.text, result.accepted, result.tier
    except CascadeExhausted as error:
        attempts, text, accepted, last = error.attempts, "", False, ""
    seconds = time.perf_counter() - started
    tiers = list(dict.fromkeys(attempt.tier for attempt in attempts))
    if accepted and tiers[-1] != last:
        raise RuntimeError(f"{row.id}: {last} answered after {tiers}: not a plain cascade")
    right = accepted and is_right(name, row, text)
    answerable = row.reference is not None
    return Trial(row.id, row.split, answerable, accepted, right, tuple(tiers), seconds, text)


def alone(name: str, tier: Tier, *, exhausted: Exhausted = "raise") -> Policy:
    """One tier without its gate: only the form of its answers is checked."""
    bare = replace(tier, verify=FORMS[name], threshold=None)
    return Policy(f"{name}-{tier.name}", [bare], exhausted=exhausted)


def is_local(tier: Tier) -> bool:
    """Whether the tier is an embedded model, and not code."""
    return str(tier.model).startswith("local:")


async def run_pass(
    name: str, policy: Policy, rows: Sequence[GoldenRow], *, label: str
) -> list[Trial]:
    """All rows through one policy, by freshly started models."""
    close_all()
    prompt, variables = UNMEASURED[name]
    trials: list[Trial] = []
    async with Engine() as engine:
        for tier in filter(is_local, policy.tiers):
            # Fails here, and not in every row, when a model cannot run.
            once = alone(name, tier, exhausted="best")
            await engine.run(once, prompt, variables=variables)
        for index, row in enumerate(rows, 1):
            trials.append(await ask(engine, name, policy, row))
            progress(label, index, len(rows))
    return trials


async def measure(name: str, limit: int | None) -> tuple[list[Summary], dict[str, list[Trial]]]:
    """The policy and each of its models alone, on every row of its golden set."""
    policy = find_policy(LIBRARY / f"{name}.toml")
    golden = read_golden(name)
    splits = ("tuned", "held_out")
    rows = [row for split in splits for row in [r for r in golden if r.split == split][:limit]]
    Random(0).shuffle(rows)  # noqa: S311  (an order, no secret)
    subjects = {"policy": policy}
    for tier in filter(is_local, policy.tiers):
        subjects[f"{tier.name} alone"] = alone(name, tier)
    summaries: list[Summary] = []
    trials: dict[str, list[Trial]] = {}
    for subject, asked in subjects.items():
        label = f"{name}, {subject}"
        trials[label] = await run_pass(name, asked, rows, label=label)
        tiers = [tier.name for tier in asked.tiers]
        for split in splits:
            of_split = [trial for trial in trials[label] if trial.split == split]
            summaries.append(summarise(name, subject, split, tiers, of_split))
    return summaries, trials


def progress(label: str, done: int, of: int) -> None:
    """One line on a terminal, nothing in a log."""
    if sys.stderr.isatty():
        end = "\n" if done == of else ""
        print(f"\r{label}: {done}/{of}", end=end, file=sys.stderr, flush=True)


def table(summaries: Sequence[Summary]) -> str:
    """The summaries for people: what was answered, then what was escalated."""
    lines = [
        f"{'policy':<9} {'subject':<13} {'split':<8} {'rows':>4} {'right':>5} {'wrong':>5} "
        f"{'left':>4} {'rightly':>7}  {'mean':>6} {'p50':>6} {'p95':>6}  answered by (wrong)"
    ]
    for row in summaries:
        by = ", ".join(
            f"{tier} {n}" + (f" ({row.wrong_by[tier]})" if row.wrong_by[tier] else "")
            for tier, n in row.answered.items()
        )
        rightly = f"{row.rightly_left}/{row.unanswerable}"
        lines.append(
            f"{row.policy:<9} {row.subject:<13} {row.split:<8} {row.rows:>4} {row.right:>5} "
            f"{row.wrong:>5} {row.left:>4} {rightly:>7}  "
            f"{row.mean:>4.2f} s {row.p50:>4.2f} s {row.p95:>4.2f} s  {by}"
        )
    lines += ["", f"{'policy':<9} {'split':<8} {'tier':<7} {'escalated':>9}   share (95% interval)"]
    for row in summaries:
        for step in row.escalations if row.subject == "policy" else ():
            low, high = step.interval
            share = f"{step.escalated / step.reached:.0%}" if step.reached else "none"
            lines.append(
                f"{row.policy:<9} {row.split:<8} {step.tier:<7} "
                f"{f'{step.escalated}/{step.reached}':>9}   {share} ({low:.0%} to {high:.0%})"
            )
    return "\n".join(lines)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The ready policies on their golden sets.")
    parser.add_argument("policies", nargs="*", metavar="policy", help=", ".join(FORMS))
    parser.add_argument("--json", action="store_true", help="one JSON object, with every answer")
    parser.add_argument("--limit", type=int, help="only the first N rows of each split")
    options = parser.parse_args()
    for name in options.policies:
        if name not in FORMS:
            parser.error(f"{name!r}: choose from {', '.join(FORMS)}")
    if options.limit is not None and options.limit < 1:
        parser.error("--limit: needs a whole number above 0")
    summaries: list[Summary] = []
    trials: dict[str, list[Trial]] = {}
    for name in options.policies or FORMS:
        found, answers = asyncio.run(measure(name, options.limit))
        summaries += found
        trials |= answers
    if options.json:
        shown = {label: [asdict(trial) for trial in some] for label, some in trials.items()}
        print(json.dumps({"rows": [asdict(row) for row in summaries], "trials": shown}))
    else:
        print(table(summaries))
    return 0


if __name__ == "__main__":
    sys.exit(main())
