"""What `overhead` found, for people: tables and a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.contenders import OURS


def tables(found: Mapping[str, Any], targets: Mapping[str, float]) -> str:
    """Every part that was measured."""
    lines: list[str] = []
    if "added" in found:
        lines += _added(found["added"])
    if "race" in found:
        lines += _race(found["race"])
    if "calls" in found:
        lines += _calls(found["calls"])
    if "memory" in found:
        lines += _memory(found["memory"])
    load, cores = found["machine"]["load"], found["machine"]["cores"]
    lines.append(f"{cores} cores, load average {load[0]:.1f} before and {load[1]:.1f} after")
    lines.append("figures and their targets")
    for name, target in targets.items():
        value = found["figures"].get(name)
        shown = "not measured" if value is None else f"{value:.4g}"
        missed = "  missed" if value is not None and value > target else ""
        lines.append(f"  {name:<18} {shown:>12}   at most {target:.4g}{missed}")
    return "\n".join(lines)


def spread(values: Sequence[float]) -> str:
    """Median and quartiles."""
    low, median, high = values
    return f"{median:,.0f} ({low:,.0f} to {high:,.0f})"


def _added(found: Mapping[str, Any]) -> list[str]:
    one, many, busy = found["one"], found["many"], found["busy"]
    lines = [f"added to the provider over {found['client']}, µs: median (quartiles)"]
    for name, label in (("added", "without logging"), ("logged", "with JSON lines")):
        if name not in one:
            lines.append(f"  {label}: skipped, structlog is not installed")
            continue
        lines.append(
            f"  1 in flight, {label:<15} p50 {spread(one[name]['p50_us'])}, "
            f"p99 {spread(one[name]['p99_us'])}, cpu {spread(one[name]['cpu_us'])}"
        )
    bare = ", ".join(f"{name[:-3]} {took:,.0f}" for name, took in one["bare"].items())
    lines.append(
        f"  1 in flight, the provider itself {bare}; "
        f"with us {1 + one['added']['p50_us'][1] / one['bare']['p50_us']:.2f}x; "
        f"{one['kept']:,} of {one['rounds']:,} rounds are in it"
    )
    lines.append(
        f"  {busy['concurrency']} in flight, never idle, cpu {spread(busy['added_us'])}; "
        f"the provider {spread(busy['bare_us'])}, verified {spread(busy['verified_us'])}: "
        f"{_ratio(busy):.2f}x"
    )
    lines.append(
        f"  {many['concurrency']} in flight, answers held back, p50 {spread(many['added_us'])}; "
        f"the provider {spread(many['bare_us'])}, verified {spread(many['verified_us'])}: "
        f"{_ratio(many):.2f}x"
    )
    return lines


def _ratio(found: Mapping[str, Any]) -> float:
    ratio: float = found["verified_us"][1] / found["bare_us"][1]
    return ratio


def _race(found: Mapping[str, Any]) -> list[str]:
    return [
        "race of three, processor µs a race: median (quartiles)",
        f"  three read to the end {spread(found['whole_cpu_us'])}",
        f"  raced by hand         {spread(found['by_hand_cpu_us'])}",
        f"  race                  {spread(found['race_cpu_us'])}",
        f"  over by hand {spread(found['over_by_hand_us'])}, "
        f"over three read to the end {spread(found['over_whole_us'])}",
    ]


def _calls(found: Mapping[str, Any]) -> list[str]:
    lines = [
        f"{'in flight':>9} {'':<26} {'p50 ms':>8} {'p90 ms':>8} {'p99 ms':>8}  "
        f"{'cpu µs a call (quartiles)':<28} ratio"
    ]
    for row in found["rows"]:
        times = " ".join(f"{row[f'p{share}_us'] / 1e3:>8.2f}" for share in (50, 90, 99))
        lines.append(
            f"{row['concurrency']:>9} {row['name']:<26} {times}  "
            f"{spread(row['cpu_us']):<28} {row['ratio'][1]:.1f}x"
        )
    lines += [f"  {name}: left out, {why}" for name, why in found["left_out"].items()]
    lines += [f"  {name}: {note}" for name, note in found["notes"].items()]
    return lines


def _memory(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["memory a call in flight" + ("" if rows else ": this system does not say")]
    for row in rows:
        reached = (
            "" if row["reached"] == row["count"] else f" ({row['reached']} reached the server)"
        )
        size = f"failed: {row.get('error')}" if row["kb"] is None else f"{row['kb']:>7.1f} KB"
        if row["reached"] == 0 and row["kb"] is not None:
            size, reached = "not measured: no call stayed in flight", ""
        lines.append(f"  {row['count']:>5} in flight {row['name']:<26} {size}{reached}")
    return lines


def plot(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Processor time a call of everyone, one panel a concurrency, on a logarithmic axis.

    Raises:
        SystemExit: matplotlib is not installed.
    """
    try:
        matplotlib = import_module("matplotlib")
    except ModuleNotFoundError as error:
        raise SystemExit("no plot: pip install 'cascade-engine[plot]'") from error
    matplotlib.use("Agg")
    concurrencies = sorted({row["concurrency"] for row in rows})
    figure, axes = import_module("matplotlib.pyplot").subplots(
        1, len(concurrencies), figsize=(5 * len(concurrencies), 4), sharey=True, squeeze=False
    )
    for axis, concurrency in zip(axes[0], concurrencies, strict=True):
        shown = [row for row in rows if row["concurrency"] == concurrency]
        low, median, high = zip(*(row["cpu_us"] for row in shown), strict=True)
        errors = [
            [m - a for m, a in zip(median, low, strict=True)],
            [b - m for m, b in zip(median, high, strict=True)],
        ]
        ours = {one.name for one in OURS}
        colours = ["#c44e52" if row["name"] in ours else "#4c72b0" for row in shown]
        axis.barh([row["name"] for row in shown], median, xerr=errors, color=colours)
        axis.set(xscale="log", xlabel="processor µs a call", title=f"{concurrency} in flight")
    figure.tight_layout()
    figure.savefig(path)
