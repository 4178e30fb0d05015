"""What of a call is kept in the ledger: everything, in the form that was asked for, no secrets."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cascade.cost import Cost
from cascade.errors import ConfigError, FunctionError
from cascade.routing import Route
from cascade.types import ToolCall
from cascade.verdict import Verdict
from cascade_policies.ledger import rows
from cascade_policies.ledger.database import connect
from cascade_policies.ledger.insert import write_calls
from cascade_policies.ledger.redaction import REDACTED, secret_redactor
from cascade_policies.ledger.rows import Recorder

if TYPE_CHECKING:
    from cascade.records import CallRecord
    from tests.policies.ledger.conftest import MakeCall

hostile = st.text(st.characters(), max_size=200)  # surrogates and NULs among them


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """One ledger for all: each call is found by its id."""
    with closing(connect(tmp_path_factory.mktemp("rows") / "ledger.db")) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


def written(
    connection: sqlite3.Connection, record: CallRecord, recorder: Recorder | None = None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The rows of the call and of its attempts, as read back."""
    assert write_calls(connection, recorder or Recorder(), [record]) == 1
    call = connection.execute("SELECT * FROM calls WHERE call_id = ?", (record.id,)).fetchone()
    attempts = connection.execute(
        "SELECT * FROM attempts WHERE call = ? ORDER BY number", (call["id"],)
    ).fetchall()
    return dict(call), [dict(attempt) for attempt in attempts]


class TestEverything:
    """No fact of the record is left out."""

    def test_of_a_call(self, connection: sqlite3.Connection, make_call: MakeCall) -> None:
        record = make_call(
            4,
            "Which kind?",
            answer_text="billing",
            route=Route("small", "easy", "short", Cost(0.01, 0.02), 0.2),
            variant="effort=fast",
            cost=Cost(0.25, 0.5, "cancelled"),
            waste=Cost(0.125, 0.25),
        )
        call, attempts = written(connection, record)
        assert call.pop("id") == attempts[0]["call"]
        hashes = [call.pop("prompt_hash"), call.pop("answer_hash")]
        assert hashes == [blake2b(t, digest_size=16).digest() for t in (b"Which kind?", b"billing")]
        assert call == {
            "call_id": record.id, "began": record.began, "policy": "tickets",
            "outcome": "accepted", "tier": "large", "first": "small", "escalations": 1,
            "tiers_tried": 2, "attempts": 2, "latency_s": 1.2, "cost_low": 0.25, "cost_high": 0.5,
            "cost_basis": "cancelled", "waste_low": 0.125, "waste_high": 0.25, "route": "small",
            "route_label": "easy", "route_s": 0.2, "route_cost_low": 0.01, "route_cost_high": 0.02,
            "variant": "effort=fast", "error": None, "prompt": "Which kind?", "prompt_chars": 11,
            "answer": "billing", "answer_chars": 7,
        }  # fmt: skip

    def test_of_an_attempt(self, connection: sqlite3.Connection, make_call: MakeCall) -> None:
        verdict = Verdict("accepted", 0.75, code="sure", latency=0.01)
        record = make_call(
            4,
            answer_text="billing",
            usage_cached_input_tokens=7,
            usage_reasoning_tokens=9,
            attempt_verdict=verdict,
            attempt_kind="repair",
            attempt_member=2,
            attempt_waited=0.05,
        )
        _, (first, second) = written(connection, record)
        assert (first["outcome"], first["code"]) == ("rejected", "one_of.unknown")
        assert first["reason"] == record.attempts[0].reason
        del second["id"], second["call"], second["answer_hash"], second["request_id"]
        assert second == {
            "number": 2, "tier": "large", "model": "openai:large", "member": 2, "kind": "repair",
            "outcome": "accepted", "reason": "", "code": "sure", "verifier": "one_of",
            "score": 0.75, "started_s": 0.3, "waited_s": 0.05, "latency_s": 0.9,
            "time_to_first_token_s": 0.1, "check_s": 0.01, "input_tokens": 80,
            "cached_input_tokens": 7, "output_tokens": 20, "reasoning_tokens": 9,
            "cost_low": 0.001, "cost_high": 0.001, "cost_basis": "reported",
            "response_model": "large-2026", "finish_reason": "stop", "error": None,
            "answer": "billing",
        }  # fmt: skip

    def test_a_call_without_an_answer(
        self, connection: sqlite3.Connection, make_call: MakeCall
    ) -> None:
        error = FunctionError("it broke")
        record = make_call(
            1,
            outcome="exhausted",
            result=None,
            error="CascadeExhausted: every tier was rejected or failed",
            attempt_outcome="failed",
            attempt_reason="FunctionError: it broke",
            attempt_error=error,
            attempt_answer=None,
            attempt_verdict=None,
        )
        call, (attempt,) = written(connection, record)
        assert (call["outcome"], call["tier"]) == ("exhausted", None)
        assert call["error"] == "CascadeExhausted: every tier was rejected or failed"
        assert {call[key] for key in ("answer", "answer_hash", "answer_chars")} == {None}
        assert attempt["error"] == "FunctionError: it broke"
        assert {attempt[key] for key in ("answer", "score", "check_s", "input_tokens")} == {None}

    def test_an_unknown_cost_is_null_and_not_nothing(
        self, connection: sqlite3.Connection, make_call: MakeCall
    ) -> None:
        unknown = Cost.unknown("estimated")
        call, (attempt,) = written(connection, make_call(1, cost=unknown, attempt_cost=unknown))
        for row in (call, attempt):
            assert (row["cost_low"], row["cost_high"]) == (None, None)
            assert row["cost_basis"] == "estimated"

    def test_tool_calls_are_the_answer_where_there_is_no_text(
        self, connection: sqlite3.Connection, make_call: MakeCall
    ) -> None:
        record = make_call(
            1, answer_text="", answer_tool_calls=(ToolCall("refund", '{"n": 3}', "id1"),)
        )
        call, (attempt,) = written(connection, record)
        expected = '[{"name":"refund","arguments":"{\\"n\\": 3}","id":"id1"}]'
        assert call["answer"] == attempt["answer"] == expected


