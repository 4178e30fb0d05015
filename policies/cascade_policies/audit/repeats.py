"""What was asked before: equal requests, and answers that only say a text again in other words."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from cascade.cost import FREE, Cost
from cascade_policies.audit.calls import Call, text_key
from cascade_policies.audit.groups import Group, spread

OWN_INPUT: Final = "its own input"

_WORD: Final = re.compile(r"[^\W\d_]{4,}|\d+(?:[.,]\d+)*")
_STEM: Final = 5
_TEXT_READ: Final = 6_000
_LEAST_STEMS: Final = 6
_KEPT: Final = 0.5  # of the answer's words that the source has
_COVERED: Final = 0.4  # of the source's words that the answer has
_MOST_CALLS: Final = 120
_MOST_IN_SESSION: Final = 60
_SHARED: Final = 40
_MOST_ALIKE: Final = 20
_MOST_LINES: Final = 100
_USUAL: Final = 0.6

_COMMON: Final = frozenset(
    ["about", "after", "also", "been", "before", "could", "does", "from", "have", "here", "into",
     "just", "like", "more", "much", "only", "other", "over", "please", "really", "should", "some",
     "than", "that", "their", "them", "then", "there", "these", "they", "this", "very", "what",
     "when", "where", "which", "will", "with", "would", "your", "youre", "were"]
)  # fmt: skip


class Repeated(Struct, frozen=True):
    """Calls that were made before, word for word.

    Attributes:
        calls: how many a cache would have saved.
        cost: what they cost.
        same: of those, how many got the answer that the first one got.
    """

    calls: int
    cost: Cost
    same: int


class Rephrasing(Struct, frozen=True):
    """Calls whose answers say something again.

    Attributes:
        source: what they say again: ``its own input``, or ``the answer of NAME``.
        found: how many of the calls looked at.
        looked: how many that is.
    """

    source: str
    found: int
    looked: int


def repeated(calls: Iterable[Call]) -> Repeated:
    """What of these calls was asked before."""
    first: dict[bytes, bytes] = {}
    calls_again, same, cost = 0, 0, FREE
    for call in calls:
        if not call.prompt_key or call.failed:
            continue
        before = first.get(call.prompt_key)
        if before is None:
            first[call.prompt_key] = call.answer_key
            continue
        calls_again += 1
        same += before == call.answer_key != b""
        if call.cost.low is not None:
            cost += call.cost
    return Repeated(calls_again, cost, same)


def stems(text: str) -> frozenset[str]:
    """The words of a text that carry its meaning, cut to their beginnings, and its numbers."""
    words = _WORD.findall(text[:_TEXT_READ].lower())
    return frozenset(word[:_STEM] for word in words if word not in _COMMON)


def rephrases(answer: str, source: str) -> bool:
    """Whether an answer has most of a text's words, but is not that text.

    Lexical: names, numbers and the words of the matter survive a rephrasing.
    """
    said, given = stems(answer), stems(source)
    if min(len(said), len(given)) < _LEAST_STEMS or answer.strip() == source.strip():
        return False
    shared = len(said & given)
    return shared >= _KEPT * len(said) and shared >= _COVERED * len(given)


def says_input_again(group: Group) -> Rephrasing | None:
    """Whether the answers of a group usually say their own input again."""
    looked = _prose(group)
    found = sum(_says_input(call, group) for call in looked)
    if not found or found < _USUAL * len(looked):
        return None
    return Rephrasing(OWN_INPUT, found, len(looked))


def _says_input(call: Call, group: Group) -> bool:
    """By what varies of the prompt; or by all of it, as inputs may have much in common."""
    answer, prompt = call.answer or "", call.prompt or ""
    return rephrases(answer, group.varying(call)) or rephrases(answer, prompt)


def _prose(group: Group) -> list[Call]:
    kept = [call for call in group.answered if call.prompt is not None and _is_prose(call)]
    return spread(kept, _MOST_CALLS)


def _is_prose(call: Call) -> bool:
    return bool(call.answer and not call.tools and call.answer[0] not in "{[`")


class Linked:
    """Which calls belong together: of one session, or, without any, about the same text."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self._sessions: dict[str | bytes, list[tuple[Call, Group]]] = defaultdict(list)
        self._answers: dict[str, list[tuple[Call, Group]]] = defaultdict(list)
        calls = sorted(
            ((call, group) for group in groups for call in group.answered),
            key=lambda pair: pair[0].line,
        )
        for call, group in calls:
            if call.answer is not None and len(call.answer.strip()) >= _SHARED:
                alike = self._answers[call.answer.strip()[:_SHARED]]
                if len(alike) < _MOST_ALIKE:
                    alike.append((call, group))
            its = self._sessions[self._session(call, group)]
            if len(its) < _MOST_IN_SESSION:
                its.append((call, group))

    def rephrasing(self, group: Group) -> Rephrasing | None:
        """What the answers of a group usually say again; None when they do not."""
        looked = _prose(group)
        sources = Counter(source for call in looked if (source := self._source(call, group)))
        if not sources or sources.total() < _USUAL * len(looked):
            return None
        return Rephrasing(sources.most_common(1)[0][0], sources.total(), len(looked))

    def _source(self, call: Call, group: Group) -> str:
        if _says_input(call, group):
            before = self._quoted(call, group)
            return OWN_INPUT if before is None else f"the answer of {before.name}"
        for other, of in self._sessions[self._session(call, group)]:
            if other.line >= call.line or of is group:
                continue
            if rephrases(call.answer or "", other.answer or ""):
                return f"the answer of {of.name}"
        return ""

    def _quoted(self, call: Call, group: Group) -> Group | None:
        """The other group that a call's prompt has an earlier answer of, at the start of a line."""
        prompt, at = call.prompt or "", 0
        for _ in range(_MOST_LINES):
            for other, of in self._answers.get(prompt[at : at + _SHARED], ()):
                earlier = other.line < call.line and of is not group
                if earlier and prompt.startswith((other.answer or "").strip(), at):
                    return of
            at = prompt.find("\n", at) + 1
            if not at:
                break
        return None

    @staticmethod
    def _session(call: Call, group: Group) -> str | bytes:
        if call.session:
            return call.session
        text = group.varying(call).strip()
        # A call without a session and without a long text belongs to no other one.
        return text_key(text) if len(text) >= _SHARED else str(call.line)
