"""``cascade ledger export`` and ``prune``: the calls in a file, and fewer of them in the ledger."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from cascade_policies.cli import main
from cascade_policies.ledger.database import connect
from cascade_policies.ledger.insert import write_calls
from cascade_policies.ledger.rows import ATTEMPT_COLUMNS, CALL_COLUMNS, Recorder

if TYPE_CHECKING:
    from cascade.records import CallRecord
    from tests.policies.conftest import Run
    from tests.policies.ledger.conftest import MakeCall

T0 = 1_790_000_000.25


@pytest.fixture
def records(make_call: MakeCall) -> list[CallRecord]:
    """An hour apart; the last one of another task."""
    made = [make_call(number, began=T0 + 3600 * number) for number in range(5)]
    return [*made, make_call(5, began=T0 + 3600 * 5, policy="other")]


@pytest.fixture
def ledger(records: list[CallRecord], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "calls.db"
    monkeypatch.setenv("CASCADE_LEDGER", str(path))
    with closing(connect(path)) as connection:
        write_calls(connection, Recorder(), records)
    return path


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


class TestExport:
    """Every call with its attempts, in the order they were written."""

    def test_json_lines(
        self, command_line: Run, ledger: Path, records: list[CallRecord], tmp_path: Path
    ) -> None:
        code, out, err = command_line("ledger", "export", "calls.jsonl")
        assert (code, out, err) == (0, "6 calls to calls.jsonl\n", "")
        rows = lines((tmp_path / "calls.jsonl").read_text())
        assert [row["call_id"] for row in rows] == [record.id for record in records]
        assert set(rows[0]) == {*CALL_COLUMNS, "attempts_made"}
        assert [set(attempt) for attempt in rows[0]["attempts"]] == [set(ATTEMPT_COLUMNS)] * 2
        assert [len(row["attempts"]) for row in rows] == [2, 1, 1, 1, 2, 1]
        assert rows[0]["began"] == T0
        assert rows[0]["attempts"][1]["answer"] == rows[0]["answer"]
        assert rows[0]["attempts"][1]["answer_hash"] == rows[0]["answer_hash"]
        assert len(bytes.fromhex(rows[0]["prompt_hash"])) == 16
        assert not list(tmp_path.glob("*.part"))

    def test_parquet_has_the_same(self, command_line: Run, ledger: Path, tmp_path: Path) -> None:
        command_line("ledger", "export", "calls.jsonl")
        code, out, _ = command_line("ledger", "export", "calls.parquet", "--json")
        assert code == 0
        assert json.loads(out) == {
            "ledger": str(ledger), "file": "calls.parquet", "format": "parquet", "calls": 6,
        }  # fmt: skip
        rows = pq.read_table(tmp_path / "calls.parquet").to_pylist()
        for row in rows:
            row["began"] = row["began"].timestamp()
            for part in (row, *row["attempts"]):
                for name in ("prompt_hash", "answer_hash"):
                    if name in part:
                        part[name] = part[name].hex()
        assert rows == lines((tmp_path / "calls.jsonl").read_text())

    def test_to_standard_output(
        self, ledger: Path, capfdbinary: pytest.CaptureFixture[bytes]
    ) -> None:
        assert main(["ledger", "export"]) == 0
        assert len(capfdbinary.readouterr().out.splitlines()) == 6

    def test_only_a_task_or_a_period(
        self, command_line: Run, ledger: Path, records: list[CallRecord], tmp_path: Path
    ) -> None:
        def exported(*options: str) -> list[str]:
            code, _, err = command_line("ledger", "export", "some.jsonl", *options)
            assert (code, err) == (0, "")
            return [row["call_id"] for row in lines((tmp_path / "some.jsonl").read_text())]

        assert exported("--task", "other") == [records[5].id]
        code, _, err = command_line("ledger", "export", "some.jsonl", "--policy", "othr")
        assert (code, "did you mean 'other'?" in err) == (2, True)
        assert len(lines((tmp_path / "some.jsonl").read_text())) == 1  # is not replaced
        # 2026-09-21T14:13:20 is T0: what is not on the edge of an hour begins at the one before.
        assert exported("--since", "2026-09-21T16:59") == [r.id for r in records[2:]]

    def test_calls_that_are_written_meanwhile_are_not_in_it(
        self, ledger: Path, make_call: MakeCall
    ) -> None:
        from cascade_policies.ledger.export import read_calls

        with closing(connect(ledger)) as one, closing(connect(ledger)) as other:
            calls = read_calls(one)
            next(calls)
            write_calls(other, Recorder(), [make_call(7)])
            assert len(list(calls)) == 5
            assert len(list(read_calls(one))) == 7

    def test_without_pyarrow_the_command_that_adds_it_is_named(
        self, command_line: Run, ledger: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        (tmp_path / "calls.parquet").write_text("the one before")
        code, _, err = command_line("ledger", "export", "calls.parquet")
        assert code == 5
        assert "pip install 'cascade-engine[parquet]'" in err
        assert (tmp_path / "calls.parquet").read_text() == "the one before"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("calls.csv",), "calls.csv: end its name in .jsonl or .parquet, or give --format"),
            (("--json",), "--json: needs a file"),
            (("calls.jsonl", "--since", "soon"), "--since 'soon'"),
            (("calls.jsonl", "--ledger", "none.db"), "no ledger at none.db"),
            (("no/folder/calls.jsonl",), "cannot write no/folder/calls.jsonl"),
        ],
    )
    def test_what_cannot_be_done_is_said(
        self, command_line: Run, ledger: Path, arguments: tuple[str, ...], message: str
    ) -> None:
        code, _, err = command_line("ledger", "export", *arguments)
        assert code in (1, 2)
        assert message in err + command_line("ledger", "export", *arguments).out


class TestPrune:
    """The command that deletes."""

    def test_by_age(self, command_line: Run, ledger: Path) -> None:
        code, out, err = command_line("ledger", "prune", "--max-age", "1h", "--json")
        assert (code, err) == (0, "")
        assert json.loads(out) == {
            "ledger": str(ledger), "deleted": 6, "calls": 0, "bytes": ledger.stat().st_size,
        }  # fmt: skip

    def test_by_size(self, command_line: Run, ledger: Path) -> None:
        code, out, _ = command_line("ledger", "prune", "--max-size", "1.5GB")
        assert code == 0
        assert out.startswith("0 calls deleted; 6 left in 0.")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((), "give --max-age, like 90d, or --max-size, like 2GB, or both"),
            (("--max-age", "0d"), "--max-age '0d': give hours, days or weeks"),
            (("--max-age", "old"), "--max-age 'old'"),
            (("--max-size", "0"), "--max-size '0': give a size like 500MB or 2GB, 1MB or more"),
            (("--max-size", "big"), "--max-size 'big': give a size like 500MB or 2GB"),
        ],
    )
    def test_what_cannot_be_done_is_said(
        self, command_line: Run, ledger: Path, arguments: tuple[str, ...], message: str
    ) -> None:
        code, _, err = command_line("ledger", "prune", *arguments)
        assert code == 2
        assert message in err