class TestHostile:
    """Whatever people, models and servers write, the row is written."""

    @given(prompt=hostile, answer=hostile, reason=hostile, other=hostile)
    def test_text_comes_back_as_it_was(
        self, connection: sqlite3.Connection, make_call: MakeCall, prompt: str, answer: str,
        reason: str, other: str,
    ) -> None:  # fmt: skip
        assume(prompt.strip())
        cut = secret_redactor()
        assume(all(cut(text) == text for text in (prompt, answer, reason, other)))
        record = make_call(
            1, prompt, answer_text=answer, attempt_reason=reason, attempt_tier=other,
            attempt_error=FunctionError(other), answer_model=other, answer_request_id=other,
            answer_finish_reason=other, verdict_code=other, policy=other, first=other,
            variant=other, route=Route(other, other), error=other,
        )  # fmt: skip
        call, (attempt,) = written(connection, record)

        def as_utf8(text: str) -> str:
            return re.sub("[\ud800-\udfff]", "\ufffd", text)

        assert call["prompt"] == as_utf8(prompt)
        assert call["prompt_chars"] == len(prompt)
        assert call["answer"] == attempt["answer"] == as_utf8(answer)
        assert attempt["reason"] == as_utf8(reason)
        assert attempt["error"] == f"FunctionError: {as_utf8(other)}"
        kept = [
            call[key] for key in ("policy", "first", "variant", "route", "route_label", "error")
        ]
        kept += [attempt[key] for key in ("tier", "code", "finish_reason")]
        kept += [attempt[key] for key in ("response_model", "request_id")]
        assert set(kept) == {as_utf8(other)}

    @given(count=st.none() | st.integers())
    def test_a_number_of_tokens_that_cannot_be_is_unknown(
        self, connection: sqlite3.Connection, make_call: MakeCall, count: int | None
    ) -> None:
        _, (attempt,) = written(connection, make_call(1, usage_output_tokens=count))
        possible = count is not None and 0 <= count < 2**63
        assert attempt["output_tokens"] == (count if possible else None)

    def test_a_huge_text_is_cut_and_counted(
        self, connection: sqlite3.Connection, make_call: MakeCall
    ) -> None:
        size = rows.MAX_TEXT + 1
        record = make_call(1, "p" * size, answer_text="ä" * size, attempt_reason="r" * size)
        call, (attempt,) = written(connection, record)
        assert (call["prompt_chars"], call["answer_chars"]) == (size, size)
        assert len(call["prompt"]) == len(call["answer"]) == rows.MAX_TEXT
        assert len(attempt["reason"]) == rows.MAX_WORDS


