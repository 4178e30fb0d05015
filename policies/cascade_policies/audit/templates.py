"""Mining prompt templates: what many prompts have in common, and the parts that vary.

Prompts are split by how they begin and how they end, again and again: a beginning or an end of
some words that many share is a template's own text. What is left between is looked through for
words that stand in every prompt of the group. Nothing is random, and no two prompts are compared
with each other, so the time grows with the length of all prompts together. The idea of a tree of
fixed words is that of Drain (He et al., ICWS 2017), from both ends instead of one.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from msgspec import Struct

LEAST: Final = 20
"""Prompts that a template needs: what fewer have in common may be chance."""

_DEEPEST: Final = 12
_BELOW_TRUNK: Final = 3  # levels: by then it is values that are told apart
_KEY_WORDS: Final = (6, 4, 3)
_LABEL_WORDS: Final = 4
_KEY_CHARS: Final = 160
_COVERED: Final = 0.9
_SHARE: Final = 0.05
_SHARED_WORDS: Final = 4  # fewer may be a greeting
_LONG: Final = 60
_SAMPLE: Final = 40
_MOST_SLOTS: Final = 24
_DIGITS: Final = re.compile(r"\d+")
_SAYS: Final = 5
_LABEL: Final = re.compile(r"[^\W\d_][\w-]*:")
SLOT: Final = "{…}"
"""How a varying part is shown."""

SYSTEM_END: Final = "\x1e"
"""Between a system message and its prompt, while templates are mined; it counts as white space."""


class Template(Struct, frozen=True):
    """The fixed texts of a prompt: before, between and after the parts that vary.

    With one text nothing varies. The first and the last may be empty.
    """

    texts: tuple[str, ...]

    def values(self, prompt: str) -> tuple[str, ...] | None:
        """The varying parts of a prompt, or None when it has another template."""
        if len(self.texts) == 1:
            return () if prompt == self.texts[0] else None
        first, *between, last = self.texts
        if not prompt.startswith(first) or not prompt.endswith(last):
            return None
        at, end = len(first), len(prompt) - len(last)
        values = []
        for text in between:
            found = prompt.find(text, at, end)
            if found < 0:
                return None
            values.append(prompt[at:found])
            at = found + len(text)
        if at > end:
            return None
        return (*values, prompt[at:end])

    def __str__(self) -> str:
        return SLOT.join(self.texts)


class Mined(NamedTuple):
    """A template, the places of its prompts in the list that was mined, and its ``trunk``.

    The trunk is what the template is a branch of, and says something by itself. Templates of one
    trunk may be different tasks that begin alike, or one task whose values often begin alike.
    """

    template: Template
    members: list[int]
    trunk: Template


class _Leaf(NamedTuple):
    template: Template
    texts: list[str]
    trunk: Template


def mine(prompts: Sequence[str]) -> list[Mined]:
    """Every prompt in exactly one group. Deterministic; takes some microseconds a prompt.

    What fits no template that `LEAST` prompts share stands together in one group at most, whose
    template is one varying part.
    """
    places: dict[str, list[int]] = defaultdict(list)
    for i, prompt in enumerate(prompts):
        places[prompt].append(i)
    leaves: list[_Leaf] = []
    if places:
        _split(list(places), "", "", None, _DEEPEST, leaves)
    found: dict[tuple[Template, Template], list[int]] = defaultdict(list)
    for template, texts, trunk in leaves:
        for text in texts:
            often = places[text]
            # A prompt without any varying part, asked over and over, is a template by itself.
            alone = len(often) >= LEAST and template.texts == ("", "")
            fixed = Template((text,))
            found[(fixed, fixed) if alone else (template, trunk)] += often
    return [Mined(template, sorted(its), trunk) for (template, trunk), its in found.items()]


def _split(
    middles: list[str],
    before: str,
    after: str,
    trunk: Template | None,
    depth: int,
    leaves: list[_Leaf],
) -> None:
    """Sort texts, of which ``before`` and ``after`` were cut off, into groups."""
    if len(middles) == 1 and not before and not after:
        loose = Template(("", ""))
        leaves.append(_Leaf(loose, middles, loose))
        return
    head, tail = _shared(middles)
    inner = [text[len(head) : len(text) - len(tail)] for text in middles]
    before, after = before + head, tail + after
    branches = _branches(inner) if depth and len(inner) >= 2 * LEAST else None
    if branches is None:
        template = _template(inner, before, after)
        texts = [before + text + after for text in inner]
        leaves.append(_Leaf(template, texts, trunk or template))
        return
    if trunk is None and _says(before, after):
        trunk = _template(inner, before, after)
        depth = min(depth, _BELOW_TRUNK)
    for branch in branches:
        _split(branch, before, after, trunk, depth - 1, leaves)


def _says(before: str, after: str) -> bool:
    """Whether fixed texts are enough of a prompt to be a task's: a system message may be all's."""
    words = len(after.split())
    if SYSTEM_END in before:
        words += len(before.rpartition(SYSTEM_END)[2].split())
    return words >= _SAYS


def _shared(texts: list[str]) -> tuple[str, str]:
    """What all begin and end with, in whole words."""
    head = _common(min(texts), max(texts))
    if len(texts) == 1:
        return head, ""
    head = head[: _boundary(head)]
    shortest = min(len(text) for text in texts) - len(head)
    backwards = [text[: len(head) - 1 : -1] if head else text[::-1] for text in texts]
    tail = _common(min(backwards), max(backwards))[:shortest]
    return head, tail[: _boundary(tail)][::-1]


def _common(first: str, last: str) -> str:
    """What two texts begin with; if all others lie between them in order, all begin with it."""
    shortest = min(len(first), len(last))
    at = next((i for i in range(shortest) if first[i] != last[i]), shortest)
    return first[:at]


def _boundary(text: str) -> int:
    """Where the last whole word of a text ends: its rest belongs to what varies."""
    at = len(text)
    while at and not text[at - 1].isspace():
        at -= 1
    return at


def _branches(middles: list[str]) -> list[list[str]] | None:
    """The texts apart by how they begin, or else by how they end; None when nothing tells."""
    for from_end in (False, True):
        ends = [_words_at(text, from_end) for text in middles]
        for words in _KEY_WORDS:
            keys = [_key(at, words, from_end) for at in ends]
            share = _SHARE if words >= _SHARED_WORDS else 1.0
            if apart := _apart(middles, keys, share):
                return apart
    return _apart(middles, [_label(_words_at(text, from_end=False)) for text in middles], 1.0)


def _apart(middles: list[str], keys: list[str], share: float) -> list[list[str]] | None:
    """The texts by their keys, those whose key tells nothing together; None if none tells."""
    big = _telling(Counter(keys), share)
    apart: dict[str, list[str]] = defaultdict(list)
    for key, text in zip(keys, middles, strict=True):
        apart[key if key in big else ""].append(text)
    return list(apart.values()) if len(apart) > 1 else None


def _telling(counts: Counter[str], share: float) -> set[str]:
    """The keys that are templates' own words; none where they are what people write.

    Where nearly every text has a key that many share, all of these are. Else only those are that
    are long, or that a ``share`` of all texts have.
    """
    big = {key for key, n in counts.items() if n >= LEAST and key}
    total = counts.total()
    if len(big) > 1 and sum(counts[key] for key in big) >= _COVERED * total:
        return big
    return {key for key in big if len(key) >= _LONG or counts[key] >= share * total}


def _words_at(text: str, from_end: bool) -> list[str]:
    """The first words of a text, or the last ones, with their digits alike."""
    part = text[-_KEY_CHARS:] if from_end else text[:_KEY_CHARS]
    return _DIGITS.sub("0", part).split()


def _key(words_at: list[str], words: int, from_end: bool) -> str:
    if len(words_at) < words:
        return ""
    return " ".join(words_at[-words:] if from_end else words_at[:words])


def _label(words_at: list[str]) -> str:
    """The label that a text begins with, like ``Ticket:`` or ``List of parts:``; or ""."""
    ends = (i for i, word in enumerate(words_at[:_LABEL_WORDS]) if word.endswith(":"))
    return " ".join(words_at[: next(ends, -1) + 1])


def _template(inner: list[str], before: str, after: str) -> Template:
    if len(inner) == 1 and not inner[0]:
        return Template((before + after,))
    return Template((before, *_between(inner), after))


def _between(inner: list[str]) -> Iterable[str]:
    """Fixed texts inside: words that stand in every text once, and always in the same order."""
    if len(inner) < LEAST:
        return ()
    step = max(1, len(inner) // _SAMPLE)
    split = [text.split() for text in inner[::step][:_SAMPLE]]
    common = set.intersection(*(_once(words) for words in split))
    labels = [word for word in split[0] if word in common and _LABEL.fullmatch(word)]
    orders = [[w for w in words if w in common] for words in split]
    kept = [w for w in labels if all(_in_order(w, labels, order) for order in orders)]
    # Glued to the white space around it, a label is not found inside another word.
    between = [f" {word} " for word in kept[:_MOST_SLOTS]]
    fitting = _spaced(inner, between)
    return fitting if fitting else ()


def _once(words: list[str]) -> set[str]:
    return {word for word, n in Counter(words).items() if n == 1}


def _in_order(word: str, labels: list[str], order: list[str]) -> bool:
    index = {label: i for i, label in enumerate(order)}
    before = labels[: labels.index(word)]
    return all(index[other] < index[word] for other in before)


def _spaced(inner: list[str], between: list[str]) -> list[str]:
    """The fixed texts with the white space that they really have; only those all texts have."""
    kept: list[str] = []
    for text in between:
        word = text.strip()
        for before in ("\n", " ", ""):
            spaced = before + word
            trial = Template(("", *kept, spaced, ""))
            if all(trial.values(one) is not None for one in inner):
                kept.append(spaced)
                break
    return kept
