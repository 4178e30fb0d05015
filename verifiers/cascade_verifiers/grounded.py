"""`Grounded`: what the answer says stands in the text it was asked about."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Iterator
from typing import Any, Literal

from anyio import to_thread

from cascade.errors import ConfigError, nearest
from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers.algebra import Composable
from cascade_verifiers.claims import claims
from cascade_verifiers.extract import json_text
from cascade_verifiers.json_text import JsonTextError, parse_json
from cascade_verifiers.source_text import SourceText

MAX_CHARS = 250_000
INLINE_CHARS = 4_000
MAX_VALUES = 1_000
MAX_SOURCE_CHARS = 2_000_000
_SHOWN = 3


class Grounded(Composable):
    """Accepts an answer whose values, or quotations and numbers, all stand in the request's text.

    Of JSON, every value is looked for; of prose, what stands in double quotes, dates and numbers
    (those of a numbered list aside). An answer is taken for JSON where it begins like it, or has
    one object in it.

    Strings and numbers are looked for; true, false, null and empty strings are not. Case, white
    space, dashes, quotes, number forms (``1,234.50``, ``1.234,50 €``) and date forms
    (``2024-03-05``, ``March 5, 2024``, ``05.03.2024``, ``3/5/2024``) do not count, nor does a
    number's sign. The text is that of all messages but the assistant's own.

    Args:
        keys: check only what stands under these keys; a key is a name (``total``) or a path
            without positions (``lines.price``). None checks everything.
        ignore: keys under which nothing is checked, such as those whose values are labels.
        form: what an answer must be: ``"json"`` or ``"prose"``. None takes it for what it looks
            like, or for JSON where there are ``keys`` or ``ignore``.

    Raises:
        ConfigError: a key is in both, or no key is given where some are expected.
    """

    cost_class = "cpu"

    def __init__(
        self,
        keys: Iterable[str] | None = None,
        *,
        ignore: Iterable[str] = (),
        form: Literal["json", "prose"] | None = None,
    ) -> None:
        self._keys = None if keys is None else _names("keys", keys)
        self._ignore = _names("ignore", ignore)
        if self._keys is not None:
            if not self._keys:
                raise ConfigError("keys: is empty, so nothing would be checked")
            for key in sorted(self._keys & self._ignore):
                raise ConfigError(f"ignore: {key!r} is among the keys to check")
        if form not in ("json", "prose", None):
            raise ConfigError(f"form={form!r}: {nearest(str(form), ('json', 'prose'))}")
        has_keys = self._keys is not None or bool(self._ignore)
        if form == "prose" and has_keys:
            raise ConfigError("form='prose': has no keys, so keys= and ignore= would do nothing")
        self._form = "json" if has_keys else form

    def verify(self, request: Request, answer: Answer, /) -> Verdict | Awaitable[Verdict]:
        """The verdict; awaitable where it takes long enough to go to a worker thread."""
        source = "\n".join(m.text for m in request.messages if m.role != "assistant")
        if len(answer.text) > MAX_CHARS:
            reason = f"the answer is longer than {MAX_CHARS:,} characters"
            return Verdict.reject(reason, code="grounded.too_long", repairable=True)
        if len(source) > MAX_SOURCE_CHARS:
            reason = f"the source is longer than {MAX_SOURCE_CHARS:,} characters"
            return Verdict.abstain(reason, code="grounded.source_too_long")
        if len(source) + len(answer.text) > INLINE_CHARS:
            return to_thread.run_sync(self._judge, source, answer.text, abandon_on_cancel=True)
        return self._judge(source, answer.text)

    def _judge(self, source: str, text: str) -> Verdict:
        found = None if self._form == "prose" else json_text(text, "embedded")
        if self._form == "prose" or (self._form is None and not _like_json(text, found)):
            return self._judge_claims(claims(text, SourceText(source)), None)
        if found is None:
            reason = "the answer must have exactly one JSON value in it"
            return Verdict.reject(reason, code="json.parse", repairable=True)
        try:
            value = parse_json(found)
        except JsonTextError as error:
            return Verdict.reject(str(error)[:500], code="json.parse", repairable=True)
        return self._judge_claims(self._values(SourceText(source), value), value)

    def _judge_claims(self, found: Iterable[tuple[str, bool]], value: Any) -> Verdict:
        count = 0
        missing: list[str] = []
        for shown, stands in found:
            count += 1
            if count > MAX_VALUES:
                reason = f"the answer has more than {MAX_VALUES:,} values"
                return Verdict.reject(reason, code="grounded.too_many", repairable=True)
            if not stands:
                missing.append(shown)
        if not count:
            return Verdict.abstain("the answer has no value to look for", code="grounded.nothing")
        if not missing:
            return Verdict.accept(parsed=value)
        missing = list(dict.fromkeys(missing))
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        listed = "; ".join(shown if len(shown) <= 125 else f"{shown[:124]}…" for shown in
                           missing[:_SHOWN])  # fmt: skip
        reason = f"not in the source text: {listed}{more}"
        return Verdict.reject(reason, code="grounded.missing", repairable=True)

    def _values(self, source: SourceText, value: Any) -> Iterator[tuple[str, bool]]:
        for path, leaf in self._leaves(value):
            yield f"{path[:60]}: {_short(leaf)}" if path else _short(leaf), source.has(leaf)

    def _leaves(self, value: Any) -> Iterator[tuple[str, Any]]:
        """The strings and numbers to check, each with its path without positions."""
        waiting: list[tuple[str, Any, bool]] = [("", value, self._keys is None)]
        while waiting:
            path, item, wanted = waiting.pop()
            if isinstance(item, dict):
                for key, inner in reversed(item.items()):
                    inner_path = f"{path}.{key}" if path else key
                    names = {key, inner_path}
                    if names.isdisjoint(self._ignore):
                        asked = wanted or not names.isdisjoint(self._keys or ())
                        waiting.append((inner_path, inner, asked))
            elif isinstance(item, list):
                waiting.extend((path, inner, wanted) for inner in reversed(item))
            elif wanted and _is_value(item):
                yield path, item

    def __repr__(self) -> str:
        return f"Grounded({'' if self._keys is None else sorted(self._keys)})"


def _is_value(item: Any) -> bool:
    if isinstance(item, str):
        return bool(item.strip())
    return isinstance(item, int | float) and not isinstance(item, bool)


def _names(argument: str, names: Iterable[str]) -> frozenset[str]:
    given: list[object] = [names] if isinstance(names, str) else list(names)
    found = frozenset(name for name in given if isinstance(name, str) and name)
    for name in given:
        if name not in found:
            raise ConfigError(f"{argument}: {name!r} is no key")
    return found


def _short(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() > 200:
        return "a number of many digits"
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:59]}…"


def _like_json(text: str, found: str | None) -> bool:
    begins = text.lstrip()[:3]
    if begins.startswith("```") or begins[:1] in ("{", "["):
        return True
    return found is not None and found[:1] == "{"
