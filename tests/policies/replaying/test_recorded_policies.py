"""Policies over recordings: what is drawn for which attempt, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cascade import Answer, Policy, Price, Request, Tier, Verdict
from cascade.errors import ConfigError
from cascade.policies import Heuristic
from cascade.verifiers import Length
from cascade_policies.recordings import Header, Recording
from cascade_policies.recordings.header import header_of
from cascade_policies.recordings.identity import identities
from cascade_policies.recordings.rows import row_of
from cascade_policies.replaying import Settings, evaluate, table_of
from cascade_policies.replaying.plans import PolicyReplay
from cascade_policies.replaying.settings import UNCHECKED


class Scored:
    """A check that must not be run; its name is that of the recorded one."""

    name = "scored"

    def with_threshold(self, threshold: float) -> Scored:
        del threshold
        return self

    def verify(self, request: Request, answer: Answer, /) -> Verdict:
        raise AssertionError("no check is run in a replay")


CHECK = Scored()


def said(score: float | None = None, outcome: str | None = None, **more: Any) -> dict[str, Any]:
    """An answer, and what the check said of it."""
    kind = outcome or ("rejected" if score is not None and score < 0.5 else "accepted")
    verdict = {"outcome": kind, "score": score, "latency": 0.5, "cost_usd": 0.25}
    told = {"output": "yes", "correct": kind == "accepted", "latency": 2.0, "cost_usd": 1.0}
    return {**told, "verdicts": {"scored": verdict}, **more}


FAILED = {"error": "RateLimitError: slow down", "latency": 1.0, "cost_usd": 0.0}
PLAIN = {"output": "yes", "correct": True, "latency": 4.0, "cost_usd": 3.0}


def recording(*rows: dict[str, Any], **header: Any) -> Recording:
    made = [
        row_of({"id": f"row {at}", "prompt": "is it?", "models": models})
        for at, models in enumerate(rows)
    ]
    return Recording(tuple(made), header_of(header))


def small(**more: Any) -> Tier:
    given = {"name": "small", "verify": CHECK, "retries": 0, **more}
    return Tier("openai:small", **given)


LARGE = Tier("openai:large", name="large", retries=0)


def replay(policy: Policy, held: Recording) -> Any:
    (call,) = PolicyReplay(policy, held).run()
    return call


def test_a_cascade() -> None:
    held = recording({"small": said(0.25), "large": PLAIN}, {"small": said(0.75), "large": PLAIN})
    first, second = PolicyReplay(Policy("p", [small(), LARGE]), held).run()
    assert (first.tier, first.latency, first.low, first.quality) == (1, 6.5, 4.25, 1.0)
    assert (second.tier, second.latency, second.high, second.quality) == (0, 2.5, 1.25, 1.0)


def test_a_threshold_decides_by_the_recorded_score() -> None:
    held = recording({"small": said(0.75), "large": PLAIN})
    for threshold, tier in ((0.75, 0), (0.8, 1)):
        assert replay(Policy("p", [small(threshold=threshold), LARGE]), held).tier == tier


def test_without_a_score_the_verdict_stands_whatever_the_threshold() -> None:
    held = recording({"small": said(outcome="rejected"), "large": PLAIN})
    assert replay(Policy("p", [small(threshold=0.0), LARGE]), held).tier == 1


def test_an_abstention_means_what_the_tier_says() -> None:
    held = recording({"small": said(outcome="abstained"), "large": PLAIN})
    assert replay(Policy("p", [small(), LARGE]), held).tier == 1
    assert replay(Policy("p", [small(on_abstain="accept"), LARGE]), held).tier == 0


@pytest.mark.parametrize(
    ("changed", "tier"),
    [
        ({"output": None, "error": "APITimeoutError: late"}, 1),
        ({"output": "  "}, 1),
        ({"finish_reason": "content_filter"}, 1),
        ({"finish_reason": "length"}, 1),
        ({"finish_reason": "stop"}, 0),
    ],
)
def test_what_is_no_whole_answer_has_failed(changed: dict[str, Any], tier: int) -> None:
    held = recording({"small": said(0.75, **changed), "large": PLAIN})
    assert replay(Policy("p", [small(), LARGE]), held).tier == tier
    table = table_of(held, ["small", "large"], verifiers=["scored", None])
    assert table.failed[0].tolist() == [tier == 1, False]


def test_a_truncated_answer_may_be_allowed() -> None:
    held = recording({"small": said(0.75, finish_reason="length"), "large": PLAIN})
    assert replay(Policy("p", [small(allow_truncated=True), LARGE]), held).tier == 0


def test_retries_draw_samples_and_are_refused_without() -> None:
    policy = Policy("p", [small(retries=1), LARGE])
    keys = {"scored": {"name": "scored"}}
    drawn = {"small": {**FAILED, "samples": [said(0.75)]}, "large": PLAIN}
    held = recording(drawn, verifiers=keys)
    assert [a.kind for a in replay(policy, held).attempts] == ["first", "retry"]
    held = recording({"small": said(0.75), "large": PLAIN}, {"small": FAILED, "large": PLAIN})
    lacks = r"2 samples .* in 1 of 2 rows \(first: 'row 1'\).*--what-if tiers.small.retries=0"
    with pytest.raises(ConfigError, match=lacks):
        PolicyReplay(policy, held).run()


def test_repairs_are_those_that_followed() -> None:
    policy = Policy("p", [small(repairs=2), LARGE])
    repaired = said(0.25, repairs=[said(0.25, latency=1.0), said(0.75, latency=1.5)])
    call = replay(policy, recording({"small": repaired, "large": PLAIN}))
    assert [(a.kind, a.started) for a in call.attempts] == [
        ("first", 0.0),
        ("repair", 2.5),
        ("repair", 4.0),
    ]
    assert (call.tier, call.latency) == (0, 6.0)


def test_a_rejection_that_others_would_have_had_repaired_was_not_repairable() -> None:
    repaired = said(0.25, repairs=[said(0.75)])
    held = recording({"small": said(0.25), "large": PLAIN}, {"small": repaired, "large": PLAIN})
    calls = PolicyReplay(Policy("p", [small(repairs=1), LARGE]), held).run()
    assert [call.tier for call in calls] == [1, 0]


def test_repairs_that_were_not_recorded_are_refused() -> None:
    policy = Policy("p", [small(repairs=1), LARGE])
    held = recording({"small": said(0.25), "large": PLAIN})
    with pytest.raises(ConfigError, match=r"a repair in 1 of 1 rows.*tiers\.small\.repairs=0"):
        PolicyReplay(policy, held).run()
    # Accepted when it was recorded, so nobody knows what a repair would have brought.
    repaired = said(0.25, repairs=[said(0.75)])
    held = recording({"small": said(0.75), "large": PLAIN}, {"small": repaired, "large": PLAIN})
    strict = Policy("p", [small(repairs=2, threshold=0.9), LARGE])
    with pytest.raises(ConfigError, match=r"a repair in 2 of 2 rows"):
        PolicyReplay(strict, held).run()


def test_samples_are_members_of_an_ensemble() -> None:
    tier = Tier("openai:small", name="small", verify=CHECK, samples=2, retries=0)
    header = {"small": {"model": "openai:small", "verifier": "scored", "samples": 2}}
    held = recording({"small": said(0.25, samples=[said(0.75, latency=3.0)])}, models=header)
    call = replay(Policy("p", [tier]), held)
    assert [(a.member, a.outcome, a.latency) for a in call.attempts] == [
        (0, "rejected", 3.5),
        (1, "accepted", 3.5),
    ]


def test_a_group_verdict_needs_the_tier_recorded_as_one() -> None:
    class Together(Scored):
        def verify_group(self, request: Request, answers: Any) -> Any:
            raise AssertionError("no check is run in a replay")

    models = ["openai:a", "openai:b"]
    tier = Tier(models, name="pair", verify=Together(), retries=0)
    single = recording({"openai:a": said(0.75), "openai:b": said(0.75)})
    with pytest.raises(ConfigError, match="together"):
        PolicyReplay(Policy("p", [tier]), single)
    header = {"pair": {"model": "openai:a + openai:b", "verifier": "scored"}}
    whole = recording({"pair": said(0.75)}, models=header)
    assert replay(Policy("p", [tier]), whole).latency == 2.5


def test_stand_ins_have_columns_of_their_own() -> None:
    tier = small(fallbacks=["openai:other"])
    held = recording({"small": {**FAILED, "error": "BadRequestError: no"}, "other": said(0.75)})
    assert [a.choice for a in replay(Policy("p", [tier]), held).attempts] == [0, 1]


def test_columns_are_found_by_tier_by_model_and_by_bare_name() -> None:
    header = {"mine": {"model": "openai:small"}}
    for held in (
        recording({"small": PLAIN}),
        recording({"mine": PLAIN}, models=header),
        recording({"openai:small": PLAIN}),
    ):
        assert replay(Policy("p", [small(verify=None, name="any")]), held).tier == 0


def test_another_model_under_the_tiers_name_is_refused() -> None:
    held = recording({"small": PLAIN}, models={"small": {"model": "openai:other"}})
    with pytest.raises(ConfigError, match=r"'openai:small'.*are of 'openai:other'"):
        PolicyReplay(Policy("p", [small(verify=None)]), held)


@pytest.mark.parametrize(
    ("tier", "lacks"),
    [
        (Tier("openai:smal", name="x"), "answers of 'openai:smal'.*did you mean"),
        (small(verify=lambda answer: True), "needs verdicts of"),
    ],
)
def test_what_the_recording_does_not_hold_is_named(tier: Tier, lacks: str) -> None:
    held = recording({"openai:small": said(0.75)})
    with pytest.raises(ConfigError, match=lacks):
        PolicyReplay(Policy("p", [tier]), held)


def test_another_prompt_or_other_parameters_are_refused() -> None:
    asked = small(prompt="Is it? {{prompt}}", params={"temperature": 0.5})
    header = identities(Policy("p", [asked, LARGE])).models
    held = Recording(recording({"small": said(0.75), "large": PLAIN}).rows, Header(models=header))
    assert replay(Policy("p", [asked, LARGE]), held).tier == 0
    for prompt, heat, lacks in (
        ("Is it so? {{prompt}}", 0.5, "this prompt"),
        ("Is it? {{prompt}}", 0.0, "parameters .*0.0"),
    ):
        other = small(prompt=prompt, params={"temperature": heat})
        with pytest.raises(ConfigError, match=lacks):
            PolicyReplay(Policy("p", [other, LARGE]), held)


def test_verdicts_are_those_of_a_verifier_with_the_same_settings() -> None:
    short, long = Length(max_words=1), Length(max_words=9)
    both = Policy("p", [small(verify=short), Tier("openai:large", name="large", verify=long)])
    found = identities(both)
    assert set(found.verifiers) == {"Length", "Length#2"}
    verdicts = {"Length": {"outcome": "rejected"}, "Length#2": {"outcome": "accepted"}}
    rows = recording({"small": {**PLAIN, "verdicts": verdicts}, "large": PLAIN}).rows
    held = Recording(rows, Header(models=found.models, verifiers=found.verifiers))
    assert replay(Policy("p", [small(verify=short), LARGE]), held).tier == 1
    # Every verifier was asked about every answer, so another tier's check can be had too.
    assert replay(Policy("p", [small(verify=long), LARGE]), held).tier == 0
    with pytest.raises(ConfigError, match="'Length' with these settings"):
        PolicyReplay(Policy("p", [small(verify=Length(max_words=5)), LARGE]), held)


def test_a_router_is_refused() -> None:
    rules = [{"when": {"min_words": 400}, "start": "large"}]
    policy = Policy("p", [small(), LARGE], router=Heuristic(rules))
    with pytest.raises(ConfigError, match="router: needs what it said"):
        PolicyReplay(policy, recording({"small": said(0.75), "large": PLAIN}))


def test_a_delay_at_a_quantile_is_that_of_the_recorded_times() -> None:
    rows = [{"small": said(0.75, latency=1.0), "large": PLAIN}] * 50
    held = Recording(recording(*rows).rows)
    plan = PolicyReplay(Policy("p", [small(), LARGE], start_after="p90"), held).plan
    (_, delay) = plan.delays
    assert delay is not None
    assert 0.9 < delay < 1.1  # the engine too keeps times in buckets
    few = Recording(held.rows[:5])  # as for the engine, too few to tell
    unknown = PolicyReplay(Policy("p", [small(), LARGE], start_after="p90"), few).plan
    assert unknown.delays == (None, None)


def test_the_tiers_price_is_taken_where_a_row_has_no_cost() -> None:
    counted = {"output": "yes", "latency": 1.0, "input_tokens": 1000, "output_tokens": 100}
    tier = small(verify=None, price=Price(input=1.0, output=10.0))
    call = replay(Policy("p", [tier]), recording({"small": counted}))
    assert call.low == call.high == 0.002
    free = {**counted, "input_tokens": 0}  # the provider did not report them
    call = replay(Policy("p", [tier]), recording({"small": free}))
    assert call.low != call.low


def test_a_table_gives_what_the_policy_gives() -> None:
    random = np.random.default_rng(3)
    rows = [
        {
            "small": said(float(random.choice([0.25, 0.5, 0.75])), latency=float(seconds)),
            "large": {**PLAIN, "latency": float(random.integers(1, 5))},
        }
        for seconds in random.integers(1, 9, 40)
    ]
    header = {"small": {"verifier": "scored", "stops_billing": True}, "large": {}}
    held = recording(*rows, models=header)
    policy = Policy("p", [small(threshold=0.5), LARGE], start_after=3.0, deadline=7.0)
    settings = Settings((0, 1), (0.5, UNCHECKED), start_after=(None, 3.0), deadline=7.0)
    calls = PolicyReplay(policy, held).run()
    found = evaluate(table_of(held, ["small", "large"]), settings)
    assert found.cost_low.tolist() == [call.low for call in calls]
    assert found.cost_high.tolist() == [call.high for call in calls]
    assert found.latency.tolist() == [call.latency for call in calls]
    assert found.quality.tolist() == [call.quality for call in calls]
    assert {call.outcome for call in calls} == {"accepted", "deadline"}
