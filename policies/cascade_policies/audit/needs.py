"""What a kind of call seems to need, and why: rules in order, of which the first that fits decides.

Each rule is a function of a `Case` and gives a `Need`, or None. They go from what needs no model to
what needs the strongest one, so that a group ends at the cheapest tier there is evidence for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

from msgspec import Struct

from cascade_policies.audit.drafts import (
    Compute,
    Constant,
    Draft,
    Echo,
    JsonCopy,
    JsonField,
    Keywords,
)
from cascade_policies.audit.fitting import fitting, plain, raw_label
from cascade_policies.audit.groups import Group, quantile, spread
from cascade_policies.audit.keywords import cross_validate, learn
from cascade_policies.audit.repeats import Rephrasing
from cascade_policies.audit.spans import LOOKED, spans, structured
from cascade_policies.audit.templates import LEAST
from cascade_policies.report.chance import wilson

Level = Literal["code", "small", "mid", "frontier", "unknown"]

_ALMOST_ALL: Final = 0.98
_MOST: Final = 0.9
_KEYWORDS_RIGHT: Final = 0.96
_BETTER: Final = 0.8  # of the majority answer's mistakes that a rule must not make
_RARE: Final = 5
_MOST_LABELS: Final = 12
_LONGEST_LABEL: Final = 60
_SHORT: Final = 240
_LONG: Final = 600
_TOKEN_CHARS: Final = 4


class Need(Struct, frozen=True, kw_only=True):
    """What a group seems to need.

    Attributes:
        level: the cheapest tier that there is evidence for; ``unknown`` without any.
        kind: what sort of work it is, in a word or two.
        evidence: why, in sentences.
        right: answers that the evidence explains.
        total: answers it was tried on; 0 where nothing was counted.
        draft: a function that gives the answers, where the level is ``code``.
        labels: the answers, where there are only a few.
    """

    level: Level
    kind: str
    evidence: tuple[str, ...]
    right: int = 0
    total: int = 0
    draft: Draft | None = None
    labels: tuple[str, ...] = ()

    @property
    def misses(self) -> float:
        """The share of calls that this may at most fail on, at 95%; 0 where nothing was counted."""
        return 1.0 - wilson(self.right, self.total)[0] if self.total else 0.0


class Case(Struct, frozen=True):
    """A group, and whether its answers say something again."""

    group: Group
    rephrasing: Rephrasing | None


def need_of(group: Group, rephrasing: Rephrasing | None) -> Need:
    """What the first rule that fits says."""
    case = Case(group, rephrasing)
    return next(need for rule in RULES if (need := rule(case)) is not None)


def _too_few(case: Case) -> Need | None:
    answered = len(case.group.answered)
    if answered >= LEAST:
        return None
    return _unknown(
        f"{answered} answered {_calls(answered)}, and {LEAST} are needed to say anything"
    )


def _not_kept(case: Case) -> Need | None:
    group = case.group
    kept = sum(call.answer is not None for call in group.answered)
    if kept >= LEAST:
        return None
    if group.answers.total() >= LEAST and len(group.answers) == 1:
        return _unknown(
            f"all {group.answers.total():,} answers are equal, by their hashes: a constant, most "
            "likely; the texts were not kept, so nothing more can be said"
        )
    return _unknown("the answers were not kept: what they need cannot be told without them")


def _tool_calls(case: Case) -> Need | None:
    answered = case.group.answered
    using = [call for call in answered if call.tools]
    if len(using) < _MOST * len(answered):
        return None
    names = sorted({tool.name for call in using for tool in call.tools})
    several = sum(len(call.tools) > 1 or call.after_tools for call in using)
    if several > (1 - _MOST) * len(using) or len(names) > 2:
        return Need(
            level="frontier",
            kind="tool planning",
            evidence=(
                f"chooses among {len(names)} tools ({_list(names)}); {several:,} of {len(using):,} "
                "answers call several, or go on after a tool's result",
            ),
        )
    found, total = spans(using, lambda call: [t.arguments for t in call.tools])
    if total and found >= _MOST * total:
        return Need(
            level="small",
            kind="tool parameters",
            evidence=(
                f"always calls {_list(names)}, once; {found:,} of the {total:,} values it fills in "
                "stand in the prompt",
            ),
            right=found,
            total=total,
        )
    return Need(
        level="mid",
        kind="tool parameters",
        evidence=(
            f"calls {_list(names)}; only {found:,} of the {total:,} values it fills in stand in "
            "the prompt",
        ),
    )


def _code(case: Case) -> Need | None:
    """Answers that a function without any learning gives."""
    group, examples = case.group, case.group.examples
    if group.prompt_template is None or len(examples) < LEAST:
        return None
    if (best := fitting(group.prompt_template.texts, examples)) is None:
        return None
    draft, right = best
    distinct = len({plain(example.answer) for example in examples})
    if isinstance(draft, Constant):
        # One exception may be the one that matters, as with an alarm.
        if distinct > 1 or len(group.answers) > 1:
            return None
        evidence = f"the same answer in all {len(group.answered):,} calls: {_quote(draft.answer)}"
    elif right < _ALMOST_ALL * len(examples) or distinct == 1:
        return None
    else:
        evidence = f"{right:,} of {len(examples):,} answers are {draft}"
    return Need(
        level="code",
        kind=_KINDS[type(draft)],
        evidence=(evidence,),
        right=right,
        total=len(examples),
        draft=draft,
    )


_KINDS: Final[Mapping[type, str]] = {
    Constant: "constant",
    Echo: "echo",
    Compute: "arithmetic",
    JsonCopy: "json in the prompt",
    JsonField: "json in the prompt",
}


def _labels(case: Case) -> Need | None:
    """A closed set of short answers; told by words, or by a small model."""
    examples = case.group.examples
    written: dict[str, list[str]] = {}
    for example in examples:
        written.setdefault(plain(example.answer), []).append(example.answer)
    few = len(written) <= min(_MOST_LABELS, len(examples) // 5)
    if len(examples) < LEAST or not few or max(map(len, written)) > _LONGEST_LABEL:
        return None
    names = sorted(written, key=lambda label: (-len(written[label]), label))
    labels = tuple(raw_label(written[name]) for name in names)
    shares = ", ".join(
        f"{_quote(label)} {len(written[name]) / len(examples):.0%}"
        for label, name in zip(labels[:4], names, strict=False)
    )
    about = f"{len(labels)} different answers ({shares}{', …' if len(labels) > 4 else ''})"
    return _told_by_words(case, dict(zip(names, labels, strict=True)), about) or Need(
        level="small",
        kind="closed set",
        evidence=(about, "no keywords tell them well enough"),
        labels=labels,
    )


def _told_by_words(case: Case, labels: Mapping[str, str], about: str) -> Need | None:
    group, rows = case.group, case.group.distinct
    texts = ["\n".join(row.values) for row in rows]
    answers = [labels[plain(row.answer)] for row in rows]
    rarest = min(Counter(answers).values())
    if len(labels) < 2 or len(rows) < 2 * LEAST or rarest < _RARE or group.prompt_template is None:
        return None
    tested = cross_validate(texts, answers)
    mistakes = tested.total - tested.right
    enough = tested.right >= _KEYWORDS_RIGHT * tested.total
    if not enough or mistakes > (1 - _BETTER) * (tested.total - tested.majority):
        return None
    draft = Keywords(group.prompt_template.texts, learn(texts, answers))
    return Need(
        level="code",
        kind="keywords",
        evidence=(
            about,
            f"{draft}: right on {tested.right:,} of {tested.total:,} different prompts it was not "
            f"learned from (5-fold cross-validation); always the commonest answer would be right "
            f"on {tested.majority:,}",
        ),
        right=tested.right,
        total=tested.total,
        draft=draft,
        labels=tuple(labels.values()),
    )


def _rephrasing(case: Case) -> Need | None:
    found = case.rephrasing
    if found is None:
        return None
    return Need(
        level="small",
        kind="rephrasing",
        evidence=(
            f"{found.found:,} of {found.looked:,} answers say {found.source} again in other words: "
            "a small model does that, or the call can go",
        ),
        right=found.found,
        total=found.looked,
    )


def _extraction(case: Case) -> Need | None:
    """Answers that stand in the prompt: JSON by its values, short text as a whole."""
    calls = [call for call in case.group.answered if call.answer and not call.tools]
    as_json = sum(structured(call.answer) is not None for call in spread(calls, LOOKED))
    looked = min(len(calls), LOOKED)
    median = quantile(case.group.answer_lengths, 0.5) or 0
    if not looked or (as_json < _MOST * looked and median > _SHORT):
        return None
    found, total = spans(calls, lambda call: [call.answer or ""])
    kind = "values" if as_json >= _MOST * looked else "answers"
    if not total or found < _MOST * total:
        if kind == "answers":
            return None
        return Need(
            level="mid",
            kind="structured",
            evidence=(f"answers in JSON; {found:,} of its {total:,} values stand in the prompt",),
        )
    return Need(
        level="small",
        kind="extraction",
        evidence=(f"{found:,} of {total:,} {kind} stand in the prompt word for word",),
        right=found,
        total=total,
    )


def _free_text(case: Case) -> Need | None:
    """Text that is nothing of the above, by its length."""
    group = case.group
    median = int(quantile(group.answer_lengths, 0.5) or 0)
    different = f"{len(group.answers):,} different answers in {group.answers.total():,} calls"
    about = f"free text of {median:,} characters (median), about {median // _TOKEN_CHARS} tokens"
    if median > _LONG:
        return Need(level="frontier", kind="long free text", evidence=(about, different))
    return Need(level="mid", kind="short free text", evidence=(about, different))


Rule = Callable[[Case], Need | None]

RULES: Final[tuple[Rule, ...]] = (
    _too_few,
    _not_kept,
    _tool_calls,
    _code,
    _labels,
    _rephrasing,
    _extraction,
    _free_text,
)


def _unknown(why: str) -> Need:
    return Need(level="unknown", kind="", evidence=(why,))


def _quote(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 40 else f"{text[:39]}…")


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def _calls(n: int) -> str:
    return "call" if n == 1 else "calls"
