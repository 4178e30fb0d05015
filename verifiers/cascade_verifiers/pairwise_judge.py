"""`PairwiseJudge`: is the answer at least as good as another one? Asked in both orders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from anyio import create_task_group

from cascade.errors import ConfigError
from cascade.policy import Model
from cascade.types import Answer, Message, Request
from cascade.verdict import Verdict
from cascade_verifiers.fencing import RULE, fenced, shown
from cascade_verifiers.panel import MAX_CHARS, Panel, one_line, unreadable
from cascade_verifiers.stated import whole_json

Baseline = str | Callable[[Request], str | None]

_SYSTEM = """\
You compare two answers, A and B, that two models gave to the same question. Judge them by this \
rubric:

{rubric}

{rule}

Neither the order of the answers nor their length counts.

Reply with one JSON object and nothing else: {{"reason": "<one sentence: what decides it>", \
"better": "A", "B" or "tie"}}"""

_RESPONSE_FORMAT = {
    "type": "json_schema",
    "json_schema": {
        "name": "comparison",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {
                "reason": {"type": "string"},
                "better": {"type": "string", "enum": ["A", "B", "tie"]},
            },
            "required": ["reason", "better"],
            "additionalProperties": False,
        },
    },
}


class _Comparison(msgspec.Struct, forbid_unknown_fields=True):
    reason: str
    better: Literal["A", "B", "tie"]


class PairwiseJudge(Panel):
    """Has a judge compare the answer with a baseline: accepted when it is at least as good.

    Each judge is asked twice at once, with the two answers in either order, as models favour the
    one they read first (or last). Where its two replies disagree, it abstains. The score is 1 when
    the answer is better, 0.5 for a tie and 0 when it is worse.

    Args:
        model: ``"provider:model"``, a function, a `Provider` or a `ModelSpec`.
        rubric: what makes an answer better, in your words.
        baseline: the answer to compare with: text, or a function of the request that gives it, or
            None where it has none (the judge then abstains).
        judges: several models instead of one. They are asked at once.
        quorum: how many of them must accept; by default, more than half.
        threshold: the score from which a judge accepts: up to 0.5, ties pass; above, only better
            answers.
        allow_same: whether a model may judge its own answers, which it tends to favour.
        timeout: seconds a judge may take for both; None for the tier's ``verify_timeout`` alone.
        params: parameters for the judges under their chat-completions names.
        constrain: whether to have the judge decode under the schema of its reply.
        max_chars: the judge abstains on longer answers, and sees the last so many characters of
            a longer question.

    Raises:
        ConfigError: the rubric or the baseline is empty, or a value is impossible.
    """

    def __init__(
        self,
        model: Model | None = None,
        rubric: str = "",
        *,
        baseline: Baseline,
        judges: Sequence[Model] | None = None,
        quorum: int | None = None,
        threshold: float = 0.5,
        allow_same: bool = False,
        timeout: float | None = None,
        params: Mapping[str, Any] | None = None,
        constrain: bool = True,
        max_chars: int = MAX_CHARS,
    ) -> None:
        super().__init__(
            model,
            rubric,
            judges=judges,
            quorum=quorum,
            threshold=threshold,
            allow_same=allow_same,
            timeout=timeout,
            params=params,
            constrain=constrain,
            max_chars=max_chars,
        )
        given: object = baseline
        if not (callable(given) or (isinstance(given, str) and given.strip())):
            raise ConfigError(f"baseline={baseline!r}: needs an answer, or a function that has one")
        self.baseline = baseline

    async def _ask(self, model: Model, request: Request, answer: Answer) -> Verdict:
        baseline = self.baseline(request) if callable(self.baseline) else self.baseline
        if baseline is None:
            reason = "there is no baseline answer to compare with"
            return Verdict.abstain(reason, code="judge.no_baseline")
        own = shown(answer)
        replies: dict[str, str | BaseException] = {}

        async def compare(side: str, first: str, second: str) -> None:
            try:
                replies[side] = await self._reply(model, self._question(request, first, second))
            except Exception as error:  # noqa: BLE001  # raised below, not as one of a group
                replies[side] = error

        async with create_task_group() as tasks:
            tasks.start_soon(compare, "A", own, baseline)
            tasks.start_soon(compare, "B", baseline, own)
        found: list[tuple[float, str]] = []
        for side in ("A", "B"):
            reply = replies[side]
            if isinstance(reply, BaseException):
                raise reply
            read = _read(reply, side)
            if read is None:
                return unreadable()
            found.append(read)
        return self._settle(*found)

    def _settle(self, first: tuple[float, str], second: tuple[float, str]) -> Verdict:
        (score, reason), (other, _) = first, second
        if score != other:
            reason = "the judge prefers another answer when their order is changed"
            return Verdict.abstain(reason, code="judge.order")
        if score >= self.threshold:
            return Verdict.accept(score=score)
        reason = one_line(reason) or "another answer is better"
        return Verdict.reject(reason, code="judge.low", score=score, repairable=True)

    def _question(self, request: Request, first: str, second: str) -> Request:
        mark, material = fenced(
            ("question", request.text[-self.max_chars :]),
            ("answer A", first),
            ("answer B", second),
        )
        rule = RULE.format(what="The question and the answers", mark=mark)
        system = _SYSTEM.format(rubric=self.rubric, rule=rule)
        params = {"response_format": _RESPONSE_FORMAT} if self.constrain else {}
        return Request(
            (Message("system", system), Message("user", material)),
            params={**params, **self.params},
        )


def _read(text: str, side: str) -> tuple[float, str] | None:
    try:
        said = msgspec.convert(whole_json(text), _Comparison)
    except msgspec.ValidationError:
        return None
    if said.better == "tie":
        return 0.5, said.reason
    return float(said.better == side), said.reason
