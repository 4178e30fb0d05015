"""`Regex`: the answer matches a regular expression, in time linear in its length."""

from __future__ import annotations

from collections.abc import Awaitable

import jsonschema_rs
from anyio import to_thread

from cascade.errors import ConfigError
from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers.algebra import Composable
from cascade_verifiers.extract import MAX_CHARS

INLINE_CHARS = 20_000


class Regex(Composable):
    """Accepts an answer in which a regular expression is found.

    It runs in the engine that jsonschema-rs uses for ``pattern`` (Rust's ``regex``): time is
    linear in the answer whatever the pattern, so there are no look-around and no
    back-references. ``\\d`` and ``\\w`` are ASCII; ``\\p{L}`` is any letter.

    Args:
        pattern: the expression, in the syntax of JSON Schema (that of JavaScript).
        full: whether the whole answer (white space around it aside) must match.
        ignore_case: whether case does not count.
        reason: what to tell the model on a rejection; by default, the pattern.
        max_chars: longer answers are rejected unread.

    Raises:
        ConfigError: the pattern is none, or does not run in linear time.
    """

    cost_class = "cpu"

    def __init__(
        self,
        pattern: str,
        *,
        full: bool = False,
        ignore_case: bool = False,
        reason: str = "",
        max_chars: int = MAX_CHARS,
    ) -> None:
        given: object = pattern
        if not isinstance(given, str) or not given:
            raise ConfigError(f"pattern={pattern!r}: give a regular expression")
        self.pattern = pattern
        self._full = full
        self._reason = reason or f"the answer must {'be' if full else 'have'} a match of {pattern}"
        self._max_chars = max_chars
        wrapped = f"^(?:{pattern})$" if full else pattern
        try:
            # Alone first, so that a pattern like "a)|(b" cannot pass by being wrapped.
            _compile(pattern)
            self._validator = _compile(f"(?i:{wrapped})" if ignore_case else wrapped)
        except (jsonschema_rs.ValidationError, ValueError):
            raise ConfigError(
                f"pattern={pattern!r}: is no regular expression that runs in linear time "
                "(look-around and back-references do not)"
            ) from None

    def verify(self, request: Request, answer: Answer, /) -> Verdict | Awaitable[Verdict]:
        """The verdict; awaitable where it takes long enough to go to a worker thread."""
        text = answer.text
        if len(text) > self._max_chars:
            reason = f"the answer is longer than {self._max_chars:,} characters"
            return Verdict.reject(reason, code="regex.too_long", repairable=True)
        if len(text) > INLINE_CHARS:
            return to_thread.run_sync(self._judge, text, abandon_on_cancel=True)
        return self._judge(text)

    def found(self, text: str) -> bool:
        """Whether a match is found; in a text of any length, where it stands."""
        if not text.isascii():
            # Half of a surrogate pair is no character: it matches nothing, and is "?" here.
            text = text.encode(errors="replace").decode()
        return self._validator.is_valid(text.strip() if self._full else text)

    def _judge(self, text: str) -> Verdict:
        if self.found(text):
            return Verdict.accept()
        return Verdict.reject(self._reason[:300], code="regex.no_match", repairable=True)

    def __repr__(self) -> str:
        return f"Regex({self.pattern!r})"


def _compile(pattern: str) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(
        {"pattern": pattern}, pattern_options=jsonschema_rs.RegexOptions(), offline=True
    )
