"""`Finished`: the answer was not cut off."""

# ruff: noqa: RUF001  (the brackets and full stops of other scripts are meant)

from __future__ import annotations

import re
from collections.abc import Awaitable

import msgspec
from anyio import to_thread

from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers.composable import Composable
from cascade_verifiers.extract import MAX_CHARS

INLINE_CHARS = 20_000
_TAIL = 2_000

_CUT_OFF = frozenset({"length", "max_tokens", "max_output_tokens", "MAX_TOKENS", "model_length"})
_FENCE_LINE = re.compile(r"^ {0,3}(`{3,}|~{3,})([^\n`]*)$", re.MULTILINE)
_INLINE_CODE = re.compile(r"`[^`\n]*`")
_LIST_MARK = re.compile(r"^ {0,6}(?:[-*+]|\(?\w{1,3}[.)]) ", re.MULTILINE)
# May be an inch or a second of arc, and no quotation mark.
_INCH = re.compile(r"(?<=\d)\"")
# What stands at the end of a sentence, in any language, and what may follow it.
_END = re.compile(r"[.!?:;…。！？؟।](?:[\"'`*_)\]}»”’」』)）>]|\[\d{1,3}\]|\s)*$")
_CLOSES = frozenset("`|}]>$")


class Finished(Composable):
    """Accepts an answer that was not cut off, as far as that shows.

    Cut off is what the provider says was (``finish_reason``), JSON that ends too early, a code
    fence that is not closed, and a last paragraph with an open bracket or quotation.

    Args:
        sentence: whether the answer must also end like a sentence (or like code or JSON). It
            rejects answers of one word; leave it out where these are meant.
    """

    cost_class = "cpu"

    def __init__(self, *, sentence: bool = False) -> None:
        self.sentence = sentence

    def verify(self, request: Request, answer: Answer, /) -> Verdict | Awaitable[Verdict]:
        """The verdict; awaitable where it takes long enough to go to a worker thread."""
        if answer.finish_reason in _CUT_OFF:
            return _reject("the answer was cut off at the limit of tokens", "finished.cut_off")
        text = answer.text
        if len(text) > MAX_CHARS:
            return _reject(f"the answer is longer than {MAX_CHARS:,} characters", "finished.long")
        if not text.strip():
            if answer.tool_calls:
                return Verdict.accept()
            return _reject("the answer is empty", "finished.empty")
        if len(text) > INLINE_CHARS:
            return to_thread.run_sync(self._judge, text, abandon_on_cancel=True)
        return self._judge(text)

    def _judge(self, text: str) -> Verdict:
        text = text.strip()
        if text[0] in "{[" and _ends_early(text):
            return _reject("the JSON ends before it is complete", "finished.json")
        prose, unclosed = _outside_fences(text)
        # Some models stop at the fence that would close it: then what is in it decides.
        if unclosed is not None and (unclosed[:1] not in ("{", "[") or _ends_early(unclosed)):
            return _reject("the answer ends inside a code block", "finished.fence")
        last = prose.rstrip().rpartition("\n\n")[2][-_TAIL:]
        last = _LIST_MARK.sub("", _INLINE_CODE.sub("", last))
        if prose.rstrip() and text.endswith(prose.rstrip()[-20:]):
            opened = sum(map(last.count, "([{（［「『"))
            if opened > sum(map(last.count, ")]}）］」』")):
                return _reject("the answer ends inside a bracket", "finished.bracket")
            marks = last.count('"')
            odd = marks % 2 == 1 and (marks - len(_INCH.findall(last))) % 2 == 1
            if last.count("“") > last.count("”") or (odd and "“" not in last):
                return _reject("the answer ends inside a quotation", "finished.quote")
        if self.sentence and not _END.search(text[-50:]) and text[-1] not in _CLOSES:
            return _reject("the answer ends in the middle of a sentence", "finished.sentence")
        return Verdict.accept()

    def __repr__(self) -> str:
        return f"Finished({'sentence=True' if self.sentence else ''})"


def _reject(reason: str, code: str) -> Verdict:
    return Verdict.reject(reason, code=code, repairable=True)


def _ends_early(text: str) -> bool:
    try:
        msgspec.json.decode(text.encode(errors="replace"), type=msgspec.Raw)
    except msgspec.DecodeError as error:
        return "truncated" in str(error)
    except RecursionError:
        return False
    return False


def _outside_fences(text: str) -> tuple[str, str | None]:
    """What stands outside code fences, and what is in the last of them where it is not closed."""
    if "```" not in text and "~~~" not in text:
        return text, None
    kept: list[str] = []
    mark, start = "", 0
    for line in _FENCE_LINE.finditer(text):
        fence, rest = line[1], line[2]
        if not mark:
            kept.append(text[start : line.start()])
            mark, start = fence, line.end()
        elif fence.startswith(mark) and not rest.strip():
            mark, start = "", line.end()
    if mark:
        return "".join(kept), text[start:].strip()
    kept.append(text[start:])
    return "".join(kept), None
