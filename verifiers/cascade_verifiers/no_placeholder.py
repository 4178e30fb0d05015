"""`NoPlaceholder`: the answer has no gaps left to fill in."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Iterator

from anyio import to_thread

from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers.composable import Composable
from cascade_verifiers.extract import MAX_CHARS

INLINE_CHARS = 5_000
_WINDOW = 5_000
_OVERLAP = 200
_MOST_ALLOWED = 100

_WORDS = (
    r"(?:your|insert|enter|add|fill in|replace|put|specify|placeholder|recipient|sender|company"
    r"|name|date|address|phone|email|e-mail|title|city|url|link)"
)
_GAP = re.compile(
    # What a template has: [Your Name], <insert date>, {{name}}, lorem ipsum, "___"
    rf"(?i:\[{_WORDS}(?: [^\]\n]{{0,60}})?\](?!\()|<{_WORDS}[ _-][^>\n\"=]{{1,60}}>"
    r"|\{\{ ?[a-z_][\w. -]{0,60}\}\}|\blorem ipsum\b|(?<=[\"'])_{3,20}(?=[\"']))"
    # What code leaves for later, and what stands for code that was left out
    r"|(?:#|//|/\*|--|<!--) ?(?:TODO|FIXME|XXX)\b|\b(?:TODO|FIXME|TBD)(?=[:(])"
    r"|[\[<](?:TODO|TBD)[\]>]"
    r"|(?i:(?:#|//|/\*|--|<!--) ?(?:\.{3}|…)? ?(?:the )?(?:rest of|remaining|existing|previous) "
    r"[^\n]{0,20}(?:code|function|method|implementation|class|file)s?\b)"
    r"|(?i:(?:#|//) ?(?:your code|implementation|add (?:your|the) \w{1,20}) (?:goes )?here)"
)


class NoPlaceholder(Composable):
    """Accepts an answer without placeholders: ``[Your Name]``, ``{{date}}``, ``// TODO``, …

    One that stands in the request's last message as it is does not count: who asks for a template
    with ``{{name}}`` in it gets one.

    Args:
        max_chars: longer answers are rejected unread.
    """

    cost_class = "cpu"

    def __init__(self, *, max_chars: int = MAX_CHARS) -> None:
        self.max_chars = max_chars

    def verify(self, request: Request, answer: Answer, /) -> Verdict | Awaitable[Verdict]:
        """The verdict; awaitable where it takes long enough to go to a worker thread."""
        text = answer.text
        if len(text) > self.max_chars:
            reason = f"the answer is longer than {self.max_chars:,} characters"
            return Verdict.reject(reason, code="placeholder.too_long", repairable=True)
        if len(text) > INLINE_CHARS:
            return to_thread.run_sync(_judge, request.text, text, abandon_on_cancel=True)
        return _judge(request.text, text)

    def __repr__(self) -> str:
        return "NoPlaceholder()"


def _judge(asked: str, text: str) -> Verdict:
    allowed: set[str] = set()
    for gap in _gaps(text):
        if gap in allowed:
            continue
        # Each is looked for in the request: not more often than a request has them.
        if len(allowed) < _MOST_ALLOWED and gap in asked:
            allowed.add(gap)
        else:
            reason = f"the answer has a placeholder in it: {gap}"
            return Verdict.reject(reason, code="placeholder", repairable=True)
    return Verdict.accept()


def _gaps(text: str) -> Iterator[str]:
    # In windows: one search of a long text would hold the interpreter's lock all the while, and
    # without the pauses its owner is only asked for it every 5 ms, several times a turn of the
    # loop. What stands in the overlap may be found twice.
    for start in range(0, max(1, len(text)), _WINDOW):
        if start:
            time.sleep(0)
        for found in _GAP.finditer(text, max(0, start - _OVERLAP), start + _WINDOW):
            yield found[0]
