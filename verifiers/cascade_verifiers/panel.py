"""What every judge has in common: who is asked, by what rubric, and how votes are counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Self

from anyio import create_task_group, move_on_after
from msgspec.structs import replace

from cascade.context import call_model_once, current_check, spending
from cascade.cost import total
from cascade.errors import ConfigError, ProviderError
from cascade.model import ModelSpec
from cascade.policy import Model
from cascade.provider import split_model
from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade.verify import CostClass
from cascade_verifiers.algebra import Composable
from cascade_verifiers.fencing import shown

if TYPE_CHECKING:
    from cascade.targets import Target

MAX_CHARS = 100_000


class Panel(Composable):
    """One judge, or several that are asked at once and vote. `Judge` and `PairwiseJudge` are.

    The answer is accepted when at least ``quorum`` judges accept it. An abstention is a vote not
    known: where it could turn the outcome, the panel abstains. The score is the ``quorum``-th
    highest, so that it reaches a threshold exactly when as many votes do.
    """

    cost_class: CostClass = "model"

    def __init__(
        self,
        model: Model | None,
        rubric: str,
        *,
        judges: Sequence[Model] | None,
        quorum: int | None,
        threshold: float,
        allow_same: bool,
        timeout: float | None,
        params: Mapping[str, Any] | None,
        constrain: bool,
        max_chars: int,
    ) -> None:
        self.models = _models(model, judges)
        given: object = rubric
        if not isinstance(given, str) or not given.strip():
            raise ConfigError("rubric: is empty; say what a good answer is")
        if quorum is not None and len(self.models) == 1:
            raise ConfigError(f"quorum={quorum!r}: does nothing with one judge")
        self.quorum = len(self.models) // 2 + 1 if quorum is None else quorum
        if not 1 <= self.quorum <= len(self.models):
            raise ConfigError(f"quorum={quorum!r}: needs a number from 1 to {len(self.models)}")
        if not 0 <= threshold <= 1:
            raise ConfigError(f"threshold={threshold!r}: needs a number in [0, 1]")
        if timeout is not None and not 0 < timeout < float("inf"):
            raise ConfigError(f"timeout={timeout!r}: needs seconds above 0, or None")
        if constrain and params and "response_format" in params:
            raise ConfigError("params: has a response_format; give constrain=False beside it")
        if not max_chars > 0:
            raise ConfigError(f"max_chars={max_chars!r}: needs a number above 0")
        self.rubric = rubric.strip()
        self.threshold = threshold
        self.allow_same = allow_same
        self.timeout = timeout
        self.params = dict(params or {})
        self.constrain = constrain
        self.max_chars = max_chars

    def with_threshold(self, threshold: float) -> Self:
        """The same judges with another threshold."""
        if not 0 <= threshold <= 1:
            raise ConfigError(f"threshold={threshold!r}: needs a number in [0, 1]")
        changed = copy(self)
        changed.threshold = threshold
        return changed

    async def verify(self, request: Request, answer: Answer, /) -> Verdict:
        """The judges' verdict; an abstention with the reason when there is none."""
        if len(shown(answer)) > self.max_chars:
            reason = f"the answer is longer than {self.max_chars:,} characters"
            return Verdict.abstain(reason, code="judge.too_long")
        if len(self.models) == 1:
            return await self._member(self.models[0], request, answer)
        found: list[Verdict | None] = [None] * len(self.models)
        async with create_task_group() as tasks:
            for index in range(len(self.models)):
                tasks.start_soon(self._vote, index, found, request, answer)
        return self._count([verdict for verdict in found if verdict is not None])

    async def _ask(self, model: Model, request: Request, answer: Answer) -> Verdict:
        """One judge's verdict; the cost is added by who calls."""
        raise NotImplementedError

    async def _member(self, model: Model, request: Request, answer: Answer) -> Verdict:
        if not self.allow_same and _made(model, answer):
            reason = (
                f"the judge {_name(model)} is the model that answered: name another judge, or "
                "set allow_same"
            )
            return Verdict.abstain(reason, code="judge.same_model")
        verdict = Verdict.abstain(
            f"the judge took longer than {self.timeout} s", code="judge.failed"
        )
        # A call that was cut short or failed may still be billed: the engine writes down what.
        with spending() as spent, move_on_after(self.timeout):
            try:
                verdict = await self._ask(model, request, answer)
            except ProviderError as error:
                verdict = _failed(error, error.message)
        return replace(verdict, cost=total(spent))

    async def _vote(
        self, index: int, found: list[Verdict | None], request: Request, answer: Answer
    ) -> None:
        try:
            found[index] = await self._member(self.models[index], request, answer)
        except Exception as error:  # noqa: BLE001  # one judge's crash is its own abstention
            found[index] = _failed(error, str(error))

    def _count(self, verdicts: Sequence[Verdict]) -> Verdict:
        cost = total(verdict.cost for verdict in verdicts)
        votes = [verdict for verdict in verdicts if verdict.score is not None]
        scores = sorted((v.score for v in votes if v.score is not None), reverse=True)
        unknown = len(verdicts) - len(votes)
        accepts = sum(verdict.accepted for verdict in votes)
        if accepts >= self.quorum:
            return Verdict.accept(score=scores[self.quorum - 1], cost=cost)
        reasons = list(dict.fromkeys(v.reason for v in verdicts if not v.accepted and v.reason))
        if accepts + unknown >= self.quorum:
            reason = f"{accepts} of {len(verdicts)} judges accept, and {self.quorum} must: "
            code = "judge.no_quorum"
            return Verdict.abstain(reason + "; ".join(reasons), code=code, cost=cost)
        # Where so few voted that there is no such score, it is what the quorum lacks: nothing.
        score = scores[self.quorum - 1] if len(scores) >= self.quorum else 0.0
        whole = "; ".join(v.reason for v in votes if not v.accepted)
        return Verdict.reject(whole, code="judge.low", score=score, repairable=True, cost=cost)

    async def _reply(self, model: Model, question: Request) -> str:
        reply, _ = await call_model_once(model, question)
        return reply.text

    def __repr__(self) -> str:
        names = ", ".join(repr(_name(model)) for model in self.models)
        return f"{type(self).__name__}({names}, threshold={self.threshold:.3g})"


