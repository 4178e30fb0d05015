"""``cascade ledger``: the record of calls, exported and cut."""

from __future__ import annotations

import re
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Annotated, Final, Literal

from cyclopts import Parameter

from cascade.errors import ConfigError
from cascade_policies.commands.errors import ACCEPTED
from cascade_policies.commands.output import OutputError, say, silence, working

Form = Literal["jsonl", "parquet"]

_SIZE: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s?([KMGT]?)B?", re.IGNORECASE)
_UNITS: Final = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_AGE: Final = re.compile(r"([0-9]{1,5})([hdw])")
_HOURS: Final = {"h": 1, "d": 24, "w": 7 * 24}


def export(
    file: Path | None = None,
    /,
    *,
    form: Annotated[Form | None, Parameter(name="--format")] = None,
    since: str | None = None,
    task: Annotated[str | None, Parameter(name=("--task", "--policy"))] = None,
    json: bool = False,
    ledger: Path | None = None,
) -> int:
    """Write the calls with their attempts to JSON lines or a Parquet file.

    Parameters
    ----------
    file
        Where to; what is there is replaced. By default standard output.
    form
        By default as the name of the file ends, and jsonl on standard output.
    since
        From when: 12h, 7d or 4w ago, or a date or time like 2026-01-31 (UTC).
    task
        Only this task, or policy.
    json
        Write one JSON object that says how many calls were written. Needs a file.
    ledger
        The ledger's database; by default the project's.
    """
    from cascade_policies.ledger import export as exporting
    from cascade_policies.ledger.database import connect_to_read, ledger_path
    from cascade_policies.report.source import check_task

    if json and file is None:
        raise ConfigError("--json: needs a file to export to")
    kind = form or _form(file)
    start = None if since is None else _since(since)
    write = exporting.write_parquet if kind == "parquet" else exporting.write_jsonl
    path = ledger_path(ledger)
    with closing(connect_to_read(path)) as connection, _reading(path):
        if task is not None:
            check_task(connection, task)  # before anything is replaced
        with (
            closing(exporting.read_calls(connection, since=start, policy=task)) as calls,
            working("exporting"),
            _writing(file) as out,
        ):
            count = write(calls, out)
    if json:
        from cascade_policies.commands.shape import write_json

        write_json({"ledger": str(path), "file": str(file), "format": kind, "calls": count})
    elif file is not None:
        say(f"{count:,} {_calls(count)} to {file}")
    return ACCEPTED


def prune(
    *,
    max_age: str | None = None,
    max_size: str | None = None,
    json: bool = False,
    ledger: Path | None = None,
) -> int:
    """Delete the oldest calls with their attempts, and make the file smaller.

    Parameters
    ----------
    max_age
        Delete what is older: 12h, 90d or 26w.
    max_size
        Delete the oldest until the database is no larger: 500MB, 2GB.
    json
        Write one JSON object instead of a sentence.
    ledger
        The ledger's database; by default the project's.
    """
    from cascade_policies.ledger.database import connect, ledger_path
    from cascade_policies.ledger.prune import prune as delete

    if max_age is None and max_size is None:
        raise ConfigError("give --max-age, like 90d, or --max-size, like 2GB, or both")
    days = None if max_age is None else _days(max_age)
    size = None if max_size is None else _bytes(max_size)
    path = ledger_path(ledger)
    with closing(connect(path, create=False)) as connection, working("deleting"), _reading(path):
        count = delete(connection, max_age_days=days, max_bytes=size)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        (left,) = connection.execute("SELECT count(*) FROM calls").fetchone()
    bytes_ = path.stat().st_size
    if json:
        from cascade_policies.commands.shape import write_json

        write_json({"ledger": str(path), "deleted": count, "calls": left, "bytes": bytes_})
    else:
        say(f"{count:,} {_calls(count)} deleted; {left:,} left in {bytes_ / 1e6:,.1f} MB")
    return ACCEPTED


def _form(file: Path | None) -> Form:
    if file is None or file.suffix in (".jsonl", ".ndjson"):
        return "jsonl"
    if file.suffix == ".parquet":
        return "parquet"
    raise ConfigError(f"{file}: end its name in .jsonl or .parquet, or give --format")


def _since(text: str) -> float:
    from cascade_policies.report.window import Window

    return Window.parse(text, time.time()).since


def _days(text: str) -> float:
    match = _AGE.fullmatch(text)
    if match is None or not int(match[1]):
        raise ConfigError(f"--max-age {text!r}: give hours, days or weeks like 12h, 90d or 26w")
    return int(match[1]) * _HOURS[match[2]] / 24


def _bytes(text: str) -> int:
    from cascade_policies.ledger.writer import SMALLEST

    match = _SIZE.fullmatch(text)
    size = 0 if match is None else int(float(match[1]) * _UNITS[match[2].upper()])
    if size < SMALLEST:
        raise ConfigError(f"--max-size {text!r}: give a size like 500MB or 2GB, 1MB or more")
    return size


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say of what SQLite complains."""
    try:
        yield
    except sqlite3.Error as error:
        raise ConfigError(f"the ledger {path}: {error}") from error


@contextmanager
def _writing(file: Path | None) -> Iterator[IO[bytes]]:
    """A file that replaces the one there when all of it is written; or standard output."""
    if file is None:
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            silence(sys.stdout)
        return
    part = file.with_name(f"{file.name}.part")
    try:
        with part.open("wb") as out:
            yield out
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        why = (error.strerror or type(error).__name__).lower()
        raise OutputError(f"cannot write {file}: {why}") from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _calls(count: int) -> str:
    return "call" if count == 1 else "calls"
