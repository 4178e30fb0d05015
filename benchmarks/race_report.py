"""What `race` found, for people: a table and a plot."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

SHARES = ("p50_ms", "p90_ms", "p99_ms")
ROWS = {
    "excess": "over the clairvoyant minimum",
    "server_late": "of which the server was late",
    "net": "net",
    "before": "  until the server had it",
    "after": "  after its last byte",
    "closed": "last loser closed after",
}


def table(found: Mapping[str, Any], targets: Mapping[str, float]) -> str:
    """Both kinds of race beside each other."""
    load, machine = found["load"], found["machine"]
    lines = [
        f"{load['rate']:.0f} races a second over {load['client']}, {load['in_flight']} in flight "
        f"(at most {load['most_in_flight']})",
        f"{load['cpu_us']:,.0f} µs of processor a race, {load['server_cpu_us']:,.0f} µs of the "
        f"server's a request; "
        f"{load['left_out']} at the start left out",
        f"{machine['cores']} cores, load average {machine['load'][0]:.1f} before and "
        f"{machine['load'][1]:.1f} after",
        f"{'ms':<10} {'':<30} {'p50':>8} {'p90':>8} {'p99':>8}",
    ]
    for kind, label in (("race", "race"), ("by_hand", "by hand")):
        for name, what in ROWS.items():
            if name in found[kind]:
                values = " ".join(f"{found[kind][name][share]:>8.2f}" for share in SHARES)
                lines.append(f"{label if name == 'excess' else '':<10} {what:<30} {values}")
        lines.append(
            f"{'':<10} {found[kind]['races']:,} races, in {found[kind]['races_with_losers']:,} of "
            "which a loser was still running"
        )
    over = [found["figures"][f"over_by_hand_{share}"] for share in ("p50_ms", "p99_ms")]
    lines.append(f"net, beyond what a race by hand takes: p50 {over[0]:.2f}, p99 {over[1]:.2f}")
    for name, target in targets.items():
        value = found["figures"][name]
        missed = "  missed" if value > target else ""
        lines.append(f"{name:<16} {value:>8.2f}   at most {target:g}{missed}")
    return "\n".join(lines)


def plot(found: Mapping[str, Any], path: Path) -> None:
    """Percentiles of the net excess and of the closing, of both kinds.

    Raises:
        SystemExit: matplotlib is not installed.
    """
    try:
        matplotlib = import_module("matplotlib")
    except ModuleNotFoundError as error:
        raise SystemExit("no plot: pip install 'cascade-engine[plot]'") from error
    matplotlib.use("Agg")
    figure, axes = import_module("matplotlib.pyplot").subplots(1, 2, figsize=(10, 4))
    for axis, name in zip(axes, ("net", "closed"), strict=True):
        for place, kind in enumerate(("race", "by_hand")):
            values = [found[kind][name][share] for share in SHARES]
            where = [at + place * 0.4 for at in range(len(SHARES))]
            axis.bar(where, values, width=0.4, label=kind.replace("_", " "))
        ticks = [at + 0.2 for at in range(len(SHARES))]
        axis.set(title=ROWS[name], ylabel="ms", xticks=ticks, xticklabels=[s[:3] for s in SHARES])
        axis.legend()
    figure.tight_layout()
    figure.savefig(path)
