"""``cascade audit``."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

from cascade.errors import ConfigError
from cascade_policies.commands.errors import ACCEPTED
from cascade_policies.commands.output import UNLIMITED, say, show, working


def audit(
    source: Path | None = None,
    /,
    *,
    since: str | None = None,
    json: bool = False,
    write: Path | None = None,
    small: str | None = None,
    mid: str | None = None,
) -> int:
    """Look through past calls: what each kind costs, what it seems to need, and why.

    No model is called. What is read are calls that were made: a ledger, OpenTelemetry GenAI spans,
    or a log of requests in the style of OpenAI's API, the latter two as JSON lines.

    Parameters
    ----------
    source
        A ledger, or a file of JSON lines; by default the project's ledger.
    since
        Only calls since then: 12h, 7d, 4w, or a date like 2026-01-31.
    json
        Write one JSON object instead of tables.
    write
        Write a starting project file of that name, with the code it needs beside it.
    small
        The model to propose for small work, as provider:model.
    mid
        The model to propose for work between small and frontier.
    """
    from cascade_policies.audit.audit import audit_calls
    from cascade_policies.audit.proposal import write_project
    from cascade_policies.audit.saving import can_call
    from cascade_policies.audit.sources import read_calls
    from cascade_policies.audit.view import report, shape
    from cascade_policies.ledger.database import ledger_path
    from cascade_policies.report.window import Window

    for option, model in (("--small", small), ("--mid", mid)):
        if model is not None and not can_call(model):
            raise ConfigError(f'{option} {model!r}: write "provider:model" of a known provider')
    path = ledger_path(source)
    if not path.exists():
        raise ConfigError(
            f"no file {str(path)!r}: give a ledger, or a file of spans or requests as JSON lines"
        )
    start = None if since is None else Window.parse(since, time.time()).since
    with working(f"reading {path.name}"):
        reading = read_calls(path, since=start)
    if not reading.calls:
        raise ConfigError(f"no calls since {since}: give an earlier time")
    with working(f"looking through {len(reading.calls):,} calls"):
        found = audit_calls(reading, small=small, mid=mid)
    written = [] if write is None else write_project(found, write)
    if json:
        from cascade_policies.commands.shape import write_json

        write_json({**shape(found), "written": [str(file) for file in written]})
        return ACCEPTED
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else UNLIMITED
    show(*report(found, width))
    for file in written:
        say(f"written: {file}")
    return ACCEPTED
