"""Recorded answers of one column, as the replay takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import asdict, replace

from cascade import errors
from cascade.errors import ProviderError
from cascade.policy import Tier
from cascade.replay import Recorded
from cascade.verdict import Verdict
from cascade_policies.recordings import RecordedAnswer, RecordedVerdict, Recording, Row

_NUMBERS: Final = (
    "correct", "cost_low_usd", "cost_usd", "latency", "prompt_cost_usd", "time_to_first_token",
)  # fmt: skip


def read_samples(
    recording: Recording, column: str, tier: Tier, verifier: str | None
) -> list[tuple[Recorded, ...]]:
    """For each row the samples of the column: the first answer, and those beside it.

    A verdict without a cost is taken to be free, and one without a time to have taken none.

    Args:
        recording: what was recorded.
        column: of it.
        tier: what its threshold, its price and its rules for answers are.
        verifier: the key of the tier's verdicts; None for a tier without a check.
    """
    reader = _Reader(recording, column, tier, verifier)
    answers = recording.answers(column)
    most = max((1 + len(a.samples) for a in answers if a is not None), default=0)
    layers = [
        reader.layer([None if a is None else _nth((a, *a.samples), index) for a in answers])
        for index in range(most)
    ]
    rows = zip(*layers, strict=True) if layers else ((),) * len(answers)
    return [tuple(one for one in row if one is not None) for row in rows]


def _nth(answers: Sequence[RecordedAnswer], index: int) -> RecordedAnswer | None:
    return answers[index] if index < len(answers) else None


class _Reader:
    def __init__(self, recording: Recording, column: str, tier: Tier, verifier: str | None) -> None:
        header = recording.header
        said = recording.model(column)
        if tier.price is not None:
            said = replace(said, price=asdict(tier.price))
        self._header = replace(header, models={**header.models, column: said})
        stops = tier.cancel_stops_billing
        self._stops = said.stops_billing if stops is None else stops
        self._ids = recording.ids
        self._column = column
        self._tier = tier
        self._verifier = verifier
        answers = [answer for answer in recording.answers(column) if answer is not None]
        self._repaired = any(each.repairs for each in answers)

    def layer(self, answers: Sequence[RecordedAnswer | None]) -> list[Recorded | None]:
        """One answer a row, with what followed it."""
        most = max((len(a.repairs) for a in answers if a is not None), default=0)
        after: list[Recorded | None] = [None] * len(answers)
        for index in reversed(range(most)):
            layer = [None if a is None else _nth(a.repairs, index) for a in answers]
            last = [a is not None and index + 1 == len(a.repairs) for a in answers]
            after = self._read(layer, after, last)
        last = [a is not None and not a.repairs for a in answers]
        return self._read(answers, after, last)

    def _read(
        self,
        answers: Sequence[RecordedAnswer | None],
        after: Sequence[Recorded | None],
        last: Sequence[bool],
    ) -> list[Recorded | None]:
        numbers = self._numbers(answers)
        return [
            None if answer is None else self._recorded(answer, numbers, row, after[row], last[row])
            for row, answer in enumerate(answers)
        ]

    def _numbers(self, answers: Sequence[RecordedAnswer | None]) -> dict[str, list[float]]:
        """The numbers of these answers, as the recording works them out."""
        rows = tuple(
            Row(id=id_, models={} if answer is None else {self._column: answer})
            for id_, answer in zip(self._ids, answers, strict=True)
        )
        layer = Recording(rows, self._header)
        return {name: layer.column(self._column, name).tolist() for name in _NUMBERS}

    def _recorded(
        self,
        answer: RecordedAnswer,
        numbers: dict[str, list[float]],
        row: int,
        after: Recorded | None,
        last: bool,
    ) -> Recorded:
        said = answer.verdicts.get(self._verifier) if self._verifier is not None else None
        spent = 0.0 if said is None or said.cost_usd is None else said.cost_usd
        failed = not_whole(answer, self._tier.allow_truncated)
        return Recorded(
            latency=numbers["latency"][row],
            low=numbers["cost_low_usd"][row] + spent,
            high=numbers["cost_usd"][row] + spent,
            verdict=None if failed or said is None else self._verdict(said, last),
            ended="failed" if failed else "answered",
            retryable=failed and _retryable(answer.error),
            first_token=numbers["time_to_first_token"][row],
            check_latency=0.0 if said is None or said.latency is None else said.latency,
            check_cost=spent,
            prompt_cost=numbers["prompt_cost_usd"][row],
            stops=self._stops,
            quality=numbers["correct"][row],
            repair=after,
        )

    def _verdict(self, said: RecordedVerdict, last: bool) -> Verdict:
        """The recorded verdict, by the tier's threshold where there is a score.

        A rejection that was recorded without a repair, where others have one, was not to be
        repaired. Where it is not known, it is: that asks for the repair, which is not there.
        """
        if said.outcome == "abstained":
            return Verdict.abstain(said.reason, code=said.code)
        accepted, threshold = said.outcome == "accepted", self._tier.threshold
        if threshold is not None and said.score is not None:
            accepted = said.score >= threshold
        if accepted:
            return Verdict.accept(score=said.score)
        final = last and self._repaired and said.outcome == "rejected"
        return Verdict.reject(said.reason, code=said.code, score=said.score, repairable=not final)


def not_whole(answer: RecordedAnswer, allow_truncated: bool) -> bool:
    """Whether there is nothing to check; as `cascade.asking.LiveAttempt.take` has it."""
    if answer.failed or answer.finish_reason == "content_filter":
        return True
    if answer.finish_reason == "length" and not allow_truncated:
        return True
    return isinstance(answer.output, str) and not answer.output.strip()


def _retryable(error: str | None) -> bool:
    """Whether the failure may pass, by the name of the error at the head of its text."""
    kind: Any = getattr(errors, (error or "").partition(":")[0], None)
    return isinstance(kind, type) and issubclass(kind, ProviderError) and kind.retryable