class TestStores:
    """Text, a hash, or nothing."""

    @pytest.mark.parametrize("store", ["hash", "none"])
    def test_what_is_not_to_be_kept_is_nowhere_in_the_file(
        self, path: Path, make_call: MakeCall, store: rows.Store
    ) -> None:
        asked, told = "the marker of the prompt", "the marker of the answer"
        quoting = f"{told!r} is no answer to {asked!r}"
        records = [
            make_call(4, asked, answer_text=told, error=f"CascadeExhausted: {quoting}"),
            make_call(
                1, asked, answer_text=told, attempt_reason=quoting, verdict_code="one_of.unknown",
                verdict_outcome="rejected", attempt_outcome="rejected",
            ),
            make_call(
                2, asked, answer_text=told, attempt_reason=f"abstained: {quoting}",
                verdict_code="check.crash", verdict_outcome="abstained", attempt_outcome="rejected",
            ),
            make_call(
                3, asked, answer_text=told, attempt_error=FunctionError(quoting),
                attempt_reason=f"FunctionError: {quoting}", attempt_outcome="failed",
            ),
        ]  # fmt: skip
        recorder = Recorder(prompt=store, answer=store)
        with closing(connect(path)) as connection:
            write_calls(connection, recorder, records)
            kept = connection.execute(
                "SELECT prompt_hash, prompt_chars, answer_hash, answer_chars, prompt, answer"
                " FROM calls"
            ).fetchall()
            reasons = connection.execute(
                "SELECT reason FROM attempts WHERE call > 1 ORDER BY id"
            ).fetchall()
            (error,) = connection.execute("SELECT error FROM calls WHERE id = 1").fetchone()
        hashes = [
            blake2b(text.encode(), digest_size=16).digest() if store == "hash" else None
            for text in (asked, told)
        ]
        assert set(kept) == {(hashes[0], len(asked), hashes[1], len(told), None, None)}
        assert reasons == [("one_of.unknown",), ("abstained: check.crash",), ("FunctionError",)]
        assert error == "CascadeExhausted"
        assert b"the marker" not in path.read_bytes()

    def test_an_unknown_store_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="answer='all': needs one of 'text', 'hash', 'none'"):
            Recorder(answer="all")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class TestRedaction:
    """Secrets are cut out of everything; a hook cuts more."""

    @pytest.mark.parametrize(
        ("text", "kept"),
        [
            ("use sk-proj-abc123DEF456, please", "use [redacted], please"),
            ("sk_live_abcdefgh12345678", "[redacted]"),
            ("key-1a2b3c4d5e6f7a8b9c0d", "[redacted]"),
            ("AIzaSyA1234567890abcdefghijklmnopqrstuv", "[redacted]"),
            ("id AKIAIOSFODNN7EXAMPLE.", "id [redacted]."),
            ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "[redacted]"),
            ("hf_abcdefghijklmnopqrstuvwxyz", "[redacted]"),
            ("xoxb-1234567890-abcdef", "[redacted]"),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0.c2ln", "[redacted]"),
            ("Authorization: Bearer abc.def-123", "Authorization: Bearer [redacted]"),
            ("authorization: Basic dXNlcjpwYXNz", "authorization: Basic [redacted]"),
            ("https://me:pass@host/x", "https://[redacted]@host/x"),
            ("https://h/x?api_key=abcdef1&n=1", "https://h/x?api_key=[redacted]&n=1"),
            ("https://h/x?n=1&key=abcdef1", "https://h/x?n=1&key=[redacted]"),
            ('{"api_key": "abcdefgh"}', '{"api_key": "[redacted]"}'),
            ("x-api-key: abcdefgh", "x-api-key: [redacted]"),
            ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI", "AWS_SECRET_ACCESS_KEY=[redacted]"),
            ("it is planted-in-env!", "it is [redacted]!"),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nend",
                "[redacted]\nend",
            ),
        ],
    )
    def test_secrets(self, text: str, kept: str) -> None:
        assert secret_redactor({"SOME_TOKEN": "planted-in-env"})(text) == kept

    @pytest.mark.parametrize(
        "text",
        [
            "the key-performance indicators of a risk-averse desk-lamp",
            "the token is the smallest unit: a tokenizer makes tokens",
            "write to me@example.org or see https://example.org/a@b",
            "What is the key? Which password? Bearer of news.",
            "sk-learn, PATH and TEST",
        ],
    )
    def test_what_is_no_secret_stays(self, text: str) -> None:
        assert secret_redactor({"PATH": "sk-learn, PATH", "A_KEY": "TEST"})(text) == text

    @pytest.mark.parametrize(
        "piece",
        [
            "sk-", "://", "key-", "key-1", "key", "api", "access", "aaaaaaaaaa=",
            "-----BEGIN PRIVATE KEY-----", "eyJ", "eyJ.", "bearer ",
            "authorization: ", "api_key=", "_token:", "-token", "secret   ", "a@://", "gh", "A",
        ],
    )  # fmt: skip
    def test_hostile_text_takes_no_longer(self, piece: str) -> None:
        redact = secret_redactor({})
        text = (piece * rows.MAX_TEXT)[: rows.MAX_TEXT - 30] + " _-.:=@A key token eyj akia://"
        began = time.process_time()
        redact(text)
        assert time.process_time() - began < 0.5

    def test_everywhere(self, path: Path, make_call: MakeCall) -> None:
        secret = "sk-planted-0123456789"
        error = FunctionError(f"refused {secret}")
        record = make_call(
            1, f"my key is {secret}", answer_text=f"your key is {secret}",
            attempt_reason=f"it says {secret}", attempt_error=error, error=f"Error: {secret}",
            answer_model=secret, answer_request_id=secret, answer_finish_reason=secret,
            verdict_code=secret, route=Route("small", secret),
        )  # fmt: skip
        with closing(connect(path)) as connection:
            assert write_calls(connection, Recorder(), [record]) == 1
            assert connection.execute("SELECT prompt FROM calls").fetchall() == [
                ("my key is [redacted]",)
            ]
        assert b"planted" not in path.read_bytes()

    def test_a_hook_changes_what_is_kept_and_what_is_hashed(
        self, connection: sqlite3.Connection, make_call: MakeCall
    ) -> None:
        def hide_names(text: str) -> str:
            return text.replace("Ada", "N.")

        recorder = Recorder(redact=hide_names)
        call, (attempt,) = written(
            connection, make_call(1, "Ada, sk-abcdef123", attempt_reason="no Ada"), recorder
        )
        assert call["prompt"] == f"N., {REDACTED}"
        assert call["prompt_hash"] == blake2b(b"N., [redacted]", digest_size=16).digest()
        assert attempt["reason"] == "no N."

    @pytest.mark.parametrize("result", [None, 3, b"bytes", "raise"])
    def test_where_the_hook_fails_nothing_is_kept(
        self, connection: sqlite3.Connection, make_call: MakeCall, result: Any
    ) -> None:
        def broken(text: str) -> Any:
            if result == "raise":
                raise RuntimeError(text)
            return result

        recorder = Recorder(redact=broken)
        call, _ = written(connection, make_call(1, "private"), recorder)
        assert call["prompt"] == call["answer"] == rows.UNREDACTED
        assert recorder.failures > 1
