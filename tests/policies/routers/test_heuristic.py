"""Rules over what can be seen of a request."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import Policy, Tier
from cascade.errors import ConfigError
from cascade.testing import ScriptedModel
from cascade.types import Message, Request
from cascade_policies.routers import Heuristic
from cascade_policies.routers.conditions import conditions_of, covers
from cascade_policies.routers.features import EXCERPT, WORDS_READ, Features

CHOICES = ("small", "mid", "large")
CODE = "Why does this fail?\n```python\nprint(1/0)\n```"
GERMAN = (
    "Wie weit ist es von der Erde bis zu dem Mond, und wie lange braucht das Licht für die Reise?"
)
ENGLISH = (
    "How far is it from the earth to the moon, and what is the time that light needs for this?"
)


def fits(when: dict[str, Any], prompt: Any) -> bool:
    route = Heuristic([{"when": when, "start": "large"}]).route(Request.of(prompt), CHOICES)
    return route.start == "large"


@pytest.mark.parametrize(
    ("when", "yes", "no"),
    [
        ({"min_chars": 3}, "abc", "ab"),
        ({"max_chars": 3}, "abc", "abcd"),
        ({"min_words": 2}, "one two", "one-two"),
        ({"max_words": 1}, "one", "one two"),
        ({"min_lines": 2}, "a\nb", "a b"),
        ({"max_lines": 1}, "a b", "a\nb"),
        ({"min_questions": 2}, "Who? Why?", "Who, why?"),
        ({"max_questions": 0}, "Say it.", "Say it?"),
        ({"min_questions": 1}, "谁？", "谁。"),  # noqa: RUF001  (the full-width question mark)
        ({"code": True}, CODE, "the code `x = 1` is short"),
        ({"code": False}, "no code", "~~~\nx\n~~~"),
        ({"language": "de"}, GERMAN, ENGLISH),
        ({"language": ["de", "en"]}, ENGLISH, "ok"),
        ({"regex": r"\bprove\b"}, "please prove it", "please improve it"),
        ({"regex": "(?i)^PROVE"}, "prove it", "to prove it"),
        ({"min_words": 2, "code": True}, CODE, "one two"),
    ],
)
def test_conditions(when: dict[str, Any], yes: str, no: str) -> None:
    assert fits(when, yes)
    assert not fits(when, no)


def test_the_chat_and_its_tools_count() -> None:
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"}]  # fmt: skip
    assert fits({"min_messages": 3}, chat)
    assert not fits({"min_messages": 3}, "c")
    tools = Request((Message("user", "c"),), tools=({"name": "x"}, {"name": "y"}))
    assert fits({"min_tools": 2}, tools)
    assert fits({"max_tools": 0}, "c")


def test_the_first_rule_that_fits_decides() -> None:
    rules = [
        {"when": {"min_words": 3}, "start": "large"},
        {"when": {"min_words": 2, "code": False}, "start": "mid"},
    ]
    router = Heuristic(rules)
    routes = [router.route(Request.of(text), CHOICES) for text in ("a b c", "a b", "a")]
    assert [route.start for route in routes] == ["large", "mid", None]
    assert routes[0].label == "min_words=3"
    assert routes[0].reason == "rule 1 (min_words=3): the prompt has 3 words"
    assert routes[1].reason == (
        "rule 2 (min_words=2, code=false): the prompt has 2 words, no block of code"
    )
    assert routes[2].reason == "no rule fits"
    other = Heuristic(rules, otherwise="small").route(Request.of("a"), CHOICES)
    assert (other.start, other.label) == ("small", "otherwise")


def test_evidence_says_all_that_was_seen() -> None:
    router = Heuristic([{"when": {"regex": "moon"}, "start": "large"}], otherwise="small")
    assert router.evidence(Request.of(ENGLISH)) == {
        "features": {
            "chars": len(ENGLISH),
            "words": 20,
            "lines": 1,
            "questions": 1,
            "messages": 1,
            "tools": 0,
            "code": False,
            "language": "en",
        },
        "rules": [{"when": "regex='moon'", "start": "large", "fits": True}],
        "otherwise": "small",
    }


ONE = {"when": {"min_words": 9}, "start": "large"}


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([], "needs a list of one rule or more"),
        (ONE, "needs a list of one rule or more"),
        ("x", "needs a list of one rule or more"),
        (["x"], "rule 1: 'x': needs a table"),
        ([{"start": "large"}], "rule 1: when: is missing"),
        ([{"when": {"min_words": 9}}], "rule 1: start: is missing"),
        ([{**ONE, "then": "x"}], "rule 1: then: did you mean 'when'"),
        ([{**ONE, "start": ""}], "start='': needs a name"),
        ([{**ONE, "start": 1}], "start=1: needs a name"),
        ([{**ONE, "when": "long"}], "when='long': needs a table"),
        ([{**ONE, "when": {}}], "when: has no condition"),
        ([{**ONE, "when": {"min_word": 9}}], "when.min_word: did you mean 'min_words'"),
        ([{**ONE, "when": {"has_code": True}}], "when.has_code: "),
        ([{**ONE, "when": {"min_code": 1}}], "when.min_code: "),
        ([{**ONE, "when": {1: 1}}], "when.1: "),
        ([{**ONE, "when": {"min_words": "9"}}], "min_words='9': needs a whole number"),
        ([{**ONE, "when": {"min_words": True}}], "needs a whole number"),
        ([{**ONE, "when": {"min_words": 9.5}}], "needs a whole number"),
        ([{**ONE, "when": {"min_words": 0}}], "does nothing, as there are never fewer"),
        ([{**ONE, "when": {"min_lines": 1}}], "does nothing, as there are never fewer"),
        ([{**ONE, "when": {"max_lines": 0}}], "never holds, as there are 1 at the least"),
        ([{**ONE, "when": {"max_words": -1}}], "never holds"),
        ([{**ONE, "when": {"min_words": 9, "max_words": 8}}], "min_words=9 and max_words=8: never"),
        ([{**ONE, "when": {"min_words": 9, "max_chars": 16}}], "needs more than max_chars=16"),
        ([{**ONE, "when": {"min_lines": 9, "max_chars": 7}}], "needs more than max_chars=7"),
        ([{**ONE, "when": {"min_questions": 9, "max_chars": 8}}], "needs more than max_chars=8"),
        ([{**ONE, "when": {"code": 1}}], "code=1: needs true or false"),
        ([{**ONE, "when": {"language": "eng"}}], "language='eng': did you mean 'en'"),
        ([{**ONE, "when": {"language": []}}], "needs a code like 'en'"),
        ([{**ONE, "when": {"language": ""}}], "needs a code like 'en'"),
        ([{**ONE, "when": {"language": [1]}}], "known: ar, "),
        ([{**ONE, "when": {"regex": "("}}], "when.regex: .*no regular expression that runs in lin"),
        ([{**ONE, "when": {"regex": "(?=a)b"}}], "look-around and back-references do not"),
        ([{**ONE, "when": {"regex": ""}}], "when.regex: .*give a regular expression"),
        ([{**ONE, "when": {"regex": 3}}], "when.regex: .*give a regular expression"),
        ([{**ONE, "when": {"regex": "x*"}}], "does nothing, as it is found in every text"),
        ([ONE, {"when": {"min_words": 10}, "start": "mid"}], "rule 2 .* never reached, as rule 1"),
        ([ONE, ONE], "rule 2 .* is never reached"),
    ],
)  # fmt: skip
def test_mistakes(rules: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Heuristic(rules)


@pytest.mark.parametrize(
    ("earlier", "later", "covered"),
    [
        ({"min_words": 5}, {"min_words": 5}, True),
        ({"min_words": 5}, {"min_words": 4}, False),
        ({"max_words": 5}, {"max_words": 4, "code": True}, True),
        ({"max_words": 5}, {"max_words": 6}, False),
        ({"min_words": 5}, {"max_words": 9}, False),
        ({"min_words": 5, "code": True}, {"min_words": 6}, False),
        ({"code": True}, {"code": True, "regex": "a"}, True),
        ({"code": True}, {"code": False}, False),
        ({"language": ["de", "en"]}, {"language": "de"}, True),
        ({"language": "de"}, {"language": ["de", "en"]}, False),
        ({"regex": "a"}, {"regex": "a", "min_chars": 2}, True),
        ({"regex": "a"}, {"regex": "b"}, False),
    ],
)
def test_which_rule_hides_another(
    earlier: dict[str, Any], later: dict[str, Any], covered: bool
) -> None:
    assert covers(conditions_of(earlier), conditions_of(later)) is covered


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rules": [{**ONE, "start": "larg"}]}, "rule 1: start='larg': did you mean 'large'"),
        ({"rules": [ONE], "otherwise": "smal"}, "otherwise='smal': did you mean 'small'"),
        ({"rules": [{**ONE, "start": "small"}]}, "rule 1 .* does nothing, as calls begin at"),
    ],
)
def test_a_policy_refuses_rules_that_do_not_fit(options: Any, message: str) -> None:
    tiers = [Tier(ScriptedModel("x"), name=name) for name in CHOICES]
    with pytest.raises(ConfigError, match=f"policy 'p': .*{message}"):
        Policy("p", tiers, router=Heuristic(**options))


def test_a_last_rule_that_leads_where_calls_begin_anyway() -> None:
    with pytest.raises(ConfigError, match=r"rule 1 .* does nothing, as calls begin at 'large'"):
        Heuristic([ONE], otherwise="large")
    # Before another rule it keeps that one from being asked.
    first = {"when": {"code": True}, "start": "small"}
    Heuristic([first, ONE], otherwise="small").check(CHOICES)


def test_what_is_read_of_a_long_prompt() -> None:
    middle = "x" * EXCERPT
    assert fits({"regex": "^begin"}, f"begin {middle} end")
    assert fits({"regex": "end$"}, f"begin {middle} end")
    assert not fits({"regex": "centre"}, f"{middle} centre {middle}")
    words = "word " * WORDS_READ
    assert Features(Request.of(words)).words == WORDS_READ


@given(st.text(st.characters(), max_size=2000), st.integers(1, 30))
def test_any_text_is_taken(text: str, times: int) -> None:
    request = Request((Message("user", text * times),))
    seen = Features(request)
    assert seen.chars == len(text) * times
    assert 0 <= seen.words <= seen.chars
    assert 1 <= seen.lines <= seen.chars + 1
    assert 0 <= seen.questions <= seen.chars
    when = {"code": True, "language": "en", "regex": "a+b", "min_words": 3}
    route = Heuristic([{"when": when, "start": "large"}]).route(request, CHOICES)
    assert route.start in (None, "large")
