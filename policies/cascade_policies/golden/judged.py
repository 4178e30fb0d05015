"""`Judged`: a model scores the answer, knowing the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from cascade.policy import Model
from cascade.types import Answer
from cascade_policies.golden.golden_set import GoldenRow
from cascade_policies.golden.scorer import Score
from cascade_verifiers.judge import Judge, Scale

RUBRIC = "The answer is right: it says what the reference says, and nothing that contradicts it."


class Judged:
    """The marks that a judge gives, who is shown the reference; see `cascade.verifiers.Judge`.

    A judge that fails, takes too long or made the answer itself gives no score.

    Args:
        model: who judges.
        rubric: what a good answer is; by default that it says what the reference says.
        scale: the best mark, or ``"yes_no"``.
        timeout: seconds a judge may take.
        params: parameters for the judge.
        constrain: as in `Judge`.
        allow_same: whether a model may judge its own answers.
    """

    def __init__(
        self,
        model: Model,
        *,
        rubric: str = RUBRIC,
        scale: Scale = "yes_no",
        timeout: float = 60.0,
        params: Mapping[str, Any] | None = None,
        constrain: bool = True,
        allow_same: bool = False,
    ) -> None:
        self._settings: dict[str, Any] = {
            "rubric": rubric,
            "scale": scale,
            "timeout": timeout,
            "params": params,
            "constrain": constrain,
            "allow_same": allow_same,
        }
        self.model = model
        Judge(model, **self._settings)  # refuses what is wrong, before any answer

    @property
    def judge(self) -> Judge:
        """The judge, without a reference."""
        return Judge(self.model, **self._settings)

    async def score(self, row: GoldenRow, answer: Answer, /) -> Score:
        """The judge's marks; none where it abstains."""
        reference = row.reference
        if reference is not None and not isinstance(reference, str):
            reference = msgspec.json.encode(reference).decode()
        judge = Judge(self.model, reference=reference or None, **self._settings)
        verdict = await judge.verify(row.request, answer)
        if verdict.outcome == "abstained":
            return Score(None, verdict.reason, verdict.cost)
        quality = float(verdict.accepted) if verdict.score is None else verdict.score
        return Score(quality, verdict.reason, verdict.cost)
