"""Is an answer that is still being written already lost? The streaming side of `JsonSchema`.

At each look the JSON read so far is made whole: what is unfinished is cut off, the open brackets
are closed. Then the C parser and jsonschema-rs do the work, the second with the schema of
beginnings (`json_relax`). Only the brackets and strings are read in Python, each once.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import jsonschema_rs

from cascade.verdict import Verdict
from cascade_verifiers.extract import Extract, json_start, starts_too_late
from cascade_verifiers.json_explain import explain
from cascade_verifiers.json_relax import MARK
from cascade_verifiers.json_text import (
    MAX_DEPTH,
    TOO_DEEP,
    JsonTextError,
    check_unicode,
    parse_json,
)
from cascade_verifiers.prefix import FIRST_CHECK, next_check

MOST_CHARS = 100_000
"""Where the looking ends: each look is made on the event loop, and takes longer than the last."""

_STEPS = 2_000
_WHITE = " \t\n\r"
# The group stands where the string is closed.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+(")?|[\[{]|[\]}]', re.DOTALL)
_CLOSING = {"{": "}", "[": "]"}
# An escape that has only begun, or the first half of a pair of them.
_UNFINISHED = re.compile(
    r"(?<!\\)(?:\\\\)*(\\(?:u[0-9a-fA-F]{0,3}|u[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u[0-9a-fA-F]{0,3})?)?)?)\Z"
)
_SCALAR_BEGUN = re.compile(
    r"t(?:r(?:ue?)?)?|f(?:a(?:l(?:se?)?)?)?|n(?:u(?:ll?)?)?"
    r"|(?=[-0-9])-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?(?:(?<=[0-9])[eE][+-]?[0-9]*)?)?"
)
_decoders = {control: json.JSONDecoder(strict=not control) for control in (False, True)}


@dataclass(frozen=True, slots=True)
class PrefixRules:
    """What is asked of an answer, as far as its beginning can tell.

    Attributes:
        whole: decides on the finished value.
        begun: decides on a value made whole; None where no schema of beginnings can be had.
        explained: the schema of beginnings without its marks, for the reasons, and its decider.
    """

    schema: dict[str, Any]
    whole: jsonschema_rs.Validator
    begun: jsonschema_rs.Validator | None
    explained: tuple[dict[str, Any], jsonschema_rs.Validator] | None
    extract: Extract
    control: bool
    max_chars: int
    max_prose: int | None
    structure: bool  # whether broken JSON is lost


class JsonPrefix:
    """One stream, watched. Made by `JsonSchema.open_prefix`."""

    def __init__(self, rules: PrefixRules) -> None:
        self._rules = rules
        self._decode = _decoders[rules.control].decode
        self._parts: list[str] = []
        self._text = ""
        self._length = 0
        self._next = min(FIRST_CHECK, rules.max_chars + 1)
        self._found: Verdict | None = None
        self._start: int | None = None  # of the JSON
        self._end: int | None = None
        self._done = not rules.structure and rules.max_prose is None
        self._at = 0  # all before it has been read
        self._open: list[str] = []
        self._last = 0  # where the last bracket or finished string begins
        self._string: int | None = None  # where the unfinished string begins

    def feed(self, chunk: str, /) -> Verdict | None:
        """The rejection that every answer beginning like this gets, once it is certain."""
        self._parts.append(chunk)
        self._length += len(chunk)
        if self._length < self._next:
            return self._found
        return self.look()

    def look(self) -> Verdict | None:
        """The same, having looked at all that was fed, however little it has grown."""
        if not self._parts:
            return self._found  # nothing new
        if self._found is None:
            self._found = self._too_long()
        if self._found is None and not self._done:
            self._text = "".join((self._text, *self._parts))
            try:
                self._found = self._look()
            except JsonTextError as error:
                self._found = _reject(str(error), "parse")
        if self._done or self._found is not None:
            self._text = ""
        self._parts.clear()
        self._next = min(next_check(self._length), self._rules.max_chars + 1)
        return self._found

    def _too_long(self) -> Verdict | None:
        if self._length > self._rules.max_chars:
            return too_long(self._rules.max_chars)
        self._done = self._done or self._length > MOST_CHARS
        return None

    def _look(self) -> Verdict | None:
        rules, text = self._rules, self._text
        if self._start is None:
            if rules.max_prose is not None and starts_too_late(text, rules.max_prose):
                return too_late(rules.max_prose)
            start = json_start(text, rules.extract) if rules.structure else None
            if start is None:
                return None
            self._start = self._at = start
        if self._end is None:
            if text[self._start] not in '{["':
                _check_scalar(text[self._start :])
                return None
            self._scan()
            if self._end is None:
                return self._judge_begun(self._start)
            found = self._judge_whole(text[self._start : self._end])
            if found is not None:
                return found
        return self._judge_rest(text[: self._start], text[self._end :])

    def _scan(self) -> None:
        text, opened = self._text, self._open
        self._string = None
        for token in _TOKEN.finditer(text, self._at):
            start = token.start()
            mark = text[start]
            if mark == '"':
                if token[1] is None:
                    self._string = self._at = start
                    return
            elif mark in _CLOSING:
                opened.append(mark)
                if len(opened) > MAX_DEPTH:
                    raise JsonTextError(TOO_DEEP)
            elif _CLOSING[opened.pop()] != mark:
                raise _broken(f"{mark!r} closes nothing")
            self._last, self._at = start, token.end()
            if not opened:
                self._end = self._at
                return

    def _judge_begun(self, start: int) -> Verdict | None:
        closing = "".join(_CLOSING[mark] for mark in reversed(self._open))
        end, begun = self._cut_off()
        known = self._text[start:end] + closing
        if begun is None:
            return self._judge(known, known)
        head = self._text[start : self._string]
        marked = f'{head}"{MARK}{begun}"{closing}'
        return self._judge(marked, known)

    def _judge(self, marked: str, known: str) -> Verdict | None:
        rules = self._rules
        value = self._value(marked)
        if rules.begun is None or rules.explained is None or rules.begun.is_valid(value):
            return None
        # The unfinished string is to blame only where what stands before it fits.
        if marked is not known:
            value = self._value(known)
            if rules.begun.is_valid(value):
                value = self._value(marked.replace(MARK, "", 1))
        schema, decider = rules.explained
        why = explain(schema, decider, value, steps=_STEPS)
        return Verdict.reject(why.reason, code=why.code, repairable=True)

    def _value(self, text: str) -> Any:
        try:
            value = self._decode(text)
        except json.JSONDecodeError as error:
            raise _broken(f"{error.msg} at line {error.lineno} column {error.colno}") from None
        except ValueError:
            raise _broken("a number is too long") from None
        check_unicode(text, value)
        return value

    def _cut_off(self) -> tuple[int, str | None]:
        """Where what is certain ends, and the unfinished string after it where it is a value."""
        text, string = self._text, self._string
        if string is not None:
            begun = _UNFINISHED.sub("", text[string + 1 :])
            if not self._open:
                return string, begun
            before = text[self._before(string)]
            if self._open[-1] == "[":
                return self._cut(string), begun
            if before == ":":
                return self._cut(self._last), begun
            if before not in ",{":
                raise _broken("a string where none can stand")
            return self._cut(string), None
        tail = text[self._at :]
        comma = tail.rfind(",")
        rest = tail[comma + 1 :].strip(_WHITE)
        if comma >= 0:
            _check_begun(rest, allowed=self._open[-1] == "[")
            return self._at + comma, None
        mark = text[self._last]
        if mark == '"' and self._open[-1] == "{" and text[self._before(self._last)] in ",{":
            if rest and rest[0] != ":":
                raise _broken("a key without a colon after it")
            _check_begun(rest[1:].lstrip(_WHITE), allowed=True)
            return self._cut(self._last), None
        _check_begun(rest, allowed=mark == "[")
        return self._at, None

    def _before(self, position: int) -> int:
        position -= 1
        while self._text[position] in _WHITE:
            position -= 1
        return position

    def _cut(self, position: int) -> int:
        before = self._before(position)
        return before if self._text[before] == "," else before + 1

    def _judge_whole(self, text: str) -> Verdict | None:
        value = parse_json(text, control=self._rules.control)
        if self._rules.whole.is_valid(value):
            return None
        why = explain(self._rules.schema, self._rules.whole, value, steps=_STEPS)
        return Verdict.reject(why.reason, code=why.code, repairable=True)

    def _judge_rest(self, before: str, after: str) -> Verdict | None:
        after = after.lstrip()
        if not after:
            return None
        # What may follow: anything in prose, the end of the fence in a fence, else nothing.
        fenced = bool(before.strip().removeprefix("\ufeff").strip())
        if self._rules.extract == "embedded" or (fenced and after[0] in "`~"):
            self._done = True
            return None
        return _reject("the answer goes on after its JSON", "parse")


def too_long(limit: int) -> Verdict:
    """The rejection of an answer longer than ``limit`` characters."""
    return _reject(f"the answer is longer than {limit:,} characters", "too_long")


def too_late(limit: int) -> Verdict:
    """The rejection of an answer with more than ``limit`` characters before its JSON."""
    return _reject(f"the JSON must begin within the first {limit:,} characters", "prose")


def _reject(reason: str, code: str) -> Verdict:
    return Verdict.reject(reason[:500], code=f"json.{code}", repairable=True)


def _broken(why: str) -> JsonTextError:
    return JsonTextError(f"the answer is not valid JSON: {why}")


def _check_scalar(text: str) -> None:
    """Refuse what cannot become one number or literal, with nothing after it."""
    found = _SCALAR_BEGUN.match(text)
    if found is None or text[found.end() : found.end() + 1].strip():
        raise _broken("it begins like no JSON")
    if text[found.end() :].strip():
        raise _broken("it goes on after its value")


def _check_begun(text: str, *, allowed: bool) -> None:
    if text and not (allowed and _SCALAR_BEGUN.fullmatch(text)):
        raise _broken(f"unexpected {text[:20]!r}")
