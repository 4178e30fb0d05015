"""`Judge`: another model says how good the answer is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self

import msgspec

from cascade.errors import ConfigError
from cascade.policy import Model
from cascade.types import Answer, Message, Request
from cascade.verdict import Verdict
from cascade_verifiers.calibration import Calibrator, calibrator_of
from cascade_verifiers.fencing import RULE, fenced, shown
from cascade_verifiers.panel import MAX_CHARS, Panel, one_line, unreadable
from cascade_verifiers.stated import whole_json

Scale = int | Literal["yes_no"]
Reference = str | Callable[[Request], str | None]

BEST = 10

_SYSTEM = """\
You judge an answer that another model gave to a question. Judge it by this rubric:

{rubric}

{rule}{reference}

Reply with one JSON object and nothing else: {{"reason": "<one sentence: what decides it>", \
{verdict}}}"""

_REFERENCE = """

The reference answer is correct. An answer that says the same in other words is as good; one that \
contradicts it is wrong, however well it reads."""

_YES_NO = '"passes": <true if it meets the rubric, false if not>'
_MARKS = '"score": <number from 0, useless, to {best}, perfect>'


class _YesNo(msgspec.Struct, forbid_unknown_fields=True):
    reason: str
    passes: bool


class _Marks(msgspec.Struct, forbid_unknown_fields=True):
    reason: str
    score: float


class Judge(Panel):
    """Asks a model to judge the answer by a rubric, and accepts from a threshold on.

    The judge gives marks from 0 to ``scale``, which become a score in [0, 1], or says yes or no.
    A judge that fails, takes too long or replies something else abstains, and so does one that
    made the answer itself. What it costs is in the verdict; the same question is put to the same
    judge once in a check.

    Args:
        model: ``"provider:model"``, a function, a `Provider` or a `ModelSpec`.
        rubric: what a good answer is, in your words.
        judges: several models instead of one. They are asked at once.
        quorum: how many of them must accept; by default, more than half.
        threshold: the score from which a judge accepts, in [0, 1].
        scale: the best mark (10), or ``"yes_no"``.
        reference: an answer known to be right, to judge by: text, or a function of the request
            that gives it, or None where it has none (the judge then goes by the rubric alone).
        calibrator: what `fit_calibrator` made, or its ``to_dict()``; not with ``"yes_no"``.
        allow_same: whether a model may judge its own answers, which it tends to favour.
        timeout: seconds a judge may take; None for the tier's ``verify_timeout`` alone.
        params: parameters for the judges under their chat-completions names.
        constrain: whether to have the judge decode under the schema of its reply; turn it off
            for a provider that refuses ``response_format``.
        max_chars: the judge abstains on longer answers, and sees the last so many characters of
            a longer question.

    Raises:
        ConfigError: the rubric is empty, or a value is impossible or would do nothing.
    """

    def __init__(
        self,
        model: Model | None = None,
        rubric: str = "",
        *,
        judges: Sequence[Model] | None = None,
        quorum: int | None = None,
        threshold: float = 0.5,
        scale: Scale = BEST,
        reference: Reference | None = None,
        calibrator: Calibrator | Mapping[str, Any] | None = None,
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
        if scale != "yes_no" and (type(scale) is not int or not 1 <= scale <= 1000):
            raise ConfigError(f"scale={scale!r}: needs the best mark, such as 10, or 'yes_no'")
        given: object = reference
        text = isinstance(given, str) and given.strip()
        if given is not None and not text and not callable(given):
            raise ConfigError(f"reference={given!r}: needs an answer, or a function that has one")
        self.scale: Scale = scale
        self.reference = reference
        self.calibrator: Calibrator | None = None
        if calibrator is not None:
            self._calibrate(calibrator)

    def with_calibrator(
        self, calibrator: Calibrator | Mapping[str, Any], *, threshold: float = 0.5
    ) -> Self:
        """The same judges with their scores calibrated, and a threshold for those."""
        changed = self.with_threshold(threshold)
        changed._calibrate(calibrator)
        return changed

    def _calibrate(self, calibrator: Calibrator | Mapping[str, Any]) -> None:
        if self.scale == "yes_no":
            raise ConfigError("calibrator: needs marks to calibrate, and scale is 'yes_no'")
        self.calibrator = calibrator_of(calibrator)

    async def _ask(self, model: Model, request: Request, answer: Answer) -> Verdict:
        reply = _read(await self._reply(model, self._question(request, answer)), self.scale)
        if reply is None:
            return unreadable()
        score, reason = reply
        if self.calibrator is not None:
            score = self.calibrator(score)
        if score >= self.threshold:
            return Verdict.accept(score=score)
        reason = one_line(reason) or f"a judge scored it {score:.2g}"
        return Verdict.reject(reason, code="judge.low", score=score, repairable=True)

    def _question(self, request: Request, answer: Answer) -> Request:
        reference = self.reference(request) if callable(self.reference) else self.reference
        parts = [("question", request.text[-self.max_chars :]), ("answer", shown(answer))]
        what = "The question and the answer"
        if reference is not None:
            parts.insert(1, ("reference", reference))
            what = "The question, a reference answer and the answer"
        mark, material = fenced(*parts)
        system = _SYSTEM.format(
            rubric=self.rubric,
            rule=RULE.format(what=what, mark=mark),
            reference="" if reference is None else _REFERENCE,
            verdict=_YES_NO if self.scale == "yes_no" else _MARKS.format(best=self.scale),
        )
        params = {"response_format": _response_format(self.scale)} if self.constrain else {}
        return Request(
            (Message("system", system), Message("user", material)),
            params={**params, **self.params},
        )


def _response_format(scale: Scale) -> dict[str, Any]:
    key: str
    value: dict[str, Any]
    if scale == "yes_no":
        key, value = "passes", {"type": "boolean"}
    else:
        key, value = "score", {"type": "number", "minimum": 0, "maximum": scale}
    return {
        "type": "json_schema",
        "json_schema": {
            "name": "judgement",
            "strict": True,
            "schema": {
                "type": "object",
                "properties": {"reason": {"type": "string"}, key: value},
                "required": ["reason", key],
                "additionalProperties": False,
            },
        },
    }


def _read(text: str, scale: Scale) -> tuple[float, str] | None:
    """Score and reason; None unless the whole reply is the JSON asked for."""
    try:
        if scale == "yes_no":
            said = msgspec.convert(whole_json(text), _YesNo)
            return float(said.passes), said.reason
        given = msgspec.convert(whole_json(text), _Marks)
    except msgspec.ValidationError:
        return None
    return (given.score / scale, given.reason) if 0 <= given.score <= scale else None
