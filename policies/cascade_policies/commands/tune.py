"""``cascade tune``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cascade.errors import ConfigError
from cascade_policies.commands.errors import ACCEPTED, NOT_ACCEPTED
from cascade_policies.commands.output import say, working

if TYPE_CHECKING:
    from cascade_policies.building import PolicyFile
    from cascade_policies.lines import KeyPath
    from cascade_policies.recordings import Recording
    from cascade_policies.tuning import Found, Goal
    from cascade_policies.tuning.subject import Subject


def tune(
    policy: str,
    /,
    *,
    recording: Path,
    min_accuracy: float | None = None,
    max_drop: float | None = None,
    max_cost: float | None = None,
    max_latency: str | None = None,
    minimise: Literal["cost", "latency"] = "cost",
    confidence: float = 0.95,
    last: bool = False,
    dry_run: bool = False,
    plot: Path | None = None,
    json: bool = False,
) -> int:
    """Find the cheapest or fastest policy whose quality is certified, and write it to its file.

    No model is called. Thresholds, the choice of tiers and start delays are chosen on a quarter of
    the recorded rows and certified on the others. Exit code 3: nothing better than the last tier
    alone could be certified, and nothing is written.

    Parameters
    ----------
    policy
        A policy file, or the name of a policy or task.
    recording
        A recording, as made by `cascade record`.
    min_accuracy
        The mean quality that answers must have at least.
    max_drop
        How far it may be below that of the last tier alone.
    max_cost
        US dollars that a call may cost in the mean.
    max_latency
        Like p95=2s: the share of the calls that must take no longer.
    minimise
        What is to be small: cost or latency.
    confidence
        That what is certified holds.
    last
        Spend all that is left of the rows' confidence: this is the last search on them.
    dry_run
        Change no file but the account of the confidence that is spent.
    plot
        Draw the frontier to this file: .png, .svg, or .html for a page that answers the pointer.
    json
        Write one JSON object instead of text.
    """
    from cascade_policies.recordings import Recording
    from cascade_policies.search import LIBRARY, find_policy_file
    from cascade_policies.tuning import Goal, LatencyLimit
    from cascade_policies.tuning.plot import check_plot

    goal = Goal(
        min_accuracy=min_accuracy,
        max_drop=max_drop,
        max_cost=max_cost,
        max_latency=None if max_latency is None else LatencyLimit.parse(max_latency),
        minimise=minimise,
        confidence=confidence,
    )
    if plot is not None:
        check_plot(plot)
    found = find_policy_file(policy)
    if found.path.parent == LIBRARY and not dry_run:
        raise ConfigError(
            f"{policy!r} comes with cascade and is not written to: copy {str(found.path)!r} and "
            "tune the copy, or give --dry-run"
        )
    with working(f"reading {recording.name}"):
        held = Recording.load(recording)
    search = _Search(policy, found, held, recording, goal, last=last)
    with working(f"tuning {found.policy.name} on {len(held):,} rows"):
        search.run()
    written = False
    if search.found.improves and not dry_run:
        search.write()
        written = True
    if plot is not None:
        search.draw(plot)
    if json:
        from cascade_policies.commands.shape import write_json

        write_json(search.shape(written))
    else:
        for line in search.said(written):
            say(line)
    return ACCEPTED if search.found.improves else NOT_ACCEPTED


class _Search:
    """One run of the command."""

    found: Found
    subject: Subject

    def __init__(
        self,
        reference: str,
        file: PolicyFile,
        recording: Recording,
        path: Path,
        goal: Goal,
        *,
        last: bool,
    ) -> None:
        self._reference, self._file, self._goal = reference, file, goal
        self._recording, self._path, self._last = recording, path, last
        words = ["cascade", "tune", reference, "--recording", str(path), *goal.options()]
        self.command = shlex.join([*words, "--last"] if last else words)

    def run(self) -> None:
        """Search and certify, and enter what it spends."""
        from cascade_policies.tuning import split, tune
        from cascade_policies.tuning.ladder import Player
        from cascade_policies.tuning.spending import Account, Spent, search_key
        from cascade_policies.tuning.subject import subject_of

        goal = self._goal
        self.subject = subject = subject_of(self._file.policy, self._recording, goal)
        subject.ladder.check(subject.table, goal)
        self.rows = split(subject.texts)
        account = Account.of(self._path)
        # The thresholds that the file has now do not change what is found.
        key = search_key(
            {
                "recording": self._recording.sha256,
                "tiers": list(subject.table.tiers),
                "tunable": list(subject.ladder.tunable),
                "goal": goal.options(),
                "deadline": subject.policy.deadline,
                "exhausted": subject.policy.exhausted,
                "last": subject.ladder.policy.thresholds[-1],
            }
        )
        risk = account.grant(self.rows.digest, key, risk=goal.risk, last=self._last)
        self.found = tune(subject.table, goal, ladder=subject.ladder, rows=self.rows, risk=risk)
        if self.found.tests:
            entry = Spent(rows=self.rows.digest, search=key, risk=risk, command=self.command)
            account.enter(entry)
        self.spent, self.searches = account.spent(self.rows.digest), len(account.entries)
        self._player = Player(subject.table.take(self.rows.certifying), goal)

    def write(self) -> None:
        """Write the policy back."""
        from cascade_policies.tuning.write_back import edited, write_back

        path = self._keys()
        try:
            text = self._file.path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{self._file.path}: cannot be read: {error.strerror}") from error
        edit = edited(text, self.found.chosen.settings, self._certificate(), path=path)
        write_back(self._file.path, edit, path=path)

    def _keys(self) -> KeyPath:
        """Where in the file the policy's keys stand."""
        from cascade_policies.document import read_document

        tasks = read_document(self._file.path).data.get("tasks", {})
        task = tasks.get(self._reference) if isinstance(tasks, dict) else None
        return ("tasks", self._reference) if isinstance(task, dict) and "tiers" in task else ()

    def _certificate(self) -> list[str]:
        from cascade_policies.tuning.words import dollars

        found, top = self.found, self.found.top
        lines = [
            *self._goal.words(),
            f"with {1.0 - found.risk:.6g} confidence (risk {found.risk:.6g}), on "
            f"{found.certifying} rows that the policy was not made on; made on {found.choosing}",
            f"measured: quality {found.chosen.quality:.4f}, {dollars(found.chosen.cost)}; the last "
            f"tier alone: {top.quality:.4f}, {dollars(top.cost)}",
            f"recording: {self._path.name}, sha256 {self._recording.sha256}",
            f"reproduce: {self.command}",
        ]
        if found.most_cost:
            lines.insert(
                len(self._goal.words()),
                f"costs cut off at ${found.most_cost:.6g} a call for the test",
            )
        return lines

    def said(self, written: bool) -> list[str]:
        """What was found, in sentences."""
        from cascade_policies.tuning.words import changes, savings, verdict

        lines = [verdict(self.found, self._goal)]
        if self.found.improves:
            lines += savings(self.found, self._goal, self._now())
            lines += ["", "What changes:"]
            names = [tier.name for tier in self._file.policy.tiers]
            now, chosen = self.subject.ladder.policy, self.found.chosen.settings
            lines += [f"  {line}" for line in changes(now, chosen, names)]
        lines += ["", self._spending()]
        if written:
            lines.append(f"Written: {self._file.path}")
        return lines

    def _spending(self) -> str:
        left = max(0.0, self._goal.risk - self.spent)
        return (
            f"Spent on these rows so far: {self.spent:.4g} of the {self._goal.risk:.4g} that may "
            f"be risked; {left:.4g} is left for other searches on them."
        )

    def _now(self) -> Any:
        from cascade_policies.tuning.certify import summary

        now = self.subject.ladder.policy
        return summary(now, self._player.play(now), 1.0)

    def draw(self, path: Path) -> None:
        """Draw the frontier."""
        from cascade_policies.tuning.frontier import points
        from cascade_policies.tuning.page import page
        from cascade_policies.tuning.plot import draw

        now = self.subject.ladder.policy
        shown = points(self.subject.ladder, self._player.table, self.found, now)
        title = f"{self._file.policy.name}: quality and {self._goal.minimise}"
        if path.suffix != ".html":
            draw(path, shown, self._goal, title)
            return
        lines = [line for line in self.said(written=False) if line]
        try:
            path.write_text(page(shown, self._goal, title, lines), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"--plot {path}: cannot be written: {error.strerror}") from error

    def shape(self, written: bool) -> dict[str, Any]:
        """The same for a program."""
        from cascade_policies.tuning.words import verdict

        found = self.found
        return {
            "policy": self._file.policy.name,
            "recording": {"sha256": self._recording.sha256, "rows": len(self._recording)},
            "goal": self._goal.words(),
            "verdict": verdict(found, self._goal),
            "certified": found.certified,
            "improves": self.found.improves,
            "risk": found.risk,
            "spent": self.spent,
            "rows": {"choosing": found.choosing, "certifying": found.certifying,
                     "needed": found.needed, "groups": self.rows.groups},
            "chosen": _test(found.chosen, self.subject.table.tiers),
            "top": _test(found.top, self.subject.table.tiers),
            "tests": len(found.tests),
            "candidates": len(found.candidates),
            "command": self.command,
            "written": str(self._file.path) if written else None,
        }  # fmt: skip


def _test(test: Any, names: Sequence[str]) -> dict[str, Any]:
    settings = test.settings
    thresholds = [t if t is not None and t >= 0 else None for t in settings.thresholds]
    return {
        "tiers": [names[column] for column in settings.tiers],
        "thresholds": thresholds,
        "start_after": list(settings.start_after),
        "p": test.p,
        "quality": test.quality,
        "cost_usd": _known(test.cost),
        "latency_s": _known(test.latency),
        "escalated": test.escalated,
    }


def _known(value: float) -> float | None:
    return None if value != value else value
