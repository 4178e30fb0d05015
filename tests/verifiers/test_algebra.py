"""``&``, ``|``, ``~``: Kleene's logic, in any order."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from itertools import combinations, permutations
from typing import Any, Literal, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.cost import Cost
from cascade.errors import ConfigError
from cascade.types import Answer, Request
from cascade.verdict import Outcome, Verdict, Verifier
from cascade.verify import CostClass
from cascade_verifiers.algebra import All, Composable, Not, at_least
from cascade_verifiers.algebra import Any as AnyOf

REQUEST = Request.of("a question")
ANSWER = Answer("an answer")

OUTCOMES: tuple[Outcome, ...] = ("rejected", "abstained", "accepted")
"""From false to true: Kleene's `and` is the least of them, `or` the greatest."""


class Fixed(Composable):
    """Says what it was told to, and counts how often it was asked."""

    def __init__(self, outcome: Outcome, cost_class: CostClass = "free", **rest: Any) -> None:
        reason = "" if outcome == "accepted" else f"{outcome} by {id(self)}"
        self.verdict = Verdict(outcome, **{"reason": reason, **rest})
        self.cost_class = cost_class
        self.asked = 0

    def verify(self, request: Request, answer: Answer, /) -> Verdict:
        self.asked += 1
        return self.verdict


class Slow(Fixed):
    def verify(  # type: ignore[override]
        self, request: Request, answer: Answer, /
    ) -> Awaitable[Verdict]:
        async def later() -> Verdict:
            self.asked += 1
            return self.verdict

        return later()


class Crashing(Composable):
    def verify(self, request: Request, answer: Answer, /) -> Verdict:
        raise RuntimeError("broken")


def say(verifier: Verifier) -> Verdict:
    verdict = verifier.verify(REQUEST, ANSWER)
    assert isinstance(verdict, Verdict)
    return verdict


def outcome(verifier: Verifier) -> Outcome:
    return say(verifier).outcome


