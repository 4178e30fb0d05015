"""Calls of one kind: those of one call site whose prompts have one template."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from keyword import iskeyword
from math import ceil, log2
from typing import Final, NamedTuple
from unicodedata import normalize

from cascade_policies.audit.calls import Call, text_key
from cascade_policies.audit.fitting import Example, plain
from cascade_policies.audit.templates import SLOT, SYSTEM_END, Template, mine

MAX_EXAMPLES: Final = 400
"""Calls of a group that are looked at closely, evenly spread."""

_LETTERS: Final = re.compile(r"[^\W\d_]")
_LOOKED_AT: Final = 2_000  # characters
_NAME_WORDS: Final = 5
_LONGEST_NAME: Final = 48


class Group:
    """Calls of one kind, in the order they were made.

    Attributes:
        name: unique among the groups; a name in Python, of any script, and a quoted key in TOML.
        place: the call site, or "".
        template: of system message and prompt together; None where prompts were not kept.
        prompt_template: of the prompt alone; None where it cannot be told apart.
    """

    def __init__(self, place: str, template: Template | None, calls: Sequence[Call]) -> None:
        self.name = ""
        self.place = place
        self.template = template
        self.calls = calls
        self.prompt_template = None if template is None else _of_prompt(template, calls[0])

    @cached_property
    def answered(self) -> list[Call]:
        """The calls that have an answer, kept or not."""
        return [call for call in self.calls if not call.failed]

    @cached_property
    def examples(self) -> list[Example]:
        """Prompts with the parts that vary and their answers, evenly spread; tool calls aside."""
        if self.template is None or self.prompt_template is None:
            return []
        kept = [c for c in self.answered if c.prompt is not None and c.answer and not c.tools]
        found = []
        for call in spread(kept, MAX_EXAMPLES):
            assert call.prompt is not None
            assert call.answer is not None
            values = self.prompt_template.values(call.prompt)
            if values is not None:
                found.append(Example(call.prompt, values, call.answer))
        return found

    @cached_property
    def distinct(self) -> list[Example]:
        """As `examples`, each prompt once."""
        return list({example.prompt: example for example in self.examples}.values())

    @cached_property
    def answers(self) -> Counter[bytes]:
        """How often each answer was given; texts that differ in case or quotes are one."""
        return Counter(_answer_key(call) for call in self.answered if _answer_key(call))

    @property
    def entropy(self) -> float | None:
        """Shannon entropy of the answers in bits; None where they were not kept in any form."""
        total = self.answers.total()
        if not total:
            return None
        return -sum(n / total * log2(n / total) for n in self.answers.values()) + 0.0

    @cached_property
    def answer_lengths(self) -> list[int]:
        """Characters of the answers, tool calls included, sorted."""
        return sorted(
            call.answer_chars + sum(len(tool.arguments) for tool in call.tools)
            for call in self.answered
            if call.answer_chars is not None
        )

    @cached_property
    def latencies(self) -> list[float]:
        """Seconds, sorted, where they are known."""
        return sorted(call.latency for call in self.calls if call.latency is not None)

    @cached_property
    def models(self) -> list[str]:
        """The models that were called, from the one that cost most."""
        counts = Counter(call.model for call in self.calls)
        costs = dict.fromkeys(counts, 0.0)
        for call in self.calls:
            costs[call.model] += call.cost.high or 0.0
        return sorted(counts, key=lambda name: (-costs[name], -counts[name], name))

    def varying(self, call: Call) -> str:
        """The part of a call's prompt that varies; all of it where the template is not known."""
        values = None
        if call.prompt is not None and self.prompt_template is not None:
            values = self.prompt_template.values(call.prompt)
        return (call.prompt or "") if values is None else "\n".join(values)


def quantile(ordered: Sequence[float], q: float) -> float | None:
    """The smallest value that a share ``q`` of them do not exceed; None of nothing."""
    return ordered[max(0, ceil(q * len(ordered)) - 1)] if ordered else None


def spread(calls: Sequence[Call], most: int) -> list[Call]:
    """At most so many of the calls, evenly spread; always the same ones."""
    if len(calls) <= most:
        return list(calls)
    return [calls[i * len(calls) // most] for i in range(most)]


class Family(NamedTuple):
    """Groups that may be one: those of a call site whose templates have one trunk."""

    whole: Group
    parts: list[Group]


def families(calls: Iterable[Call]) -> Iterator[Family]:
    """Every call in one family."""
    places: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        places[call.place].append(call)
    for place, its in places.items():
        kept = [call for call in its if call.prompt is not None]
        trunks: dict[Template, list[tuple[Template, list[int]]]] = defaultdict(list)
        for template, members, trunk in mine([_text(call) for call in kept]):
            trunks[trunk].append((template, members))
        for trunk, branches in trunks.items():
            parts = [Group(place, t, [kept[i] for i in members]) for t, members in branches]
            everything = sorted(i for _, members in branches for i in members)
            whole = Group(place, trunk, [kept[i] for i in everything])
            yield Family(whole, parts if len(parts) > 1 else [whole])
        if rest := [call for call in its if call.prompt is None]:
            group = Group(place, None, rest)
            yield Family(group, [group])


def name_groups(groups: Sequence[Group]) -> None:
    """Give every group a name: its call site's, or else the first words of its template."""
    places = Counter(group.place for group in groups)
    taken: set[str] = set()
    for group in groups:
        wanted = name = _name(group, alone=places[group.place] == 1)
        number = 1
        while name in taken:
            number += 1
            name = f"{wanted}_{number}"
        taken.add(name)
        group.name = name


def _text(call: Call) -> str:
    return f"{call.system}{SYSTEM_END}{call.prompt}"


def _of_prompt(template: Template, call: Call) -> Template | None:
    """The part of a template that is behind the system message."""
    for i, text in enumerate(template.texts):
        if SYSTEM_END in text:
            return Template((text.partition(SYSTEM_END)[2], *template.texts[i + 1 :]))
    values = template.values(_text(call)) or ()
    for i, value in enumerate(values):
        if SYSTEM_END in value:
            return Template(("", *template.texts[i + 1 :]))
    return None


def shown_template(group: Group) -> str:
    """The template on one line, for people: of the prompt, where that says anything."""
    if group.template is None:
        return "(prompts were not kept)"
    own = "" if group.prompt_template is None else str(group.prompt_template)
    shown = own if own.replace(SLOT, "").strip() else str(group.template)
    return " ".join(shown.replace(SYSTEM_END, " ").split())


def _name(group: Group, *, alone: bool) -> str:
    words = _words(group.place)
    if not words or not alone:
        fixed = "" if group.template is None else str(group.template).replace(SLOT, " ")
        own = fixed.rpartition(SYSTEM_END)[2]
        words += (_words(own) or _words(fixed))[:_NAME_WORDS]
    name = "_".join(words or ["other"])[:_LONGEST_NAME].strip("_")
    return f"{name}_" if iskeyword(name) else name


def _words(text: str) -> list[str]:
    """The words of a text, of any script, that can stand in a name of Python."""
    # As Python itself reads names, so that the module of drafts has the names of the file.
    plain = normalize("NFKC", text[:_LOOKED_AT]).lower()
    parts = "".join(c if c != "_" and f"a{c}".isidentifier() else " " for c in plain).split()
    begun = (_LETTERS.search(part) for part in parts)
    return [found.string[found.start() :] for found in begun if found is not None]


def _answer_key(call: Call) -> bytes:
    if call.tools:
        return text_key("\n".join(f"{tool.name} {tool.arguments}" for tool in call.tools))
    return call.answer_key if call.answer is None else text_key(plain(call.answer))
