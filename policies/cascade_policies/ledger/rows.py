"""From the record of a call to rows of the ledger: what is kept of the text, and in what form."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, Literal, NamedTuple

import msgspec

from cascade import logs
from cascade.errors import ConfigError
from cascade.records import CallRecord
from cascade.result import Attempt
from cascade.routing import Route
from cascade.types import Answer
from cascade_policies.ledger.redaction import Redact, secret_redactor

Store = Literal["text", "hash", "none"]
STORES: Final[tuple[Store, ...]] = ("text", "hash", "none")

MAX_TEXT: Final = 200_000
"""Characters kept of a prompt or an answer; `prompt_chars` and `answer_chars` count them all."""

MAX_WORDS: Final = 1_000
"""Characters kept of what is no prompt and no answer: reasons, errors, what servers call things."""

UNREDACTED: Final = "[not kept: the redaction failed]"

CALL_COLUMNS: Final[tuple[str, ...]] = (
    "call_id", "began", "policy", "outcome", "tier", "first", "escalations", "tiers_tried",
    "attempts", "latency_s", "cost_low", "cost_high", "cost_basis", "waste_low", "waste_high",
    "route", "route_label", "route_s", "route_cost_low", "route_cost_high", "variant", "error",
    "prompt", "prompt_hash", "prompt_chars", "answer", "answer_hash", "answer_chars",
)  # fmt: skip
ATTEMPT_COLUMNS: Final[tuple[str, ...]] = (
    "number", "tier", "model", "member", "kind", "outcome", "reason", "code", "verifier",
    "score", "started_s", "waited_s", "latency_s", "time_to_first_token_s", "check_s",
    "input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "cost_low",
    "cost_high", "cost_basis", "response_model", "request_id", "finish_reason", "error", "answer",
    "answer_hash",
)  # fmt: skip

Row = tuple[Any, ...]

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_LARGEST: Final = 2**63 - 1  # of an SQLite integer


class Rows(NamedTuple):
    """One call and its attempts, in the order of `CALL_COLUMNS` and `ATTEMPT_COLUMNS`.

    The ids of the rows, and with them ``call`` of an attempt, are for who inserts them.
    """

    call: Row
    attempts: list[Row]


class Kept(NamedTuple):
    """What is kept of a text."""

    text: str | None
    hash: bytes | None
    chars: int


class Recorder:
    """Makes the rows of a call.

    Args:
        prompt: whether prompts are kept as ``text``, as a ``hash``, or not at all (``none``).
        answer: the same for answers.
        redact: changes each text before it is kept or hashed, after secrets have been cut out.

    The hash is BLAKE2b with 16 bytes of the UTF-8 of what ``text`` would keep. Unless prompts and
    answers are both kept as text, no text that may quote them is kept either: of reasons and
    errors there are only the names.

    Raises:
        ConfigError: ``prompt`` or ``answer`` is none of the three.
    """

    def __init__(
        self, *, prompt: Store = "text", answer: Store = "text", redact: Redact | None = None
    ) -> None:
        _check("prompt", prompt)
        _check("answer", answer)
        self._prompt: Store = prompt
        self._answer: Store = answer
        self._quotes = prompt == answer == "text"
        self._cut_secrets = secret_redactor()
        self._redact = redact
        self._known_words = lru_cache(maxsize=2000)(self._kept_words)
        self.failures = 0
        """Texts that ``redact`` raised on; none of them was kept, and the first was logged."""

    def rows(self, record: CallRecord) -> Rows:
        """The rows of a call."""
        result, route, cost, waste = record.result, record.route, record.cost, record.waste
        prompt = self._keep(record.request.text, self._prompt)
        told = _Told(self._keep, self._answer)
        answer = _NOTHING if result is None else told.kept(result.answer, result.text)
        call = (
            record.id,
            record.began,
            clean(record.policy),
            record.outcome,
            None if result is None else clean(result.tier),
            clean(record.first),
            record.escalations,
            len({attempt.tier for attempt in record.attempts}),
            len(record.attempts),
            record.latency,
            cost.low,
            cost.high,
            cost.basis,
            waste.low,
            waste.high,
            *((None,) * 5 if route is None else self._route(route)),
            clean(record.variant),
            self._error(record.error),
            prompt.text,
            prompt.hash,
            prompt.chars,
            answer.text,
            answer.hash,
            None if result is None else answer.chars,
        )
        return Rows(call, [self._attempt(attempt, told) for attempt in record.attempts])

    def _route(self, route: Route) -> Row:
        start, cost = route.start, route.cost
        return (
            None if start is None else clean(start),
            self._words(route.label),
            route.latency,
            cost.low,
            cost.high,
        )

    def _attempt(self, attempt: Attempt, told: _Told) -> Row:
        answer, verdict, error = attempt.answer, attempt.verdict, attempt.error
        usage = None if answer is None else answer.usage
        kept = _NOTHING if answer is None else told.kept(answer, answer.text)
        return (
            attempt.number,
            clean(attempt.tier),
            clean(attempt.model),
            attempt.member,
            attempt.kind,
            attempt.outcome,
            self._reason(attempt),
            None if verdict is None else self._words(verdict.code),
            None if attempt.verifier is None else clean(attempt.verifier),
            None if verdict is None else verdict.score,
            attempt.started,
            attempt.waited,
            attempt.latency,
            attempt.time_to_first_token,
            None if verdict is None else verdict.latency,
            *(
                (None,) * 4
                if usage is None
                else (
                    _count(usage.input_tokens),
                    _count(usage.cached_input_tokens),
                    _count(usage.output_tokens),
                    _count(usage.reasoning_tokens),
                )
            ),
            attempt.cost.low,
            attempt.cost.high,
            attempt.cost.basis,
            *(
                (None,) * 3
                if answer is None
                else (
                    self._words(answer.model),
                    self._request_id(answer),
                    self._words(answer.finish_reason),
                )
            ),
            self._error(None if error is None else f"{type(error).__name__}: {error.message}"),
            kept.text,
            kept.hash,
        )

    def _request_id(self, answer: Answer) -> str | None:
        id_ = answer.request_id
        return self._kept_words(id_[:MAX_WORDS]) if id_ else id_

    def _reason(self, attempt: Attempt) -> str:
        if self._quotes:
            return self._words(attempt.reason) or ""
        if attempt.outcome == "cancelled":
            return attempt.reason  # the engine's own words
        if attempt.error is not None:
            return type(attempt.error).__name__
        verdict = attempt.verdict
        if verdict is None or verdict.accepted:
            return ""
        code = self._words(verdict.code) or ""
        return f"abstained: {code}" if verdict.outcome == "abstained" else code

    def _error(self, error: str | None) -> str | None:
        """As the class, a colon and the message; the class alone where that is all to be kept."""
        if error is None:
            return None
        return self._words(error if self._quotes else error.partition(":")[0])

    def _words(self, text: str | None) -> str | None:
        """As `_kept_words`, for what comes again and again."""
        return self._known_words(text[:MAX_WORDS]) if text else text

    def _kept_words(self, text: str) -> str:
        return clean(self._redacted(text))

    def _keep(self, text: str, store: Store) -> Kept:
        if store == "none":
            return Kept(None, None, len(text))
        kept = clean(self._redacted(text[:MAX_TEXT]))
        digest = blake2b(kept.encode(), digest_size=16).digest()
        return Kept(kept if store == "text" else None, digest, len(text))

    def _redacted(self, text: str) -> str:
        text = self._cut_secrets(text)
        if self._redact is None:
            return text
        try:
            changed = self._redact(text)
        # Whatever it is, `SystemExit` too: it ends no thread of the ledger's, and must not be kept.
        except BaseException as error:  # noqa: BLE001  (the user's; extensions have panics of their own)
            return self._unredacted(type(error).__name__)
        if not isinstance(changed, str):
            return self._unredacted(f"returned {type(changed).__name__}, no str")
        return changed

    def _unredacted(self, why: str) -> str:
        self.failures += 1
        if self.failures == 1:  # the message of an error may quote the text
            logs.warn("cascade.redaction_failed", error=why)
        return UNREDACTED


class _Told:
    """The answers of a call, each looked at once: the winner's is the call's own, too."""

    def __init__(self, keep: Callable[[str, Store], Kept], store: Store) -> None:
        self._keep = keep
        self._store: Store = store
        self._last = ""
        self._kept = _NOTHING

    def kept(self, answer: Answer, text: str) -> Kept:
        if not text and answer.tool_calls:
            text = msgspec.json.encode(answer.tool_calls).decode()
        if self._kept is _NOTHING or text != self._last:
            self._last, self._kept = text, self._keep(text, self._store)
        return self._kept


_NOTHING: Final = Kept(None, None, 0)


def _check(name: str, store: object) -> None:
    if store not in STORES:
        raise ConfigError(f"{name}={store!r}: needs one of {', '.join(map(repr, STORES))}")


def clean(text: str) -> str:
    """Text that can be written as UTF-8."""
    if text.isascii():
        return text
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


def _count(value: int | None) -> int | None:
    """A number of tokens as a server tells it, if it can be one."""
    return value if value is None or 0 <= value <= _LARGEST else None
