"""``cascade report``."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from cascade.errors import ConfigError
from cascade_policies.commands.errors import ACCEPTED
from cascade_policies.commands.output import show, working, write

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cascade_policies.report.source import Source

By = Literal["tier", "model", "verifier", "day"]

_SINCE: Final = "7d"


def report(
    *,
    task: str | None = None,
    since: str | None = None,
    by: By | None = None,
    json: bool = False,
    html: Path | None = None,
    prometheus: bool = False,
    ledger: Path | None = None,
) -> int:
    """What calls cost, how long they took and why they escalated.

    Parameters
    ----------
    task
        Only this task, or policy.
    since
        From when: 12h, 7d or 4w ago, or a date or time like 2026-01-31 (UTC). By default 7d.
    by
        One table by tier, model, verifier or day.
    json
        Write one JSON object instead of tables.
    html
        Write one page with plots to this file.
    prometheus
        Write everything since the ledger began as Prometheus reads it.
    ledger
        The ledger's database; by default the project's.
    """
    forms = {"--json": json, "--html": html is not None, "--prometheus": prometheus}
    _check_options(task, since, by, forms)
    from cascade_policies.ledger.database import ledger_path
    from cascade_policies.report.opening import open_ledger, snapshot

    with (
        working("reading the ledger"),
        closing(open_ledger(ledger_path(ledger), task)) as connection,
        snapshot(connection),
    ):
        if prometheus:
            from cascade_policies.report.prometheus import ledger_text

            parts: list[RenderableType] = [ledger_text(connection)]
        else:
            from cascade_policies.report.source import Source
            from cascade_policies.report.window import Window

            source = Source(connection, Window.parse(since or _SINCE, time.time()), task)
            parts = _parts(source, by, json=json, html=html is not None)
    if html is not None:
        _write_file(html, str(parts[0]))
    elif json or prometheus:
        write(str(parts[0]))
    else:
        show(*parts)
    return ACCEPTED


def _parts(source: Source, by: By | None, *, json: bool, html: bool) -> list[RenderableType]:
    """What to write: one text, or tables."""
    if html:
        from cascade_policies.report.page import page

        return [page(source)]
    if not json:
        return list(_shown(source, by))
    from cascade_policies.commands.shape import to_json
    from cascade_policies.report.figures import shape
    from cascade_policies.report.queries import read_report

    found = shape(read_report(source))
    more = {} if by is None else {"by": by, "rows": shape(_rows(source, by))}
    return [f"{to_json({**found, **more})}\n"]


def _check_options(
    task: str | None,
    since: str | None,
    by: str | None,
    forms: Mapping[str, object],
) -> None:
    given = [name for name, value in forms.items() if value]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)}: give one of them")
    if by is not None and given == ["--html"]:
        raise ConfigError("--by: leave it out, the page has all of them")
    for name, value in (("--task", task), ("--since", since), ("--by", by)):
        if value is not None and given == ["--prometheus"]:
            raise ConfigError(f"{name}: leave it out, counters are of the whole ledger")


def _rows(source: Source, by: By) -> list[Any]:
    from cascade_policies.report import queries

    if by == "tier":
        found = queries.read_report(source).tasks
        return [{"task": task.task, **_flat(tier)} for task in found for tier in task.tiers]
    if by == "model":
        return list(queries.read_models(source))
    return list(queries.read_checks(source) if by == "verifier" else queries.read_steps(source))


def _flat(tier: Any) -> dict[str, Any]:
    return {name: getattr(tier, name) for name in tier.__struct_fields__}


def _shown(source: Source, by: By | None) -> Iterator[RenderableType]:
    from cascade_policies.report import queries, tables, words

    if by is None:
        yield from tables.report_tables(queries.read_report(source))
        return
    yield f"{words.period(source.window.since, source.window.until)}\n"
    if by == "tier":
        yield tables.tiers_table(queries.read_report(source))
    elif by == "model":
        yield tables.models_table(queries.read_models(source))
    elif by == "verifier":
        yield tables.checks_table(queries.read_checks(source))
    else:
        yield tables.steps_table(queries.read_steps(source))


def _write_file(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--html: cannot write {str(path)!r}: {error.strerror}") from error
