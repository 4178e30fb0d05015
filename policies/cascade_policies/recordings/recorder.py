"""Recording a policy over a golden set: every tier on every row, resumed where it was left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

import anyio
from msgspec.structs import replace

from cascade.engine import Engine
from cascade.errors import (
    AuthenticationError,
    BudgetExceededError,
    CascadeError,
    CircuitOpenError,
    ConfigError,
    ModelUnavailableError,
    NotFoundError,
    PermissionDeniedError,
    PromptError,
    ProviderError,
)
from cascade.policy import Policy
from cascade.verdict import Verifier
from cascade_policies.golden.golden_set import GoldenRow
from cascade_policies.golden.independence import check_independent
from cascade_policies.golden.scorer import Score
from cascade_policies.golden.scoring import answer_of, score_answer
from cascade_policies.recordings.allowance import refusals
from cascade_policies.recordings.asking import Booth
from cascade_policies.recordings.assembling import assembled, reusable
from cascade_policies.recordings.files import Journal, Place, unlike, write_recording
from cascade_policies.recordings.header import Header
from cascade_policies.recordings.identity import Identities, identities
from cascade_policies.recordings.recording import Recording
from cascade_policies.recordings.rows import RecordedAnswer
from cascade_policies.recordings.task import Recorded, Task

T = TypeVar("T")

_HOPELESS: Final = (
    AuthenticationError, CircuitOpenError, ModelUnavailableError, NotFoundError,
    PermissionDeniedError,
)  # fmt: skip
"""Failures that say nothing of the row: every further one would fail alike."""


class Recorder:
    """Asks what is not recorded yet, and keeps it.

    Args:
        engine: what runs the calls; its budget is what they may cost.
        task: what is to be recorded.
        step: called for each answer that is there, with how many there will be.

    Raises:
        GateSeesReferenceError: a verifier knows what the scorer knows.
        ConfigError, PromptError: the policy or a row cannot be asked.
    """

    def __init__(
        self, engine: Engine, task: Task, step: Callable[[int], None] = lambda _total: None
    ) -> None:
        check_independent(task.policy, task.scorer)
        self._engine = engine
        self._task = task
        self._step = step
        self._found: Identities = identities(task.policy)
        self._booths = _booths(engine, task.policy, self._found.keys)
        self._names = [booth.name for booth in self._booths]
        self._check_rows()
        self._kept = 0
        self._asked = 0
        self._stopped: str | None = None
        self._due = 0.0

    async def run(self) -> Recorded:
        """Record what is missing. What was asked by then is kept, however it ends.

        Raises:
            DataFileError: the file is of another recording, or cannot be written.
            ProviderError: a model cannot be asked at all.
            ScorerError: the scorer crashed; the answers are kept without a score.
        """
        task = self._task
        header = self._header()
        before = self._before(header)
        with Journal(task.path, header) as journal:
            answers = {**reusable(before, task.golden, self._names), **journal.answers}
            jobs = list(self._jobs(answers))
            total = len(jobs) + len(answers)
            self._kept = len(answers)
            for _ in answers:
                self._step(total)
            await self._ask_all(iter(jobs), journal, total)
            answers |= journal.answers
            answers = await self._scored(answers, before)
            whole = replace(
                header,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                verifiers={
                    **({} if before is None else before.header.verifiers),
                    **header.verifiers,
                },
            )
            recording = assembled(
                whole, task.golden, self._names, answers, samples=task.samples, why=self._stopped
            )
            recording = Recording(recording.rows, recording.header, task.path)
            write_recording(recording, task.path)
            journal.drop()
        return Recorded(recording, self._asked, self._kept, self._stopped)

    def _check_rows(self) -> None:
        bound = self._engine.bind(self._task.policy)
        for row in self._task.golden.rows:
            try:
                bound.check_variables(row.values, first=0)
            except PromptError as error:
                path = self._task.golden.path
                where = f"row {row.id!r}" if path is None else f"{path}:{row.line}"
                raise PromptError(f"{where}: {error.message}", policy=self._task.policy.name,
                                  tier=error.tier) from None  # fmt: skip

    def _header(self) -> Header:
        samples = self._task.samples
        return Header(
            policy=self._task.policy.name,
            models={
                booth.name: booth.identity(self._found.models[booth.name], samples)
                for booth in self._booths
            },
            verifiers=self._found.verifiers,
            scorer=dict(self._task.scored_by),
            golden_sha256=self._task.golden.sha256,
        )

    def _before(self, header: Header) -> Recording | None:
        if not self._task.path.exists():
            return None
        before = Recording.load(self._task.path)
        why = unlike(before.header, header)
        if why is not None:
            raise ConfigError(
                f"{self._task.path} was recorded with {why}: give another file with --out"
            )
        return before

    def _jobs(
        self, answers: Mapping[Place, RecordedAnswer]
    ) -> Iterator[tuple[GoldenRow, Booth, int]]:
        for row in self._task.golden.rows:
            for booth in self._booths:
                for sample in range(self._task.samples):
                    if (row.id, booth.name, sample) not in answers:
                        yield row, booth, sample

    async def _ask_all(
        self, jobs: Iterator[tuple[GoldenRow, Booth, int]], journal: Journal, total: int
    ) -> None:
        async def ask(job: tuple[GoldenRow, Booth, int]) -> None:
            row, booth, sample = job
            if self._stopped is not None:
                return
            await self._wait_turn()
            answer = await self._ask(row, booth)
            if answer is not None:
                journal.add((row.id, booth.name, sample), answer)
                self._asked += 1
                self._step(total)

        await _at_once(self._task.concurrency, jobs, ask)

    async def _wait_turn(self) -> None:
        if self._task.rate is None:
            return
        due = max(self._due, anyio.current_time())
        self._due = due + 60.0 / self._task.rate
        await anyio.sleep(due - anyio.current_time())

    async def _ask(self, row: GoldenRow, booth: Booth) -> RecordedAnswer | None:
        """The answer; None when money is short, so that what came is not what it would be."""
        told: list[BudgetExceededError] = []
        token = refusals.set(told)
        try:
            answer = await booth.ask(row.request, row.values)
        finally:
            refusals.reset(token)
        short = told[0].message if told else None
        if short is None and answer.failed and (answer.error or "").startswith("BudgetExceeded"):
            short = str(answer.error)
        if short is not None:
            self._stopped = short
            return None
        for kind in _HOPELESS:
            if answer.failed and (answer.error or "").startswith(f"{kind.__name__}:"):
                raise ProviderError(
                    f"{answer.error} (what was answered is kept: run it again to go on)"
                )
        return answer

    async def _scored(
        self, answers: Mapping[Place, RecordedAnswer], before: Recording | None
    ) -> dict[Place, RecordedAnswer]:
        """Every answer with its quality, as this scorer says by these references."""
        rows = self._task.golden.by_id
        held = {} if before is None else {row.id: row.reference for row in before.rows}
        same = before is not None and before.header.scorer == dict(self._task.scored_by)
        found = dict(answers)
        booths = {booth.name: booth for booth in self._booths}
        todo = []
        for place, answer in answers.items():
            id_, name, _ = place
            known = same and id_ in held and held[id_] == rows[id_].reference
            if not (known and answer.correct is not None):
                todo.append((place, answer, rows[id_], booths[name]))

        async def score(job: tuple[Place, RecordedAnswer, GoldenRow, Booth]) -> None:
            place, answer, row, booth = job
            found[place] = await self._score(answer, row, booth)

        await _at_once(self._task.concurrency, iter(todo), score)
        return found

    async def _score(self, answer: RecordedAnswer, row: GoldenRow, booth: Booth) -> RecordedAnswer:
        repairs = tuple([await self._score(one, row, booth) for one in answer.repairs])
        if answer.failed:
            return replace(answer, correct=False, repairs=repairs)
        try:
            score = await self._judged(answer, row, booth)
        except BudgetExceededError as error:  # it is scored next time
            self._stopped = self._stopped or error.message
            return replace(answer, correct=None, repairs=repairs)
        extra = {key: value for key, value in answer.extra.items() if key != "score_reason"}
        if score.reason:
            extra["score_reason"] = score.reason
        quality = score.quality
        exact = quality if quality is None or 0 < quality < 1 else bool(quality)
        return replace(answer, correct=exact, repairs=repairs, extra=extra)

    async def _judged(self, answer: RecordedAnswer, row: GoldenRow, booth: Booth) -> Score:
        return await score_answer(
            self._task.scorer,
            row,
            answer_of(answer.extra.get("tool_calls") or answer.output),
            engine=self._engine,
            maker=booth.bound.targets[0][0],
        )


async def _at_once(count: int, jobs: Iterator[T], act: Callable[[T], Awaitable[None]]) -> None:
    """Do the jobs, so many at a time; after an error no other is begun, and then it is raised."""
    errors: list[CascadeError] = []

    async def work() -> None:
        for job in jobs:
            try:
                await act(job)
            except CascadeError as error:
                errors.append(error)
            if errors:
                return

    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(work)
    if errors:
        raise errors[0]


def _booths(engine: Engine, policy: Policy, keys: Mapping[str, str]) -> Sequence[Booth]:
    bound = engine.bind(policy).tiers
    others: dict[str, tuple[Verifier, float | None]] = {}
    for tier in bound:
        verifier = tier.verifier
        if verifier is not None and _is_cheap(verifier):
            others.setdefault(keys[tier.tier.name], (verifier, tier.tier.verify_timeout))
    return [Booth(engine, policy, tier.tier, keys.get(tier.tier.name), others) for tier in bound]


def _is_cheap(verifier: Verifier) -> bool:
    """Whether it calls no model, needs nothing of the request that it did not prepare itself, and
    judges an answer by itself."""
    asks = getattr(verifier, "cost_class", "cpu") == "model" or getattr(verifier, "models", ())
    return not asks and not any(hasattr(verifier, name) for name in ("verify_group", "prepare"))
