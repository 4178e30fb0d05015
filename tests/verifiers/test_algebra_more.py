"""`weighted`, `when` and `within`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import permutations
from typing import Any, cast

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.context import Check, current_check
from cascade.cost import Cost
from cascade.engine import Engine
from cascade.errors import ConfigError
from cascade.testing import Scripted, ScriptedModel
from cascade.types import Answer, Request
from cascade.verdict import Outcome, Verdict
from cascade.verify import CostClass, as_verifier
from cascade_verifiers.algebra import All, Composable, at_least
from cascade_verifiers.algebra import Any as AnyOf
from cascade_verifiers.applying import when
from cascade_verifiers.composable import NOT_APPLICABLE
from cascade_verifiers.judge import Judge
from cascade_verifiers.limiting import within
from cascade_verifiers.weighting import weighted

REQUEST = Request.of("a question")
ANSWER = Answer("an answer")


class Fixed(Composable):
    """Says what it was told to, and counts how often it was asked."""

    def __init__(
        self, outcome: Outcome, score: float | None = None, *, cost_class: CostClass = "free",
        code: str = "", repairable: bool = False,
    ) -> None:  # fmt: skip
        reason = "" if outcome == "accepted" else f"{outcome} {code}".strip()
        self.verdict = Verdict(outcome, score, reason, code, repairable)
        self.cost_class = cost_class
        self.asked = 0

    def verify(self, request: Request, answer: Answer, /) -> Verdict:
        self.asked += 1
        return self.verdict


def say(verifier: Any) -> Verdict:
    verdict = verifier.verify(REQUEST, ANSWER)
    assert isinstance(verdict, Verdict)
    return verdict


def score(value: float) -> Fixed:
    return Fixed("accepted" if value >= 0.5 else "rejected", value)


def test_weighted_mean_and_threshold() -> None:
    verdict = say(weighted([(score(1.0), 1), (score(0.4), 3)], threshold=0.55))
    assert verdict.accepted
    assert verdict.score == pytest.approx(0.55)
    verdict = say(weighted({score(1.0): 1, score(0.4): 3}, threshold=0.6))
    assert (verdict.outcome, verdict.code) == ("rejected", "weighted.low")
    assert verdict.reason == "scored 0.55, below 0.6; rejected"
    assert say(weighted([(score(0.6), 0.1)] * 7, threshold=0.6)).accepted


def test_no_score_outvotes_a_hard_check() -> None:
    hard = Fixed("rejected", code="json.parse", repairable=True)
    for parts in permutations([(hard, 0.001), (score(1.0), 1000), (score(0.9), 1000)]):
        verdict = say(weighted(parts, threshold=0.1))
        assert (verdict.outcome, verdict.code, verdict.score) == ("rejected", "json.parse", None)
        assert verdict.repairable
    # Not even when it hides beside a score.
    both = score(0.9) & Fixed("rejected", cost_class="model")
    assert say(weighted([(both, 1), (score(1.0), 9)])).outcome == "rejected"


@pytest.mark.parametrize("wrap", [All, lambda *parts: within(9, All(*parts)), lambda *p: ~~All(*p)])
def test_nor_one_that_stands_behind_a_score(wrap: Any) -> None:
    hard, low = Fixed("rejected", code="json.parse"), score(0.4)
    for parts in permutations([hard, low]):
        gate = weighted([(wrap(*parts), 1), (score(1.0), 3)], threshold=0.5)
        for asked in (
            gate,
            weighted([(gate, 1), (score(1.0), 9)]),
            cast(Any, gate.with_threshold)(0),
        ):
            verdict = say(asked)
            assert (verdict.outcome, verdict.code, verdict.score) == (
                "rejected",
                "json.parse",
                None,
            )


def test_a_hard_check_that_fails_still_ends_it() -> None:
    late = Fixed("accepted", 1.0, cost_class="model")
    say(weighted([(Fixed("rejected") & late, 1), (score(1.0), 1)]))
    assert late.asked == 0


@st.composite
def nested(draw: st.DrawFn, depth: int = 2) -> tuple[Any, ...]:
    """A join, its parts (each a leaf or another), and what the join wants besides."""
    if depth == 0 or draw(st.booleans()):
        outcome = draw(st.sampled_from(["accepted", "rejected", "abstained"]))
        scored = outcome != "abstained" and draw(st.booleans())
        value = draw(st.sampled_from([0.0, 0.25, 0.5, 1.0])) if scored else None
        cost = draw(st.sampled_from(["free", "cpu"]))
        return ("leaf", Fixed(cast(Any, outcome), value, cost_class=cast(Any, cost)))
    parts = draw(st.lists(nested(depth=depth - 1), min_size=1, max_size=3))
    weights = draw(st.lists(st.sampled_from([1, 2, 3]), min_size=3, max_size=3))
    return (draw(st.sampled_from(["&", "|", "~", "2", "weighted"])), parts, weights)


def grow(tree: tuple[Any, ...], draw: Any) -> Any:
    """The verifier of a `nested`, its parts in an order that ``draw`` gives."""
    if tree[0] == "leaf":
        return tree[1]
    join, parts, weights = tree
    order = draw(st.permutations(range(len(parts))))
    grown = [grow(parts[index], draw) for index in order]
    if join == "weighted":
        return weighted([(one, weights[n]) for one, n in zip(grown, order, strict=True)])
    joins: Mapping[str, Callable[..., Any]] = {
        "&": All,
        "|": AnyOf,
        "2": lambda *p: at_least(min(2, len(p)), *p),
    }
    return ~All(*grown) if join == "~" else joins[join](*grown)


@given(nested(), st.data())
def test_a_weighted_whole_is_the_same_in_any_order_of_its_parts_parts(
    tree: Any, data: st.DataObject
) -> None:
    other = ("leaf", score(0.75))
    whole = ("weighted", [tree, other], [2, 1])
    first, second = (say(grow(whole, data.draw)) for _ in range(2))
    assert first.outcome == second.outcome
    assert not first.accepted or first.score == second.score


def test_a_hard_check_that_passes_has_no_say() -> None:
    passed = Fixed("accepted")
    assert say(weighted([(passed, 99), (score(0.4), 1)], threshold=0.5)).score == 0.4
    assert say(weighted([(passed, 1)])).code == "weighted.no_score"


def test_weighted_abstains_only_where_it_matters() -> None:
    unknown = Fixed("abstained", code="judge.failed")
    verdict = say(weighted([(unknown, 1), (score(0.9), 1)]))
    assert (verdict.outcome, verdict.code, verdict.score) == ("abstained", "judge.failed", None)
    assert say(weighted([(unknown, 1), (score(0.1), 9)])).outcome == "rejected"


def test_weighted_ends_when_it_is_lost() -> None:
    last = Fixed("accepted", 1.0, cost_class="model")
    assert say(weighted([(last, 1), (score(0.1), 9)])).outcome == "rejected"
    assert last.asked == 0


weights = st.sampled_from((0.1, 0.3, 0.7, 1.0, 3.0))
scores = st.none() | st.sampled_from((0.0, 0.1, 0.3, 0.5, 0.6, 0.7, 1.0))
outcomes = st.sampled_from(("accepted", "rejected", "abstained"))
classes = st.sampled_from(("free", "cpu", "model"))


@given(
    st.lists(
        st.tuples(
            st.builds(lambda o, s, c: Fixed(o, s, cost_class=c), outcomes, scores, classes), weights
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from((0.0, 0.3, 0.5, 0.6, 1.0)),
)
def test_weighted_says_the_same_in_any_order(pairs: Any, threshold: float) -> None:
    assert (
        len({say(weighted(order, threshold=threshold)).outcome for order in permutations(pairs)})
        == 1
    )


@pytest.mark.parametrize(
    ("parts", "options"),
    [
        ([], {}),
        ([(score(1), 0)], {}),
        ([(score(1), -1)], {}),
        ([(score(1), float("nan"))], {}),
        ([(score(1), "2")], {}),
        ([(score(1), 1)], {"threshold": 2}),
    ],
)
def test_weighted_refuses_impossible_numbers(parts: Any, options: Any) -> None:
    with pytest.raises(ConfigError):
        weighted(parts, **options)


def test_weighted_takes_a_threshold() -> None:
    whole = weighted([(score(0.6), 1)], threshold=0.9)
    assert not say(whole).accepted
    assert say(whole.with_threshold(0.5)).accepted
    assert "threshold=0.9" in repr(whole)


def no(answer: Answer) -> bool:
    return False


def yes(request: Request, answer: Answer) -> bool:
    return True


@pytest.mark.parametrize("outcome", ["accepted", "rejected", "abstained"])
def test_what_does_not_apply_is_as_if_not_written(outcome: Outcome) -> None:
    other = Fixed(outcome)
    for inner in (Fixed("accepted"), Fixed("rejected"), Fixed("abstained")):
        absent = when(no, inner)
        for whole in (absent & other, other & absent, absent | other, other | absent,
                      ~absent & other, ~absent | other, at_least(2, absent, other),
                      at_least(1, absent, other)):  # fmt: skip
            assert say(whole).outcome == outcome
        assert inner.asked == 0
        assert say(when(yes, inner)).outcome == inner.verdict.outcome
        assert say(~when(yes, inner)).outcome == say(~inner).outcome
    assert say(weighted([(when(no, Fixed("rejected")), 9), (score(0.7), 1)])).score == 0.7


def test_where_nothing_applies_the_answer_passes() -> None:
    for whole in (when(no, Fixed("rejected")), ~when(no, Fixed("accepted")),
                  when(no, Fixed("rejected")) & when(no, Fixed("rejected")),
                  at_least(1, when(no, Fixed("rejected")))):  # fmt: skip
        verdict = say(whole)
        assert (verdict.outcome, verdict.code) == ("accepted", NOT_APPLICABLE)


present = st.builds(lambda o, c: Fixed(o, cost_class=c), outcomes, classes)
maybe = st.builds(lambda part, there: when(yes if there else no, part), present, st.booleans())


@given(st.lists(maybe, min_size=1, max_size=4), st.data())
def test_absent_parts_change_nothing_in_any_order(parts: Any, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(parts)))
    there = [p for p in parts if say(p).code != NOT_APPLICABLE]
    wanted = say(at_least(min(k, len(there)), *there)).outcome if there else "accepted"
    assert {say(at_least(k, *order)).outcome for order in permutations(parts)} == {wanted}
    assert say(~All(*parts)).outcome == say(AnyOf(*(~part for part in parts))).outcome


def test_predicates() -> None:
    class Odd:
        def __bool__(self) -> bool:
            raise RuntimeError("broken")

    part = Fixed("rejected", code="x")
    assert say(when(lambda answer: answer.text, part)).outcome == "rejected"
    assert say(when(lambda answer: None, part)).code == NOT_APPLICABLE
    assert say(when(Fixed("accepted"), part)).outcome == "rejected"
    assert say(when(Fixed("rejected"), part)).code == NOT_APPLICABLE
    assert say(when(Fixed("abstained"), part)).outcome == "abstained"
    assert say(when(lambda answer: Odd(), part)).code == "check.crash"
    assert say(when(when(no, part), part)).code == NOT_APPLICABLE
    for wrong in (3, str.upper.__class__):
        with pytest.raises(ConfigError):
            when(cast("Any", wrong), part)


@pytest.mark.anyio
async def test_async_predicates_and_parts() -> None:
    async def later(answer: Answer) -> bool:
        await anyio.lowlevel.checkpoint()
        return answer.text == "yes"

    async def check(answer: Answer) -> str:
        return "never good"

    whole: Any = when(later, check)
    for text, outcome in (("yes", "rejected"), ("no", "accepted")):
        found = whole.verify(REQUEST, Answer(text))
        assert (await found).outcome == outcome
    found = cast("Awaitable[Verdict]", when(yes, check).verify(REQUEST, ANSWER))
    assert (await found).reason == "never good"


@pytest.mark.anyio
async def test_a_group_is_judged_where_it_applies() -> None:
    class Votes(Fixed):
        def verify_group(self, request: Request, answers: Sequence[Answer]) -> Sequence[Verdict]:
            self.asked += 1
            return [Verdict.reject(f"one of {len(answers)}") for _ in answers]

    votes = Votes("accepted")
    whole: Any = when(lambda answer: answer.text == "a", votes)
    found = await whole.verify_group(REQUEST, [Answer("a"), Answer("b")])
    assert [v.outcome for v in found] == ["rejected", "accepted"]
    assert found[0].reason == "one of 2"
    await whole.verify_group(REQUEST, [Answer("b")])
    assert votes.asked == 1
    limited: Any = within(9, votes)
    assert len(await limited.verify_group(REQUEST, [ANSWER, ANSWER])) == 2


class TestWithin:
    """On a virtual clock, so that waiting costs nothing and times are exact."""

    @pytest.fixture
    def anyio_backend(self, virtual_clock: tuple[str, dict[str, Any]]) -> Any:
        return virtual_clock

    @pytest.mark.anyio
    async def test_a_slow_check_abstains(self) -> None:
        ended: list[bool] = []

        async def slow(answer: Answer) -> bool:
            try:
                await anyio.sleep(10)
            finally:
                ended.append(True)
            return True

        began = anyio.current_time()
        verdict = await cast("Awaitable[Verdict]", within(2, slow).verify(REQUEST, ANSWER))
        assert (verdict.outcome, verdict.code) == ("abstained", "check.timeout")
        assert verdict.reason == "slow took longer than 2 s"
        assert (anyio.current_time() - began, ended) == (2, [True])
        verdict = await cast("Awaitable[Verdict]", within(11, slow).verify(REQUEST, ANSWER))
        assert verdict.accepted
        either: Any = within(2, slow) | Fixed("accepted", cost_class="model")
        assert (await either.verify(REQUEST, ANSWER)).accepted

    @pytest.mark.anyio
    async def test_what_it_spent_is_counted(self) -> None:
        judge = Judge(ScriptedModel(Scripted(text="{}", delay=60)), rubric="right")
        async with Engine() as engine:
            token = current_check.set(Check(engine))
            try:
                pending = within(1, judge).verify(REQUEST, ANSWER)
                verdict = await cast("Awaitable[Verdict]", pending)
            finally:
                current_check.reset(token)
        assert verdict.code == "check.timeout"
        assert isinstance(verdict.cost, Cost)


def test_within_passes_on_what_its_part_has() -> None:
    judge: Any = within(3, Judge("openai:gpt-5", rubric="right"))
    assert judge.cost_class == "model"
    assert judge.with_threshold(0.9).part.threshold == 0.9
    assert not hasattr(within(3, no), "verify_group")
    assert not say(within(3, no)).accepted
    assert repr(within(0.5, as_verifier(no))) == "within(0.5, no)"
    for wrong in (0, -1, True, "2", float("inf")):
        with pytest.raises(ConfigError, match=r"^within="):
            within(cast("float", wrong), no)
