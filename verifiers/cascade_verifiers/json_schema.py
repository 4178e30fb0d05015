"""`JsonSchema`: the answer is JSON of the right shape."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import jsonschema_rs
from anyio import to_thread
from msgspec.structs import replace

from cascade.errors import ConfigError
from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers.algebra import Composable
from cascade_verifiers.extract import (
    Extract,
    check_extract,
    json_region,
    json_text,
    starts_too_late,
)
from cascade_verifiers.json_compile import Draft, closed, compile_schema, with_draft
from cascade_verifiers.json_explain import explain, load_explainer
from cascade_verifiers.json_prefix import JsonPrefix, PrefixRules, too_late, too_long
from cascade_verifiers.json_relax import relaxed
from cascade_verifiers.json_repair_syntax import (
    INLINE_REPAIR_CHARS,
    MAX_REPAIR_CHARS,
    Repair,
    check_repair,
    repaired,
    repaired_elsewhere,
)
from cascade_verifiers.json_text import JsonTextError, parse_json
from cascade_verifiers.json_types import ConversionError, read_source

MAX_CHARS = 250_000
"""By default longer answers are refused: a thread that parses a megabyte of JSON holds Python's
lock, and so the event loop, for 20 to 40 ms."""

INLINE_CHARS = 20_000
"""Answers longer than this are checked in a worker thread, off the event loop."""

INLINE_EXPLAIN_CHARS = 4_000
_INLINE_STEPS, _THREAD_STEPS = 2_000, 50_000


class JsonSchema(Composable):
    """Accepts an answer that is JSON and fits a schema; ``parsed`` is its value.

    Args:
        schema: a dict, the path of a ``.json`` file, a pydantic model, a dataclass, a TypedDict,
            a msgspec Struct, or ``"package.module:Type"`` naming one. From a type, ``parsed`` is
            an instance of it.
        draft: ``"4"``, ``"6"``, ``"7"``, ``"2019-09"`` or ``"2020-12"``, for a schema that does
            not say so itself in ``$schema``; the newest where neither does.
        extract: where the JSON may stand. ``"strict"``: it is the whole answer. ``"fence"``: or
            the content of its only code fence. ``"embedded"``: or the only object (without
            objects, the only array) in prose. An answer that begins with JSON is taken at its
            word: nothing further on stands in for it when it is broken.
        control: whether strings may have raw line breaks and other control characters in them,
            which JSON forbids and many models write.
        repair: ``"syntax"`` has json-repair mend trailing commas, single quotes, comments and the
            like before the answer is refused. Needs the extra ``repair``. JSON that was cut off
            is not mended.
        max_prose: characters that may come before anything that may hold JSON; no limit if None.
        formats: whether ``format`` is checked too, or only describes, as in the standard.
        max_chars: longer answers are rejected unread.

    Regular expressions in the schema run in a linear-time engine, so look-around and
    back-references are refused. References must lead to places within the schema.

    Raises:
        ConfigError: the schema cannot be read or is none; the message has the place in it.
        MissingExtraError: ``repair`` is asked for and json-repair is not installed.
    """

    cost_class = "cpu"
    rewrites = "wrapping"

    def __init__(
        self,
        schema: Mapping[str, Any] | bool | str | Path | type[Any],
        *,
        draft: Draft | None = None,
        extract: Extract = "embedded",
        control: bool = False,
        repair: Repair | None = None,
        max_prose: int | None = None,
        formats: bool = False,
        max_chars: int = MAX_CHARS,
    ) -> None:
        check_extract(extract, ("strict", "fence", "embedded"))
        check_repair(repair)
        if max_chars < 1:
            raise ConfigError(f"max_chars={max_chars!r}: needs a whole number above 0")
        if max_prose is not None and (extract == "strict" or max_prose < 0):
            why = (
                "needs a whole number"
                if max_prose < 0
                else 'would do nothing, as "strict" has none'
            )
            raise ConfigError(f"max_prose={max_prose!r}: {why}")
        self._source = read_source(schema)
        self._checked = with_draft(self._source.schema, draft)
        self._extract: Extract = extract
        self._control = control
        self._repair = repair
        self._max_prose = max_prose
        self._formats = formats
        self._max_chars = max_chars
        self._validator = compile_schema(self._checked, formats=formats)
        load_explainer()

    @property
    def schema(self) -> Mapping[str, Any]:
        """The schema, wherever it came from."""
        return self._source.schema

    def verify(self, request: Request, answer: Answer, /) -> Verdict | Awaitable[Verdict]:
        """The verdict; awaitable where it takes long enough to go to a worker."""
        text = answer.text
        if len(text) > self._max_chars:
            return too_long(self._max_chars)
        if self._repair is not None:
            return self._verify_repairing(answer)
        if len(text) > INLINE_CHARS:
            return to_thread.run_sync(self._judge_whole, text, abandon_on_cancel=True)
        verdict, value = self._judge(text)
        if verdict is not None:
            return verdict
        if len(text) > INLINE_EXPLAIN_CHARS:
            return to_thread.run_sync(self._refuse, value, abandon_on_cancel=True)
        return self._refuse(value, steps=_INLINE_STEPS)

    def prefix(self, text: str, /) -> Verdict | None:
        """The rejection of every answer that begins with ``text``, or None.

        For a stream, `open_prefix` says the same in time linear in its length.
        """
        check = self.open_prefix()
        check.feed(text)
        return check.look()

    def open_prefix(self) -> JsonPrefix:
        """Watches one answer being written: `feed` it the chunks."""
        return JsonPrefix(self._prefix_rules)

    def response_format(self) -> Mapping[str, Any]:
        """The schema as a chat-completions ``response_format``."""
        schema = self._source.schema
        return {
            "type": "json_schema",
            "json_schema": {
                "name": self._source.name,
                "schema": schema,
                "strict": closed(schema),
            },
        }

    def _verify_repairing(self, answer: Answer) -> Verdict | Awaitable[Verdict]:
        if len(answer.text) > INLINE_REPAIR_CHARS:
            return self._repair_elsewhere(answer)
        verdict, broken = self._judge_broken(answer)
        return verdict if broken is None else self._judge_mended(verdict, repaired(broken))

    async def _repair_elsewhere(self, answer: Answer) -> Verdict:
        verdict, broken = await to_thread.run_sync(
            self._judge_broken, answer, abandon_on_cancel=True
        )
        if broken is None or len(broken) > MAX_REPAIR_CHARS:
            return verdict
        mended = await repaired_elsewhere(broken)
        return await to_thread.run_sync(self._judge_mended, verdict, mended, abandon_on_cancel=True)

    def _judge_broken(self, answer: Answer) -> tuple[Verdict, str | None]:
        """The verdict, and the JSON that breaks the grammar only, where that is why."""
        verdict = self._judge_whole(answer.text)
        region = None
        if verdict.code == "json.parse" and answer.finish_reason != "length":
            region = json_region(answer.text, self._extract)
        if region is not None:
            try:
                parse_json(region, control=self._control)
            except JsonTextError as error:
                return verdict, region if error.syntax else None
        return verdict, None

    def _judge_mended(self, verdict: Verdict, mended: str | None) -> Verdict:
        if mended is None:
            return verdict
        verdict = self._judge_whole(mended)
        return replace(verdict, text=mended) if verdict.accepted else verdict

    def _judge_whole(self, text: str) -> Verdict:
        verdict, value = self._judge(text)
        return self._refuse(value) if verdict is None else verdict

    def _judge(self, text: str) -> tuple[Verdict | None, Any]:
        """The verdict; or None and the value, when why it does not fit is to be explained."""
        if self._max_prose is not None and starts_too_late(text, self._max_prose):
            return too_late(self._max_prose), None
        found = json_text(text, self._extract, control=self._control)
        if found is None:
            return _reject("the answer must have exactly one JSON value in it", "parse"), None
        try:
            value = parse_json(found, control=self._control)
        except JsonTextError as error:
            return _reject(str(error), "parse"), None
        if not self._validator.is_valid(value):
            return None, value
        if self._source.convert is not None:
            try:
                value = self._source.convert(found)
            except ConversionError as error:
                return _reject(str(error), "type_conversion"), None
        return Verdict.accept(parsed=value, text=None if found == text else found), None

    def _refuse(self, value: Any, *, steps: int = _THREAD_STEPS) -> Verdict:
        why = explain(self._checked, self._validator, value, steps=steps)
        return Verdict.reject(why.reason, code=why.code, repairable=True)

    @cached_property
    def _prefix_rules(self) -> PrefixRules:
        begun: jsonschema_rs.Validator | None = None
        explained: tuple[dict[str, Any], jsonschema_rs.Validator] | None = None
        try:
            begun = compile_schema(relaxed(self._checked, marked=True), formats=self._formats)
            plain = relaxed(self._checked, marked=False)
            explained = (plain, compile_schema(plain, formats=self._formats))
        except (ConfigError, RecursionError):
            begun = None  # a reference leads to what beginnings are not asked for
        return PrefixRules(
            schema=self._checked,
            whole=self._validator,
            begun=begun,
            explained=explained,
            extract=self._extract,
            control=self._control,
            max_chars=self._max_chars,
            max_prose=self._max_prose,
            structure=self._repair is None,
        )

    def __repr__(self) -> str:
        return f"JsonSchema({self._source.name})"


def _reject(reason: str, code: str) -> Verdict:
    return Verdict.reject(reason[:500], code=f"json.{code}", repairable=True)
