"""`Length`: the answer is as long as it should be."""

from __future__ import annotations

from collections.abc import Awaitable
from itertools import chain

from anyio import to_thread

from cascade.errors import ConfigError
from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers.algebra import Composable

INLINE_CHARS = 20_000
_PIECE = 20_000


class Length(Composable):
    """Accepts an answer within limits, all inclusive: characters, words, lines.

    Characters and lines are those of the answer without the white space around it; words are
    what white space separates; lines are non-empty.

    Raises:
        ConfigError: no limit is given, or no answer could be within them.
    """

    def __init__(
        self,
        *,
        min_chars: int | None = None,
        max_chars: int | None = None,
        min_words: int | None = None,
        max_words: int | None = None,
        min_lines: int | None = None,
        max_lines: int | None = None,
    ) -> None:
        self._limits = {
            "characters": (min_chars, max_chars, "chars"),
            "words": (min_words, max_words, "words"),
            "lines": (min_lines, max_lines, "lines"),
        }
        if all(limit is None for low, high, _ in self._limits.values() for limit in (low, high)):
            raise ConfigError("Length() needs a limit, such as max_words=100")
        self._counts = (min_words, max_words, min_lines, max_lines) != (None,) * 4
        for low, high, unit in self._limits.values():
            for key, limit in ((f"min_{unit}", low), (f"max_{unit}", high)):
                _check(key, limit)
            if low is not None and high is not None and low > high:
                raise ConfigError(f"min_{unit}={low}: is more than max_{unit}={high}")

    def verify(self, request: Request, answer: Answer, /) -> Verdict | Awaitable[Verdict]:
        """The verdict, with every limit that is not kept in its reason.

        Awaitable where counting takes long enough to go to a worker thread.
        """
        if len(answer.text) > INLINE_CHARS and self._counts:
            return to_thread.run_sync(self._judge, answer.text, abandon_on_cancel=True)
        return self._judge(answer.text)

    def _judge(self, text: str) -> Verdict:
        text = text.strip()
        wrong: list[str] = []
        code = ""
        for unit, (low, high, _) in self._limits.items():
            if low is None and high is None:
                continue
            # Counting ends just above the limits: the answer may be of any size.
            count = _count(text, unit, 1 + max(low or 0, high or 0))
            if low is not None and count < low:
                wrong.append(f"has {count:,} {unit}, and needs at least {low:,}")
                code = code or "length.too_short"
            elif high is not None and count > high:
                wrong.append(f"has more than {high:,} {unit}")
                code = code or "length.too_long"
        if not wrong:
            return Verdict.accept()
        return Verdict.reject(f"the answer {'; it '.join(wrong)}", code=code, repairable=True)

    def __repr__(self) -> str:
        limits = chain.from_iterable(
            ((f"min_{unit}", low), (f"max_{unit}", high))
            for low, high, unit in self._limits.values()
        )
        return f"Length({', '.join(f'{k}={v}' for k, v in limits if v is not None)})"


def _count(text: str, unit: str, most: int) -> int:
    """How many there are, as far as ``most``; in pieces, so that other threads have their turn."""
    if unit == "characters":
        return len(text)
    count, within = 0, False  # a word, or a line that is not empty, when the piece before ended
    for start in range(0, len(text), _PIECE):
        piece = text[start : start + _PIECE]
        if unit == "words":
            count += len(piece.split()) - (within and not piece[0].isspace())
            within = not piece[-1].isspace()
        else:
            first, *others = [bool(line.strip()) for line in piece.split("\n")]
            count += sum(others) + (first and not within)
            within = others[-1] if others else first or within
        if count >= most:
            return most
    return count


def _check(key: str, limit: object) -> None:
    if limit is None:
        return
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise ConfigError(f"{key}={limit!r}: needs a whole number, 0 or more")
