"""`OneOf`: the answer is one of some labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cascade.errors import ConfigError, nearest
from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers.algebra import Composable

_AROUND = " \t\r\n\"'`.!*\u2018\u2019\u201c\u201d\u00ab\u00bb"
_LISTED = 20


class OneOf(Composable):
    """Accepts an answer that is exactly one of the labels; ``parsed`` and ``text`` are the label.

    White space, quotes, asterisks and a final full stop around the answer do not count, nor does
    the case unless ``case_sensitive``. A label inside a sentence is not found: asking for it
    alone is the tier's prompt's task.

    Args:
        labels: the labels, or one list of them, or a mapping from labels to what else means them.
        case_sensitive: whether ``Yes`` differs from ``yes``.
        aliases: for labels, what else means them: ``{"billing": ["invoice", "payment"]}``.

    Raises:
        ConfigError: there are no labels, or two of them mean the same answer.
    """

    rewrites = "wrapping"

    def __init__(
        self,
        *labels: str | Iterable[str] | Mapping[str, str | Iterable[str]],
        case_sensitive: bool = False,
        aliases: Mapping[str, str | Iterable[str]] | None = None,
    ) -> None:
        self._case_sensitive = case_sensitive
        self._labels: dict[str, str] = {}
        self.labels: tuple[str, ...] = ()
        meant: list[tuple[object, object]] = []
        for given in labels:
            for label in (given,) if isinstance(given, str) else _each(given):
                self._add(label, label, "labels")
                self.labels += (str(label),)
            if isinstance(given, Mapping):
                meant.extend(given.items())
        if not self.labels:
            raise ConfigError("labels: give at least one")
        named: object = {} if aliases is None else aliases
        if not isinstance(named, Mapping):
            raise ConfigError(f"aliases={named!r}: needs a mapping from labels to other words")
        for label, others in [*meant, *named.items()]:
            if label not in self.labels:
                raise ConfigError(
                    f"aliases: {label!r} is no label: {nearest(str(label), self.labels)}"
                )
            for other in (others,) if isinstance(others, str) else _each(others):
                self._add(other, label, "aliases")
        self._longest = max(map(len, self._labels)) + 100

    def verify(self, request: Request, answer: Answer, /) -> Verdict:
        """The verdict; its reason lists the labels."""
        text = answer.text.strip()
        label = self._labels.get(self._key(text)) if len(text) <= self._longest else None
        if label is not None:
            return Verdict.accept(parsed=label, text=None if answer.text == label else label)
        listed = ", ".join(repr(name) for name in self.labels[:_LISTED])
        more = f" or {len(self.labels) - _LISTED} others" if len(self.labels) > _LISTED else ""
        reason = f"the answer must be exactly one of {listed}{more}, and nothing else"
        return Verdict.reject(reason[:500], code="one_of.unknown", repairable=True)

    def _add(self, text: object, label: object, argument: str) -> None:
        """Take ``text`` for ``label``."""
        key = self._key(text) if isinstance(text, str) else ""
        if not key:
            raise ConfigError(f"{argument}: {text!r} is no label")
        if key in self._labels:
            raise ConfigError(f"{argument}: {text!r} and {self._labels[key]!r} are the same answer")
        self._labels[key] = str(label)

    def _key(self, text: str) -> str:
        bare = text.strip(_AROUND) or text.strip()
        return bare if self._case_sensitive else bare.casefold()

    def __repr__(self) -> str:
        return f"OneOf({', '.join(map(repr, self.labels))})"


def _each(given: object) -> Iterable[object]:
    return given if isinstance(given, Iterable) else (given,)
