"""`SelfConfidence`: how sure the model is of its own answer, as it says or as its tokens show."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Collection, Mapping
from copy import copy
from typing import Any, Literal, TypeVar

from anyio import move_on_after, to_thread
from msgspec.structs import replace

from cascade.context import call_maker, current_check, spending
from cascade.cost import total
from cascade.errors import ConfigError, ProviderError, nearest
from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade.verify import CostClass
from cascade_verifiers import p_true
from cascade_verifiers.algebra import Composable
from cascade_verifiers.answer_tokens import (
    AGGREGATES,
    Aggregate,
    aggregate,
    all_logs,
    answer_span,
    logs_between,
)
from cascade_verifiers.calibration import Calibrator, calibrator_of
from cascade_verifiers.stated import FORMS, JSON_FORMAT, FormName, ask_last

Source = Literal["logprob", "p_true", "stated"]
Tokens = Literal["all", "answer"]

INSTRUCTION = FORMS["percent"].instruction
"""What ``source="stated"`` adds to the prompt, in the form ``percent``."""

MAX_CHARS = 100_000
MAX_SCORED_CHARS = 1_000_000  # with its log-probabilities, which a thread reads
INLINE_CHARS = 20_000

_T = TypeVar("_T")

# Which source each argument has an effect with.
_FOR: Mapping[str, str] = {
    "form": "stated",
    "min_logprob": "logprob",
    "aggregate": "logprob",
    "quantile": "logprob",
    "tokens": "logprob",
    "logprobs": "p_true",
    "timeout": "p_true",
    "params": "p_true",
}


class SelfConfidence(Composable):
    """Scores an answer by the model's own confidence, and accepts from a threshold on.

    ``source="stated"`` asks the model to say how sure it is; the user gets the answer without
    that (``text``). ``source="logprob"`` asks for the log-probabilities of the answer's tokens.
    ``source="p_true"`` asks the same model, in a second call, whether the answer is right.
    Without a readable confidence it abstains. A raw score is not yet a probability of being
    right: a ``calibrator`` makes it one.

    Args:
        source: ``"stated"``, ``"logprob"`` or ``"p_true"``.
        threshold: the score from which it accepts, in [0, 1]; by default 0.5.
        calibrator: what `fit_calibrator` made, or its ``to_dict()``.
        form: with ``stated``, how to say it: a last line ``Confidence: 85%`` (``"percent"``, the
            default), ``Confidence: 0.85`` (``"fraction"``), ``Confidence: very likely``
            (``"words"``), or ``"json"``: ``{"answer": …, "confidence": 85}`` as the whole answer.
        min_logprob: with ``logprob``, the threshold as a natural logarithm, 0 or less.
        aggregate: with ``logprob``, one number from the tokens' probabilities: ``"geometric"``
            mean (the default: length-normalised, so that long answers are not punished),
            arithmetic ``"mean"``, ``"min"`` (the weakest token), ``"product"`` (the whole
            answer) or ``"quantile"``.
        quantile: with ``aggregate="quantile"``, which one, above 0 and below 1; by default 0.1.
        tokens: with ``logprob``, which ones count: ``"answer"`` (the default), those of the JSON
            or of the code fence where there is just one, without the prose around it; ``"all"``.
        logprobs: with ``p_true``, whether to ask for log-probabilities of its yes or no (the
            default); False for a provider that refuses to give them.
        timeout: with ``p_true``, seconds the second call may take.
        params: with ``p_true``, parameters of the second call, such as ``{"temperature": 0}``.

    Raises:
        ConfigError: a value is impossible, or would do nothing.
    """

    def __init__(
        self,
        source: Source = "stated",
        *,
        threshold: float | None = None,
        calibrator: Calibrator | Mapping[str, Any] | None = None,
        form: FormName | None = None,
        min_logprob: float | None = None,
        aggregate: Aggregate | None = None,
        quantile: float | None = None,
        tokens: Tokens | None = None,
        logprobs: bool | None = None,
        timeout: float | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        given = {
            "form": form,
            "min_logprob": min_logprob,
            "aggregate": aggregate,
            "quantile": quantile,
            "tokens": tokens,
            "logprobs": logprobs,
            "timeout": timeout,
            "params": params,
        }
        self.source: Source = _one_of("source", source, ("logprob", "p_true", "stated"))
        for key, value in given.items():
            if value is not None and _FOR[key] != source:
                raise ConfigError(f"{key}={value!r}: does nothing without source={_FOR[key]!r}")
        self.form: FormName = _one_of("form", form or "percent", FORMS)
        self.aggregate: Aggregate = _one_of("aggregate", aggregate or "geometric", AGGREGATES)
        if quantile is not None and aggregate != "quantile":
            raise ConfigError(f"quantile={quantile!r}: does nothing without aggregate='quantile'")
        self.quantile = 0.1 if quantile is None else quantile
        if not 0 < self.quantile < 1:
            raise ConfigError(f"quantile={quantile!r}: needs a number above 0 and below 1")
        self.tokens: Tokens = _one_of("tokens", tokens or "answer", ("all", "answer"))
        if timeout is not None and not 0 < timeout < math.inf:
            raise ConfigError(f"timeout={timeout!r}: needs seconds above 0, or None")
        self.logprobs = logprobs is not False
        self.timeout = timeout
        self.params = dict(params or {})
        if "logprobs" in self.params:
            raise ConfigError("params: has logprobs; give logprobs=True or False beside it")
        self.calibrator = None if calibrator is None else calibrator_of(calibrator)
        if calibrator is not None and min_logprob is not None:
            raise ConfigError(
                f"min_logprob={min_logprob!r}: with a calibrator the score is a probability of "
                "being right; give threshold"
            )
        self.threshold = _threshold(threshold, min_logprob)
        cost: CostClass = "model" if source == "p_true" else "free"
        self.cost_class = cost
        if source != "p_true":
            self.prepare = self._prepare
        if source == "stated":
            self.rewrites = "addition"
        if source == "stated" and self.form == "json":
            self.response_format = lambda: JSON_FORMAT

    def with_threshold(self, threshold: float) -> SelfConfidence:
        """The same check with another threshold."""
        changed = copy(self)
        changed.threshold = _threshold(threshold, None)
        return changed

    def with_calibrator(
        self, calibrator: Calibrator | Mapping[str, Any], *, threshold: float = 0.5
    ) -> SelfConfidence:
        """The same check with its scores calibrated, and a threshold for those."""
        changed = self.with_threshold(threshold)
        changed.calibrator = calibrator_of(calibrator)
        return changed

    def verify(self, request: Request, answer: Answer, /) -> Verdict | Awaitable[Verdict]:
        """The verdict; awaitable where it asks the model, or goes to a worker thread.

        An abstention where there is no confidence to read.
        """
        if self.source == "p_true":
            return self._ask(request, answer)
        if self.source == "logprob" and len(answer.text) > MAX_SCORED_CHARS:
            reason = f"the answer is longer than {MAX_SCORED_CHARS:,} characters"
            return Verdict.abstain(reason, code="self_confidence.too_long")
        judge = self._stated if self.source == "stated" else self._logprob
        if len(answer.text) + len(answer.logprobs or ()) > INLINE_CHARS:
            return to_thread.run_sync(judge, answer, abandon_on_cancel=True)
        return judge(answer)

    def _prepare(self, request: Request) -> Request:
        """The request, asking for a stated confidence or for log-probabilities."""
        if self.source == "logprob":
            return request.with_params(logprobs=True)
        return ask_last(request, FORMS[self.form].instruction)

    def _stated(self, answer: Answer) -> Verdict:
        form = FORMS[self.form]
        found = form.read(answer.text)
        if found is None:
            where = "is not" if self.form == "json" else "does not end with"
            reason = f"the answer {where} {form.shape}"
            return Verdict.abstain(reason, code="self_confidence.not_stated")
        return self._judge(found[0], "states", text=found[1])

    def _logprob(self, answer: Answer) -> Verdict:
        logs = all_logs(answer.logprobs)
        if not logs:
            reason = "the answer has no log-probabilities: its provider or model does not give them"
            return Verdict.abstain(reason, code="self_confidence.no_logprobs")
        if self.tokens == "answer":
            span = answer_span(answer.text)
            found = logs_between(answer.logprobs, answer.text, *span)
            # Where all of the text is the answer, it does not matter how it falls into tokens.
            if found or span != (0, len(answer.text)):
                logs = found
        if not logs:
            reason = "the tokens with log-probabilities do not make up the answer's text"
            return Verdict.abstain(reason, code="self_confidence.not_aligned")
        return self._judge(aggregate(logs, self.aggregate, self.quantile), "shows", text=None)

    async def _ask(self, request: Request, answer: Answer) -> Verdict:
        if len(answer.text) > MAX_CHARS:
            reason = f"the answer is longer than {MAX_CHARS:,} characters"
            return Verdict.abstain(reason, code="self_confidence.too_long")
        check = current_check.get()
        if check is None or check.maker(answer) is None:
            reason = "it is not known which model made this answer, to ask it"
            return Verdict.abstain(reason, code="self_confidence.no_maker")
        asked = p_true.question(request, answer, max_chars=MAX_CHARS)
        asked = p_true.with_settings(asked, logprobs=self.logprobs, params=self.params)
        verdict = Verdict.abstain(
            f"the model took longer than {self.timeout} s to say whether it is right",
            code="self_confidence.failed",
        )
        with spending() as spent, move_on_after(self.timeout):
            try:
                reply, _ = await call_maker(answer, asked)
                verdict = self._told(reply)
            except ProviderError as error:
                reason = f"the model could not be asked: {type(error).__name__}: {error.message}"
                verdict = Verdict.abstain(reason[:300], code="self_confidence.failed")
        return replace(verdict, cost=total(spent))

    def _told(self, reply: Answer) -> Verdict:
        score = p_true.probability(reply)
        if score is None:
            reason = "asked whether it is right, the model said neither True nor False"
            return Verdict.abstain(reason, code="self_confidence.not_stated")
        return self._judge(score, "gives itself", text=None)

    def _judge(self, score: float, verb: str, *, text: str | None) -> Verdict:
        if self.calibrator is not None:
            score, verb = self.calibrator(score), f"{verb} (calibrated)"
        if score >= self.threshold:
            return Verdict.accept(score=score, text=text)
        reason = f"the model {verb} a confidence of {score:.3g}, below {self.threshold:.3g}"
        return Verdict.reject(reason, code="self_confidence.low", score=score, text=text)

    def __repr__(self) -> str:
        return f"SelfConfidence({self.source!r}, threshold={self.threshold:.3g})"


def _one_of(key: str, value: _T, known: Collection[str]) -> _T:
    if value not in known:
        raise ConfigError(f"{key}={value!r}: {nearest(str(value), known)}")
    return value


def _threshold(threshold: float | None, min_logprob: float | None) -> float:
    if min_logprob is not None:
        if threshold is not None:
            raise ConfigError(f"min_logprob={min_logprob!r}: give this or threshold, not both")
        if not min_logprob <= 0:
            raise ConfigError(f"min_logprob={min_logprob!r}: needs a number of 0 or less")
        return math.exp(min_logprob)
    if threshold is None:
        return 0.5
    if not 0 <= threshold <= 1:
        raise ConfigError(f"threshold={threshold!r}: needs a number in [0, 1]")
    return threshold
