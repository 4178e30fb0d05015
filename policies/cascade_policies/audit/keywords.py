"""Answers told by words: decision lists learned by sequential covering, and cross-validated.

A rule is a feature of the text and the answer it leads to; the first rule that fits decides, and a
text that none fits gets the default. Which texts have a feature is kept as the bits of an integer,
so that one rule is weighed against thousands of features in a few milliseconds.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from itertools import pairwise
from typing import Final
from zlib import crc32

from msgspec import Struct

MAX_ROWS: Final = 400
"""Texts that are learned from; more make a rule no clearer."""

FOLDS: Final = 5
_MOST_RULES: Final = 16
_LEAST_GAIN: Final = 2
_PRECISION: Final = 0.9
_MOST_DEFAULTS: Final = 3
_STEM: Final = 5
_TEXT_READ: Final = 4_000
_MOST_WORDS: Final = 400
_MOST_FEATURES: Final = 6_000  # of those that several texts have: the commonest

_WORD: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)?")

SHAPES: Final[Mapping[str, re.Pattern[str]]] = {
    "an e-mail address": re.compile(r"[\w.+-]{1,64}@[\w-]{1,64}\.\w{2,}", re.ASCII),
    "a web address": re.compile(r"https?://", re.ASCII),
    "an amount of money": re.compile(r"[$€£]\s?\d|\d\s?(?:[$€£]|USD|EUR|GBP)\b", re.ASCII),
    "a reference of letters and digits": re.compile(r"\b[A-Z]{1,6}-?\d{2,}\b", re.ASCII),
    "a date": re.compile(r"\b\d{4}-\d{2}-\d{2}\b|\b\d{1,2}[./]\d{1,2}[./]\d{2,4}\b", re.ASCII),
    "a number": re.compile(r"\d", re.ASCII),
    "a question mark": re.compile(r"\?"),
    "an exclamation mark": re.compile(r"!"),
    "a word in capitals": re.compile(r"\b[A-Z]{4,}\b", re.ASCII),
}
"""What is looked for besides words."""

Rules = tuple[tuple[str, str], ...]


class WordRules(Struct, frozen=True):
    """A decision list: pairs of a feature and an answer, and the answer when none fits."""

    rules: Rules
    default: str

    def answer(self, text: str) -> str:
        """What the first rule that fits leads to."""
        return self.told_by(features(text))

    def told_by(self, found: Set[str]) -> str:
        """The same of a text's features."""
        return next((label for name, label in self.rules if name in found), self.default)


class Validated(Struct, frozen=True):
    """How rules did on texts they were not learned from: right ones of all, and those that the
    most common answer alone would have right."""

    right: int
    total: int
    majority: int


def features(text: str) -> set[str]:
    """Words, beginnings of longer words (``refun…``), pairs of words, and `SHAPES`."""
    text = text[:_TEXT_READ]
    words = [word.lower() for word in _WORD.findall(text)[:_MOST_WORDS]]
    found = set(words)
    found.update(f"{word[:_STEM]}…" for word in words if len(word) > _STEM)
    found.update(f"{a} {b}" for a, b in pairwise(words))
    found.update(f"({name})" for name, pattern in SHAPES.items() if pattern.search(text))
    return found


class _Rows:
    """Texts as features and labels, and both as bits."""

    def __init__(self, texts: Sequence[str], labels: Sequence[str]) -> None:
        self.features = [features(text) for text in texts]
        self.labels = labels
        self.masks: dict[str, int] = defaultdict(int)
        self.classes: dict[str, int] = defaultdict(int)
        for i, (found, label) in enumerate(zip(self.features, labels, strict=True)):
            for name in found:
                self.masks[name] |= 1 << i
            self.classes[label] |= 1 << i
        often = {n: count for n, mask in self.masks.items() if (count := mask.bit_count()) > 1}
        most = sorted(often, key=lambda name: (-often[name], name))[:_MOST_FEATURES]
        # In the order in which they win a tie: words that say something, other words, pairs.
        self.names = sorted(most, key=lambda name: (" " in name, len(name) < 4, len(name), name))


def learn(texts: Sequence[str], labels: Sequence[str]) -> WordRules:
    """The decision list that these texts lead to; the same for the same texts."""
    rows = _Rows(texts[:MAX_ROWS], labels[:MAX_ROWS])
    return _learn(rows, (1 << len(rows.features)) - 1)


def cross_validate(texts: Sequence[str], labels: Sequence[str]) -> Validated:
    """Learn on four fifths and answer the last one, in turn. Equal texts share a fold."""
    texts, labels = texts[:MAX_ROWS], labels[:MAX_ROWS]
    rows = _Rows(texts, labels)
    folds = [crc32(text.encode("utf-8", "replace")) % FOLDS for text in texts]
    right = 0
    for fold in range(FOLDS):
        held = [i for i, of in enumerate(folds) if of == fold]
        if not held:
            continue
        seen = sum(1 << i for i, of in enumerate(folds) if of != fold)
        if not seen:
            continue
        learned = _learn(rows, seen)
        right += sum(learned.told_by(rows.features[i]) == labels[i] for i in held)
    majority = max(mask.bit_count() for mask in rows.classes.values())
    return Validated(right, len(texts), majority)


def _learn(rows: _Rows, seen: int) -> WordRules:
    """The best of the lists with each of the commonest answers as the default."""
    common = Counter({label: (m & seen).bit_count() for label, m in sorted(rows.classes.items())})
    tried = [_cover(rows, seen, label) for label, _ in common.most_common(_MOST_DEFAULTS)]
    _, _, best = min(tried, key=lambda one: one[:2])
    return best


def _cover(rows: _Rows, seen: int, default: str) -> tuple[int, int, WordRules]:
    """Errors that are left, how many rules there are, and the rules."""
    left, rules, errors = seen, [], 0
    missed = {label: mask for label, mask in rows.classes.items() if label != default}
    for _ in range(_MOST_RULES):
        best, chosen = _LEAST_GAIN - 1, None
        for name in rows.names:
            fits = rows.masks[name] & left
            total = fits.bit_count()
            if total <= best:
                continue
            lost = (fits & rows.classes[default]).bit_count()
            for label, mask in missed.items():
                won = (fits & mask).bit_count()
                if won - lost > best and won >= _PRECISION * total:
                    best, chosen = won - lost, (name, label)
        if chosen is None:
            break
        rules.append(chosen)
        covered = rows.masks[chosen[0]] & left
        errors += (covered & ~rows.classes[chosen[1]]).bit_count()
        left &= ~covered
    errors += (left & ~rows.classes[default]).bit_count()
    return errors, len(rules), WordRules(tuple(rules), default)
