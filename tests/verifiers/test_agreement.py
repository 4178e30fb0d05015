"""`Agreement`: several answers vote."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade import Engine, Policy, Tier, cascade
from cascade.errors import ConfigError
from cascade.testing import Scripted, ScriptedModel
from cascade.types import Answer, Request
from cascade.verdict import Verdict, Verifier
from cascade_verifiers.agreement import Agreement
from cascade_verifiers.agreement_keys import json_vote, number_vote, text_vote
from cascade_verifiers.voting import settled, tally

REQUEST = Request.of("a question")


def judged(agreement: Agreement, *texts: str) -> list[Verdict]:
    verdicts = agreement.verify_group(REQUEST, [Answer(text) for text in texts])
    assert isinstance(verdicts, list)
    return verdicts


def shown(verdicts: Any) -> list[tuple[str, float | None]]:
    return [(verdict.outcome, verdict.score) for verdict in verdicts]


def test_the_majority_is_accepted_with_its_share() -> None:
    verdicts = judged(Agreement(), "Paris", " Paris\n", "Lyon")
    assert shown(verdicts) == [("accepted", 2 / 3), ("accepted", 2 / 3), ("rejected", 1 / 3)]
    assert verdicts[2].reason == "1 of 3 answers say this; 2 say another"
    assert verdicts[2].code == "agreement.outvoted"


def test_below_the_threshold_all_are_rejected_with_their_share() -> None:
    verdicts = judged(Agreement(threshold=0.8), "a", "b", "a")
    assert shown(verdicts) == [("rejected", 2 / 3), ("rejected", 1 / 3), ("rejected", 2 / 3)]
    assert {verdict.code for verdict in verdicts} == {"agreement.disagree"}
    assert verdicts[0].reason == "the answers disagree: at most 2 of 3 say the same"


def test_half_is_not_more_than_half() -> None:
    assert {v.outcome for v in judged(Agreement(), "a", "b")} == {"rejected"}
    assert {v.outcome for v in judged(Agreement(), "a", "a", "b", "b")} == {"rejected"}
    of_two = judged(Agreement(threshold=0.5), "b", "a", "a", "b")
    assert [v.accepted for v in of_two] == [True, False, False, True]  # the first one's group
    assert not any(v.accepted for v in judged(Agreement(threshold=0.1), "a", "b", "c"))


def test_an_answer_without_a_vote_counts_as_one_against() -> None:
    verdicts = judged(Agreement("number"), "it is 3", "no idea", "3.0", "none")
    assert [v.outcome for v in verdicts] == ["rejected"] * 4
    verdicts = judged(Agreement("number"), "it is 3", "no idea", "3.0")
    assert shown(verdicts) == [("accepted", 2 / 3), ("rejected", 0.0), ("accepted", 2 / 3)]
    assert verdicts[1].code == "agreement.no_vote"
    assert verdicts[0].parsed == 3


def test_one_answer_alone_cannot_agree() -> None:
    assert [v.code for v in judged(Agreement(), "a")] == ["agreement.alone"]
    verdict = Agreement().verify(REQUEST, Answer("a"))
    assert isinstance(verdict, Verdict)
    assert verdict.outcome == "abstained"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,234.50", "1234.5"), ("$1,234.5", "1234.5"), ("1234.5", "1234.5"),
        ("so 3 + 4 = 7.", "7"), ("#### 42", "42"), ("\\boxed{42}", "42"), ("**18**", "18"),
        ("-5", "-5"), ("\u22125", "-5"), ("-$5", "-5"), ("$-5", "-5"), ("5%", "5"),
        ("1e3", "1E+3"), ("1000", "1E+3"), (".5", "0.5"), ("1/2", "0.5"), ("0", "0"), ("-0.0", "0"),
        ("3 apples", "3"), ("12,000,000", "1.2E+7"), ("1,2", "2"), ("7 GB", "7"), ("3-4", "4"),
        ("1/0", None), ("none", None), ("", None), ("9" * 1_000_000, None), ("x86", None),
    ],
)  # fmt: skip
def test_numbers(text: str, value: str | None) -> None:
    vote = number_vote(text)
    assert (vote and vote.key) == value


def test_json_is_compared_as_values() -> None:
    same = [
        '{"a": 1, "b": [1.50]}',
        '```json\n{"b": [1.5], "a": 1.0}\n```',
        'x {"b":[15e-1],"a":1}',
    ]
    assert len({vote.key for text in same if (vote := json_vote(text))}) == 1
    assert json_vote('{"a": 1}') != json_vote('{"a": "1"}')
    assert json_vote('{"a": true}') != json_vote('{"a": 1}')
    for broken in (
        "{",
        '{"a": 1, "a": 1}',
        "[NaN]",
        "[" * 5000 + "]" * 5000,
        "[1" + "0" * 99 + "]",
    ):
        assert json_vote(broken) is None
    assert judged(Agreement("json"), '{"a": 1}', '{"a": 1.0}')[0].parsed == {"a": 1}


def test_a_field_of_the_json_votes() -> None:
    texts = ['{"why": "x", "answer": "$18"}', '{"why": "y", "answer": 18}', '{"why": "18"}']
    by_number = Agreement("number", field="answer")
    assert [v.accepted for v in judged(by_number, *texts)] == [True, True, False]
    assert judged(Agreement("text", field="a.b"), '{"a": {"b": "x"}}', '{"a":{"b":"x "}}')[
        0
    ].accepted
    assert not judged(Agreement("json", field="answer"), *texts)[0].accepted


def test_sql_is_compared_as_trees() -> None:
    a, b = "SELECT Name FROM t -- all", "select name\nfrom T;"
    verdicts = judged(Agreement("sql_ast", dialect="sqlite"), a, b, "SELECT 'Name' FROM t")
    assert [v.accepted for v in verdicts] == [True, True, False]
    assert not judged(Agreement("sql_ast"), "DROP TABLE t", "DROP TABLE t")[0].accepted


def test_a_function_gives_the_key() -> None:
    first = Agreement(lambda answer: answer.text[:1] or None)
    assert [v.accepted for v in judged(first, "ax", "ay", "")] == [True, True, False]
    with pytest.raises(TypeError):
        judged(Agreement(lambda answer: [answer.text]), "a", "b")


def test_an_async_function_gives_the_key() -> None:
    async def key(answer: Answer) -> str:
        await anyio.lowlevel.checkpoint()
        return answer.text

    async def main() -> None:
        found = Agreement(key).verify_group(REQUEST, [Answer("a"), Answer("b"), Answer("a")])
        assert not isinstance(found, list)
        assert [v.accepted for v in await found] == [True, False, True]  # type: ignore[misc]

    anyio.run(main)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (a INT, b REAL)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(n, n / 3) for n in range(2000)])
        connection.commit()
    return path


def test_sql_is_compared_by_results(base: Path) -> None:
    forever = "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c"
    agreement = Agreement("sql", database=base, threshold=0.4, timeout=0.5)
    queries = [
        "SELECT avg(b) FROM t", "```sql\nSELECT sum(b) / count(*) FROM t;\n```",
        "SELECT nope FROM t", forever, "DROP TABLE t",
    ]  # fmt: skip

    async def main() -> None:
        found = agreement.verify_group(REQUEST, [Answer(query) for query in queries])
        assert not isinstance(found, list)
        verdicts = await found  # type: ignore[misc]
        assert [v.accepted for v in verdicts] == [True, True, False, False, False]
        assert verdicts[1].text == "SELECT sum(b) / count(*) FROM t"
        assert verdicts[0].score == 0.4
        # Large results, not equal in bytes, are compared where they block nobody.
        many = ["SELECT b FROM t", "SELECT a / 3.0 + 1e-9 FROM t ORDER BY a DESC"]
        found = agreement.verify_group(REQUEST, [Answer(query) for query in many])
        assert [v.accepted for v in await found] == [True, True]  # type: ignore[misc]
        strict = Agreement("sql", database=base, ordered=True)
        found = strict.verify_group(REQUEST, [Answer(query) for query in many])
        assert [v.accepted for v in await found] == [False, False]  # type: ignore[misc]

    anyio.run(main)


@pytest.mark.parametrize("not_empty", [False, True])
def test_two_empty_results_agree_unless_a_result_must_have_a_row(
    base: Path, not_empty: bool
) -> None:
    agreement = Agreement("sql", database=base, threshold=1.0, not_empty=not_empty)
    none = [Answer("SELECT a FROM t WHERE a < 0"), Answer("SELECT b FROM t WHERE 0")]
    some = [Answer("SELECT a FROM t WHERE a = 7"), Answer("SELECT 7")]

    async def main() -> None:
        for answers, agree in ((none, not not_empty), (some, True)):
            found = agreement.verify_group(REQUEST, answers)
            assert [v.accepted for v in await found] == [agree, agree]  # type: ignore[misc]

    anyio.run(main)


def test_hostile_answers() -> None:
    hostile = [
        "a" * 10_000_000, "[" * 100_000, "9" * 90_000, "1," * 45_000, "\ud800", "\0", "-" * 90_000,
        '{"a":' * 20_000, "1/" * 45_000, " " * 90_000, "$ " * 45_000,
    ]  # fmt: skip
    for by in ("text", "number", "json", "sql_ast"):
        verdicts = judged(Agreement(by), *hostile)
        assert len(verdicts) == len(hostile)
        assert not any(verdict.accepted for verdict in verdicts)


def test_options_are_checked() -> None:
    for options, message in [
        ({"by": "sqlite"}, r"^by='sqlite'"), ({"threshold": 0}, r"^threshold=0"),
        ({"threshold": 1.1}, r"^threshold=1.1"), ({"dialect": "sqlite"}, r"^dialect= does nothing"),
        ({"by": "sql"}, r"needs database="), ({"by": len, "field": "a"}, r"^field= does nothing"),
        ({"by": "sql_ast", "dialect": "x"}, r"^dialect='x'"),
    ]:  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            Agreement(**options)  # type: ignore[arg-type]


def test_the_threshold_can_be_set_by_the_tier() -> None:
    changed = Agreement("number").with_threshold(0.9)
    assert isinstance(changed, Agreement)
    assert isinstance(changed, Verifier)
    assert (changed.threshold, changed.by) == (0.9, "number")


def test_in_a_cascade() -> None:
    async def small(prompt: str) -> str:  # on the loop: the three take their turns in order
        return next(answers)

    def large(prompt: str) -> str:
        return "the large one"

    policy = Policy("vote", [Tier([small, small, small], verify=Agreement("number")), Tier(large)])

    async def main() -> list[str]:
        return [(await cascade(policy, "?")).text for _ in range(2)]

    answers = iter(["it is 4", "5", "it's 4", "1", "2", "3"])
    assert anyio.run(main) == ["it is 4", "the large one"]


keys = st.sampled_from(["a", "b", "c", None])


def winner(votes: list[str | None], k: int, threshold: float) -> str | None:
    return next((key for key, verdict in zip(votes, tally(votes, k, threshold), strict=True)
                 if verdict.accepted), None)  # fmt: skip


@settings(deadline=None)
@given(st.lists(keys, max_size=5), st.integers(2, 5), st.sampled_from([0.2, 0.4, 0.501, 0.6, 1.0]))
def test_settled_is_exactly_when_no_rest_changes_the_winner(
    votes: list[str | None], k: int, threshold: float
) -> None:
    votes = votes[:k]
    rests = itertools.product(["a", "b", "c", "d", "e", None], repeat=k - len(votes))
    ends = {winner([*votes, *rest], k, threshold) for rest in rests}
    # Which of the new keys wins is a change as well.
    assert settled(votes, k, threshold) == (len(ends) == 1)


@given(st.permutations(["a", "a", "a", "b", None]), st.permutations(range(5)))
def test_a_poll_settles_for_good_in_whatever_order_answers_come(
    texts: list[str | None], order: list[int]
) -> None:
    agreement = Agreement(threshold=0.4)
    answers = [Answer(text or "") for text in texts]
    full = agreement.poll(5)
    for n, answer in enumerate(answers):
        full.add(n, answer)
    poll = agreement.poll(5)
    for n in order:
        poll.add(n, answers[n])
        if poll.settled:
            break
    said = {v.outcome: n for n, v in zip(sorted(poll._keys), poll.verdicts(), strict=True)}
    assert "accepted" in said
    assert full.verdicts()[said["accepted"]].accepted


@given(st.text(max_size=30))
def test_no_text_crashes_a_key(text: str) -> None:
    for read in (text_vote, number_vote, json_vote):
        vote = read(text)
        assert vote is None or isinstance(vote.key, str)


@pytest.mark.anyio
async def test_samples_that_cannot_change_the_vote_are_cancelled() -> None:
    members = [
        ScriptedModel("42", name="a"),
        ScriptedModel(Scripted(text="41", delay=60), name="b"),
        ScriptedModel("The answer is 42.", name="c"),
    ]
    tier = Tier(members, verify=Agreement("number"), name="vote")
    async with Engine() as engine:
        result = await engine.run(Policy("p", [tier]), "What is 6 times 7?")
    assert [a.outcome for a in result.attempts] == ["accepted", "cancelled", "accepted"]
    assert result.attempts[1].reason == "the others had settled it"