outcomes = st.sampled_from(OUTCOMES)
cost_classes = st.sampled_from(("free", "cpu", "model"))
fixed = st.builds(Fixed, outcomes, cost_classes)
trees = st.recursive(
    fixed,
    lambda inner: st.one_of(
        st.builds(lambda a, b: a & b, inner, inner),
        st.builds(lambda a, b: a | b, inner, inner),
        st.builds(lambda a: ~a, inner),
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("a", OUTCOMES)
@pytest.mark.parametrize("b", OUTCOMES)
def test_kleene_tables(a: Outcome, b: Outcome) -> None:
    assert outcome(Fixed(a) & Fixed(b)) == min(a, b, key=OUTCOMES.index)
    assert outcome(Fixed(a) | Fixed(b)) == max(a, b, key=OUTCOMES.index)
    assert OUTCOMES.index(outcome(~Fixed(a))) == 2 - OUTCOMES.index(a)


@given(trees, trees)
def test_de_morgan(a: Composable, b: Composable) -> None:
    assert outcome(~(a & b)) == outcome(~a | ~b)
    assert outcome(~(a | b)) == outcome(~a & ~b)
    assert outcome(~~a) == outcome(a)


@given(st.lists(fixed, min_size=1, max_size=4), st.sampled_from((All, AnyOf)))
def test_the_order_does_not_matter(parts: list[Fixed], join: type[All] | type[AnyOf]) -> None:
    found = {outcome(join(*order)) for order in permutations(parts)}
    assert len(found) == 1


@given(trees, trees, trees)
def test_grouping_does_not_matter(a: Composable, b: Composable, c: Composable) -> None:
    assert outcome((a & b) & c) == outcome(a & (b & c)) == outcome(All(a, b, c))
    assert outcome((a | b) | c) == outcome(a | (b | c)) == outcome(AnyOf(a, b, c))


def test_cheap_parts_run_first_and_the_first_rejection_ends_it() -> None:
    model, cpu, free = Fixed("accepted", "model"), Fixed("rejected", "cpu"), Fixed("accepted")
    assert outcome(model & cpu & free) == "rejected"
    assert (free.asked, cpu.asked, model.asked) == (1, 1, 0)
    model, cpu = Fixed("rejected", "model"), Fixed("accepted", "cpu")
    assert outcome(model | cpu) == "accepted"
    assert (cpu.asked, model.asked) == (1, 0)


def test_an_abstention_does_not_end_it() -> None:
    last = Fixed("rejected")
    assert outcome(Fixed("abstained") & last) == "rejected"
    assert last.asked == 1


def test_a_composite_costs_what_its_dearest_part_costs() -> None:
    assert (Fixed("accepted") & Fixed("accepted", "cpu")).cost_class == "cpu"
    assert (~Fixed("accepted", "model")).cost_class == "model"

    class Odd(Fixed):
        cost_class: Any = "gpu"

        def __init__(self) -> None:
            super().__init__("accepted")
            self.cost_class = "gpu"

    with pytest.raises(ConfigError, match="gpu"):
        All(Odd())


def test_a_crash_is_an_abstention_in_either_order() -> None:
    for pair in permutations((Crashing(), Fixed("rejected"))):
        assert outcome(All(*pair)) == "rejected"
    verdict = say(Crashing() & Fixed("accepted"))
    assert verdict.outcome == "abstained"
    assert "Crashing crashed: RuntimeError: broken" in verdict.reason
    assert outcome(Crashing() | Fixed("accepted")) == "accepted"


def test_scores() -> None:
    high, low = Fixed("accepted", score=0.8), Fixed("accepted", score=0.6)
    assert say(high & low).score == 0.6
    assert say(Fixed("rejected", score=0.8) | Fixed("rejected", score=0.6)).score == 0.8
    assert say(~Fixed("rejected", score=0.25)).score == 0.75
    assert say(high & Fixed("accepted")).score == 0.8
    assert say(Fixed("accepted") & Fixed("accepted")).score is None


def test_reasons_codes_and_repairability() -> None:
    one = Fixed("rejected", reason="too long", code="length", repairable=True)
    two = Fixed("rejected", reason="not JSON", code="json", repairable=False)
    either = say(one | two)
    assert (either.reason, either.code) == ("too long; not JSON", "length")
    assert either.repairable
    unsure = Fixed("abstained", reason="cannot tell")
    both = say(All(unsure, one))
    assert both.reason == "cannot tell; too long"
    assert (both.code, both.repairable) == ("length", True)
    assert not say(two & one).repairable


def test_value_and_text_come_from_the_first_part_that_has_them() -> None:
    first = Fixed("accepted", parsed=1, text="one")
    second = Fixed("accepted", parsed=2, text="two")
    whole = say(All(Fixed("accepted"), first, second))
    assert (whole.parsed, whole.text) == (1, "one")
    # Written first counts, not run first.
    dear = Fixed("accepted", "model", parsed=3)
    assert say(dear & first).parsed == 3
    # Of `|`, only what was accepted.
    wrong = Fixed("rejected", parsed="wrong")
    assert say(wrong | first).parsed == 1
    assert say(~Fixed("rejected", parsed=1)).parsed is None


def test_costs_add_up() -> None:
    cost = Cost(0.1, 0.2)
    assert say(Fixed("accepted", cost=cost) & Fixed("accepted", cost=cost)).cost == cost + cost
    assert say(~Fixed("accepted", cost=cost)).cost == cost


def test_plain_functions_on_either_side() -> None:
    def fine(answer: Answer) -> bool:
        return True

    yes = Fixed("accepted")
    assert outcome(fine & yes) == outcome(yes & fine) == "accepted"
    assert outcome(fine | Fixed("rejected")) == "accepted"
    assert isinstance(fine & yes, All)
    with pytest.raises(ConfigError):
        yes & 3  # type: ignore[operator]


def test_nothing_is_offered_that_no_part_has() -> None:
    for whole in (Fixed("accepted") & Fixed("accepted"), ~Fixed("accepted")):
        for method in ("prepare", "with_threshold", "response_format", "verify_group"):
            assert not hasattr(whole, method)


class Rich(Fixed):
    """Has every optional method."""

    def __init__(self, outcome: Outcome = "accepted", threshold: float = 0.5) -> None:
        super().__init__(outcome)
        self.threshold = threshold

    def prepare(self, request: Request) -> Request:
        return request.with_params(asked=request.params.get("asked", 0) + 1)

    def with_threshold(self, threshold: float) -> Rich:
        return Rich(self.verdict.outcome, threshold)

    def response_format(self) -> dict[str, Any]:
        return {"type": "json_object"}

    def verify_group(self, request: Request, answers: Sequence[Answer]) -> Sequence[Verdict]:
        votes = [answer.text for answer in answers]
        return [
            Verdict.accept() if votes.count(vote) > 1 else Verdict.reject("alone") for vote in votes
        ]


def test_optional_methods_go_to_the_parts_that_have_them() -> None:
    whole: Any = Rich() & Fixed("accepted")
    assert whole.prepare(REQUEST).params == {"asked": 1}
    assert (Rich() & Rich()).prepare(REQUEST).params == {"asked": 2}
    assert whole.with_threshold(0.9).parts[0].threshold == 0.9
    assert whole.response_format() == {"type": "json_object"}
    assert (~Rich()).prepare(REQUEST).params == {"asked": 1}  # type: ignore[attr-defined]
    for method in ("with_threshold", "response_format"):
        assert not hasattr(~Rich(), method)
    assert not hasattr(Rich() | Fixed("accepted"), "response_format")


def test_what_could_go_to_two_parts_is_refused() -> None:
    whole: Any = Rich() & Rich()
    with pytest.raises(ConfigError, match=r"threshold=0\.7: could go to any of Rich, Rich"):
        whole.with_threshold(0.7)
    with pytest.raises(ConfigError, match="form of their own"):
        whole.response_format()


@pytest.mark.anyio
async def test_a_group_is_judged_together_by_the_part_that_can() -> None:
    def short(answer: Answer) -> bool:
        return len(answer.text) < 5

    answers = [Answer("a"), Answer("a"), Answer("b"), Answer("long answer")]
    whole: Any = Rich() & short
    verdicts = await whole.verify_group(REQUEST, answers)
    assert [v.outcome for v in verdicts] == ["accepted", "accepted", "rejected", "rejected"]
    turned = await cast("Any", ~Rich()).verify_group(REQUEST, answers)
    assert [v.outcome for v in turned] == ["rejected", "rejected", "accepted", "accepted"]


@pytest.mark.anyio
@pytest.mark.parametrize("join", [All, AnyOf])
async def test_async_parts_say_the_same_as_sync_ones(join: type[All] | type[AnyOf]) -> None:
    kinds: tuple[type[Fixed], ...] = (Fixed, Slow)
    for a in OUTCOMES:
        for b in OUTCOMES:
            wanted = outcome(join(Fixed(a), Fixed(b)))
            for left in kinds:
                for right in kinds:
                    found = join(left(a), right(b)).verify(REQUEST, ANSWER)
                    verdict = found if isinstance(found, Verdict) else await found
                    assert verdict.outcome == wanted


@pytest.mark.anyio
async def test_async_parts_are_not_asked_when_all_is_settled() -> None:
    slow = Slow("accepted", "model")
    assert outcome(slow & Fixed("rejected")) == "rejected"
    dear = Slow("accepted", "model")
    pending = (Slow("rejected") & dear).verify(REQUEST, ANSWER)
    verdict = await cast("Awaitable[Verdict]", pending)
    assert (verdict.outcome, slow.asked, dear.asked) == ("rejected", 0, 0)
    turned = (~Slow("rejected")).verify(REQUEST, ANSWER)
    assert (await cast("Awaitable[Verdict]", turned)).accepted


def test_sync_parts_never_make_a_coroutine() -> None:
    whole = ~(Fixed("accepted") & Fixed("rejected")) | Fixed("abstained")
    assert isinstance(whole.verify(REQUEST, ANSWER), Verdict)


def test_representation_and_flattening() -> None:
    a, b, c = Rich(), Rich(), Rich()
    assert len((a & b & c).parts) == 3
    assert len((a & (b | c)).parts) == 2
    kind: Literal["abc"] = "abc"

    def named(answer: Answer) -> bool:
        return answer.text == kind

    assert repr(All(named) & ~AnyOf(named, named)) == "(named & ~(named | named))"
    assert isinstance(~~All(named), All)
    assert not isinstance(~~a, Not)


class Rewriting(Fixed):
    """Takes a last line off the answer, and keeps what it was shown."""

    def __init__(
        self, outcome: Outcome = "accepted", rewrites: Any = "addition", *, text: str = "seen"
    ) -> None:
        super().__init__(outcome, "model")
        self.rewrites = rewrites
        self.mark = text
        self.seen: list[str] = []

    def verify(self, request: Request, answer: Answer, /) -> Verdict:
        self.seen.append(answer.text)
        text = answer.text.removesuffix(self.mark) if self.rewrites else None
        return Verdict(self.verdict.outcome, reason=self.verdict.reason, text=text)


def test_every_part_sees_what_the_user_will_get() -> None:
    for outcome_ in OUTCOMES[::2]:
        for join in (All, AnyOf):
            for order in permutations(range(3)):
                stated = Rewriting(outcome_, text=" sure")
                fenced = Rewriting("abstained", "wrapping", text=" fence")
                reader = Rewriting("abstained", None)
                parts = [stated, fenced, reader]
                whole = join(*(parts[n] for n in order))
                verdict = whole.verify(REQUEST, Answer("the answer fence sure"))
                assert isinstance(verdict, Verdict)
                assert stated.seen == ["the answer fence sure"]
                if outcome_ != ("rejected" if join is All else "accepted"):
                    assert fenced.seen == ["the answer fence"]
                    assert reader.seen == ["the answer"]
                    assert verdict.text == "the answer"
                else:
                    assert verdict.text == "the answer fence"


def test_a_nested_part_that_rewrites_runs_first_too() -> None:
    stated, reader = Rewriting(text=" sure"), Rewriting(rewrites=None)
    whole = All(reader, AnyOf(All(Fixed("abstained"), stated), Fixed("rejected")))
    assert outcome(All(whole, ~reader)) == "rejected"
    assert say(whole).accepted is False
    verdict = whole.verify(REQUEST, Answer("it is so sure"))
    assert isinstance(verdict, Verdict)
    assert reader.seen[-1] == "it is so"
    assert (~Rewriting()).rewrites == "addition"
    assert (~Rewriting(rewrites="wrapping")).rewrites is None


def test_parts_that_rewrite_alike_do_not_depend_on_their_order() -> None:
    parts = [
        Fixed("accepted", text="longer"), Fixed("accepted", text="short"),
        Fixed("accepted", text="shirt"),
    ]  # fmt: skip
    assert {say(All(*order)).text for order in permutations(parts)} == {"shirt"}


def test_rewrites_is_checked() -> None:
    with pytest.raises(ConfigError, match="did you mean 'addition'"):
        All(Rewriting(rewrites="additon"))


def test_a_hard_rejection_has_no_score_whatever_the_others_scored() -> None:
    hard, sure = Fixed("rejected", "model"), Fixed("accepted", score=0.9)
    assert say(sure & hard).score is None
    assert say(at_least(2, sure, hard, Fixed("accepted", "model"))).score == 0.9
    assert say(sure & Fixed("rejected", "model", score=0.2)).score == 0.2


@given(st.lists(fixed, min_size=1, max_size=5), st.data())
def test_at_least_counts(parts: list[Fixed], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(parts)))
    accepted = sum(part.verdict.outcome == "accepted" for part in parts)
    rejected = sum(part.verdict.outcome == "rejected" for part in parts)
    wanted = "abstained"
    if accepted >= k:
        wanted = "accepted"
    elif len(parts) - rejected < k:
        wanted = "rejected"
    assert outcome(at_least(k, *parts)) == wanted
    # ... which is Kleene's `or` of Kleene's `and`s of every k of them.
    assert outcome(AnyOf(*(All(*some) for some in combinations(parts, k)))) == wanted
    for order in permutations(parts):
        assert outcome(at_least(k, *order)) == wanted
    turned = at_least(len(parts) - k + 1, *(~part for part in parts))
    assert outcome(~at_least(k, *parts)) == outcome(turned)


def test_at_least_ends_as_soon_as_it_can() -> None:
    last = Fixed("accepted", "model")
    assert outcome(at_least(2, Fixed("accepted"), Fixed("accepted"), last)) == "accepted"
    assert outcome(at_least(2, Fixed("rejected"), Fixed("rejected"), last)) == "rejected"
    assert last.asked == 0
    assert outcome(at_least(2, Fixed("rejected"), Fixed("accepted"), last)) == "accepted"
    assert last.asked == 1


def test_at_least_scores_reasons_and_arguments() -> None:
    parts = [Fixed("accepted", score=s) for s in (0.9, 0.6, 0.7)]
    assert say(at_least(3, *parts)).score == 0.6
    fixable = Fixed("rejected", reason="a", repairable=True)
    lost = Fixed("rejected", reason="b", repairable=False)
    verdict = say(at_least(1, fixable, lost))
    assert (verdict.reason, verdict.repairable) == ("a; b", True)
    assert not say(at_least(2, lost, fixable)).repairable
    assert say(at_least(2, fixable, fixable, lost)).repairable
    for k in (0, 3, True, 1.5):
        with pytest.raises(ConfigError, match=r"^at_least="):
            at_least(cast("int", k), fixable, lost)
    assert repr(at_least(1, Rich())).startswith("at_least(1, ")
    changed: Any = cast("Any", at_least(1, Rich(), Fixed("accepted"))).with_threshold(0.9)
    assert (changed.k, changed.parts[0].threshold) == (1, 0.9)


def test_prefix_rejects_only_what_is_hopeless() -> None:
    class Short(Fixed):
        def prefix(self, text: str) -> Verdict | None:
            if text == "crash":
                raise RuntimeError
            return Verdict.reject("too long", code="length") if len(text) > 5 else None

    short: Any = Short("accepted")
    both: Any = short & Fixed("accepted")
    assert both.prefix("abc") is None
    assert both.prefix("crash") is None
    assert both.prefix("abcdefg").code == "length"
    assert cast("Any", short | Fixed("accepted")).prefix("abcdefg") is None
    assert cast("Any", short | Short("accepted")).prefix("abcdefg").outcome == "rejected"
    assert not hasattr(~short, "prefix")
    # It would judge what another part takes off.
    assert not hasattr(short & Rewriting(), "prefix")