def unreadable() -> Verdict:
    """The abstention on a reply that is not the JSON asked for."""
    reason = "the judge did not reply with the JSON asked for"
    return Verdict.abstain(reason, code="judge.unreadable")


def one_line(text: str) -> str:
    """A judge's reason, fit to be fed back."""
    return " ".join(text.split())[:300]


def _failed(error: Exception, message: str) -> Verdict:
    reason = f"the judge failed: {type(error).__name__}: {message}"
    return Verdict.abstain(reason[:300], code="judge.failed")


def _models(model: Model | None, judges: Sequence[Model] | None) -> tuple[Model, ...]:
    if judges is None:
        if model is None:
            raise ConfigError("model: is missing: name a judge, or several with judges=[…]")
        models: tuple[Model, ...] = (model,)
    elif model is not None:
        raise ConfigError("judges: give this or model, not both")
    elif isinstance(judges, str) or len(judges) < 2:
        raise ConfigError(f"judges={judges!r}: needs a list of two models or more")
    else:
        models = tuple(judges)
    key = "model" if judges is None else "judges"
    for index, one in enumerate(models):
        known = isinstance(one, str | ModelSpec) or callable(one) or hasattr(one, "complete")
        if not one or not known:
            raise ConfigError(f"{key}={one!r}: give 'provider:model', a function or a Provider")
        bare, _ = _identity(one)
        if isinstance(bare, str):
            split_model(bare)
        if any(_identity(one) == _identity(other) for other in models[:index]):
            raise ConfigError(f"judges: {_name(one)} is in it twice, and would say the same twice")
    return models


def _identity(model: Model) -> tuple[object, str | None]:
    """Which model it is, and where: prices and limits make no other one of it."""
    return (model.model, model.base_url) if isinstance(model, ModelSpec) else (model, None)


def _name(model: Model) -> str:
    if isinstance(model, str):
        return model
    return str(getattr(model, "name", None) or getattr(model, "__name__", type(model).__name__))


def _made(model: Model, answer: Answer) -> bool:
    check = current_check.get()
    maker = None if check is None else check.maker(answer)
    if maker is None:
        return False
    bare, _ = _identity(model)
    if isinstance(bare, str):
        return _names(bare, maker, answer)
    return maker.provider is bare or getattr(maker.provider, "_function", None) is bare


def _names(model: str, maker: Target, answer: Answer) -> bool:
    provider, name = split_model(model)
    if maker.name == f"{provider}:{name}":
        return True
    # The provider may say which dated version stands behind the name that was called.
    return maker.name.startswith(f"{provider}:") and name == answer.model
