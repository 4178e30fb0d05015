"""`Length`: the answer is as long as it should be."""

from __future__ import annotations

from itertools import chain

from cascade.errors import ConfigError
from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers.algebra import Composable


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
        for low, high, unit in self._limits.values():
            for key, limit in ((f"min_{unit}", low), (f"max_{unit}", high)):
                _check(key, limit)
            if low is not None and high is not None and low > high:
                raise ConfigError(f"min_{unit}={low}: is more than max_{unit}={high}")

    def verify(self, request: Request, answer: Answer, /) -> Verdict:
        """The verdict, with every limit that is not kept in its reason."""
        text = answer.text.strip()
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
    if unit == "characters":
        return len(text)
    if unit == "words":
        return min(len(text.split(None, most)), most)
    count = position = 0
    while count < most and position <= len(text):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        count += bool(text[position:end].strip())
        position = end + 1
    return count


def _check(key: str, limit: object) -> None:
    if limit is None:
        return
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise ConfigError(f"{key}={limit!r}: needs a whole number, 0 or more")
