"""From single answers to the rows of a recording, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from cascade.cost import Cost
from cascade.errors import ConfigError
from cascade_policies.golden.golden_set import GoldenRow, GoldenSet
from cascade_policies.recordings.files import Place
from cascade_policies.recordings.header import Header
from cascade_policies.recordings.recording import Recording
from cascade_policies.recordings.rows import RecordedAnswer, Row


def reusable(
    before: Recording | None, golden: GoldenSet, names: Sequence[str]
) -> dict[Place, RecordedAnswer]:
    """The answers of an earlier recording to what the golden set asks now."""
    found: dict[Place, RecordedAnswer] = {}
    rows = {} if before is None else {row.id: row for row in before.rows}
    for row in golden.rows:
        held = rows.get(row.id)
        if held is None or not _asks_the_same(held, row):
            continue
        for name in names:
            answer = held.models.get(name)
            if answer is not None:
                found[row.id, name, 0] = replace(answer, samples=())
                for index, sample in enumerate(answer.samples, 1):
                    found[row.id, name, index] = sample
    return found


def assembled(
    header: Header,
    golden: GoldenSet,
    names: Sequence[str],
    answers: Mapping[Place, RecordedAnswer],
    *,
    samples: int,
    why: str | None,
) -> Recording:
    """The recording of these answers, in the order of the golden set.

    Args:
        header: of it; whether something is missing is added.
        golden: what was asked.
        names: of the tiers.
        answers: all there are.
        samples: how many there should be of each row and tier.
        why: something is missing, if anything is.

    Raises:
        ConfigError: there is no answer at all.
    """
    rows, lacking = [], 0
    for golden_row in golden.rows:
        models = {}
        for name in names:
            several: list[RecordedAnswer] = []
            while (place := (golden_row.id, name, len(several))) in answers:
                several.append(answers[place])
            if several:
                models[name] = replace(several[0], samples=tuple(several[1:]))
            lacking += max(0, samples - len(several))
        if models:
            rows.append(_row(golden_row, models))
    if not rows:
        raise ConfigError(f"nothing was recorded: {why}")
    incomplete = f"{lacking} answers are missing: {why}" if lacking else ""
    return Recording(tuple(rows), replace(header, incomplete=incomplete))


def spent(recording: Recording) -> Cost:
    """What the calls of a recording cost, without their checks; unknown as soon as one is."""
    low = high = 0.0
    for row in recording.rows:
        for answer in row.models.values():
            for one in (answer, *answer.samples, *answer.repairs):
                if one.cost_usd is None:
                    return Cost.unknown("estimated")
                high += one.cost_usd
                low += one.cost_usd if one.cost_low_usd is None else one.cost_low_usd
    return Cost(low, high)


def _asks_the_same(held: Row, golden: GoldenRow) -> bool:
    messages = None if golden.messages is None else list(golden.messages)
    asked = (golden.prompt, messages, dict(golden.variables))
    return (held.prompt, held.messages, dict(held.variables or {})) == asked


def _row(golden: GoldenRow, models: dict[str, RecordedAnswer]) -> Row:
    return Row(
        id=golden.id,
        prompt=golden.prompt,
        messages=None if golden.messages is None else list(golden.messages),
        variables=golden.variables or None,
        reference=golden.reference,
        metadata=golden.metadata,
        models=models,
    )
