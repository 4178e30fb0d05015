"""`Grounded`: values that stand in the source, in other forms too."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.errors import ConfigError
from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers.claims import claims
from cascade_verifiers.grounded import Grounded
from cascade_verifiers.source_text import SourceText, normal

SOURCE = """Invoice No. A-17 of March 5, 2024
Bill to:  ACME\u00a0Corp\u2019s  Zürich office
12 apples, total $1,234.50 (incl. 7.5% tax), due 1 April 2024.
Konto: 2.500,75 €; Rabatt 1'000; Stück 3 000."""


@pytest.mark.parametrize(
    "value",
    [
        "A-17", "acme corp's", "ZÜRICH Office", "12 apples", 12, 1234.5, "$1,234.50",
        "1234.50", "USD 1234.5", "1,234.50 EUR", 7.5, "7.5%", 2500.75, "2.500,75", 1000, 3000, -12,
        "2024-03-05", "5 March 2024", "March 5th, 2024", "05.03.2024", "3/5/2024", "5/3/2024",
        "2024/3/5", "2024-03-05T00:00:00Z", "Mar 5, 2024", "2024-04-01", "1st of April 2024",
        "3/5/24", 2024, "A\u201117",
    ],
)  # fmt: skip
def test_stands_in_the_source(value: Any) -> None:
    assert SourceText(SOURCE).has(value)


@pytest.mark.parametrize(
    "value",
    [
        "A-1", "ACME Corporation", "apple", 13, 1234.51, "$1,234.05", 123450, "0012", "USD", 7,
        "2024-03-06", "6 March 2024", "2023-03-05", "5.3", "2024-13-45", "2024-03-05T12:00:00",
        10**400, 1e300, "x" * 100_000, "Corp Zürich",
    ],
)  # fmt: skip
def test_does_not_stand_in_the_source(value: Any) -> None:
    assert not SourceText(SOURCE).has(value)


@given(st.integers(0, 10**12), st.sampled_from(("{:,}", "{}", "${:,}", "{:,}.00", "EUR {}")))
def test_numbers_are_found_in_every_form(number: int, form: str) -> None:
    source = SourceText(f"It costs {form.format(number)} in all.")
    assert source.has(number)
    assert source.has(float(number))
    assert source.has(f"{number:,}")
    assert not source.has(number + 1)


@given(st.dates(min_value=date(1000, 1, 1)))
def test_dates_are_found_in_every_form(day: Any) -> None:
    forms = [
        f"{day.year:04}-{day.month:02}-{day.day:02}",
        f"{day.day:02}.{day.month:02}.{day.year:04}",
        f"{day.month}/{day.day}/{day.year:04}",
        f"{day:%B} {day.day}, {day.year:04}",
        f"{day.day} {day:%b} {day.year:04}",
    ]
    for form in forms:
        source = SourceText(f"signed on {form}, in Rome")
        for other in forms:
            assert source.has(other)


def ask(value: Any, *arguments: Any, source: str = SOURCE, **options: Any) -> Verdict:
    text = value if isinstance(value, str) else json.dumps(value)
    verdict = Grounded(*arguments, **options).verify(Request.of(source), Answer(text))
    assert isinstance(verdict, Verdict)
    return verdict


GOOD = {"number": "A-17", "lines": [{"name": "apples", "count": 12}], "paid": False, "note": None}


def test_accepts_and_parses() -> None:
    verdict = ask(GOOD)
    assert verdict.accepted
    assert verdict.parsed == GOOD
    assert ask(f"```json\n{json.dumps(GOOD)}\n```").accepted


def test_the_reason_names_key_and_value() -> None:
    bad = {**GOOD, "lines": [{"name": "pears", "count": 12}, {"name": "apples", "count": 99}]}
    verdict = ask(bad)
    assert (verdict.outcome, verdict.code, verdict.repairable) == (
        "rejected", "grounded.missing", True,
    )  # fmt: skip
    assert verdict.reason == "not in the source text: lines.name: 'pears'; lines.count: 99"
    assert len(ask([f"no {n}" * 5 for n in range(90)]).reason) < 500


def test_keys_and_ignore() -> None:
    value = {"kind": "invoice", "lines": [{"name": "apples", "count": 99}]}
    assert not ask(value).accepted
    assert ask(value, ["name"]).accepted
    assert ask(value, "lines.name").accepted
    assert not ask(value, ["lines"]).accepted
    assert ask(value, ignore=["kind", "lines.count"]).accepted
    assert ask(value, ["lines"], ignore="count").accepted
    assert ask(value, ["total"]).outcome == "abstained"


def test_nothing_to_look_for_is_an_abstention() -> None:
    empty: list[Any] = [{}, [], {"a": None, "b": True, "c": " "}]
    for value in empty:
        assert ask(value).outcome == "abstained"


def test_no_json_is_a_rejection() -> None:
    assert ask("it is A-17", form="json").code == "json.parse"
    assert ask("it is A-17", ignore="kind").code == "json.parse"
    assert ask("{it is A-17").code == "json.parse"
    assert ask([1] * 1001, source="1").code == "grounded.too_many"


def test_the_assistant_is_no_source() -> None:
    request = Request.of(
        [
            {"role": "system", "content": "Amounts are in francs."},
            {"role": "user", "content": "12 apples"},
            {"role": "assistant", "content": "pears"},
            {"role": "user", "content": "What?"},
        ]
    )
    for value, accepted in (("apples", True), ("francs", True), ("pears", False)):
        verdict = Grounded().verify(request, Answer(json.dumps([value])))
        assert isinstance(verdict, Verdict)
        assert verdict.accepted is accepted


@pytest.mark.parametrize(
    "arguments", [{"keys": []}, {"keys": [3]}, {"ignore": [""]}, {"keys": "a", "ignore": "a"}]
)
def test_arguments_are_checked(arguments: Any) -> None:
    with pytest.raises(ConfigError):
        Grounded(**arguments)


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("The total is $1,234.50, due on 2024-04-01.", True),
        ("The total is 1234.5 dollars for 12 apples.", True),
        ("It was billed to \u201cacme corp's\u201d office.", True),
        ('It was billed to "ACME ... office", on March 5th, 2024.', True),
        ("1. The number is A-17.\n2. It has 7.5% tax.\n3. Nothing else.", True),
        ("Step 9: it is A-17", True),
        ("The total is $1,243.50.", False),
        ("It is due on April 2, 2024.", False),
        ('It says "payable at once".', False),
        ("It was billed to \u00abBeta Corp\u00bb.", False),
        ("[1] see 99", False),
    ],
)
def test_prose(text: str, accepted: bool) -> None:
    assert ask(text, form="prose").accepted is accepted


def test_prose_is_taken_for_what_it_looks_like() -> None:
    assert ask("12 apples, 7.5% tax").accepted
    verdict = ask('There are 13 apples and "no pears".')
    assert verdict.reason == 'not in the source text: "no pears"; 13'
    assert ask("There are apples.").outcome == "abstained"
    assert ask('The object is {"n": 12}.').parsed == {"n": 12}
    assert ask('5" and 6" pipes', source="pipes of 5 and 6 inches").accepted


@pytest.mark.parametrize(
    ("source", "value", "stands"),
    [
        ("1.2 million people", 1_200_000, True),
        ("1,200,000 people", "1.2 million", False),
        ("about 50k a year", 50_000, True),
        ("5 m of rope", 5, True),
        ("twelve apples", 12, True),
        ("a dozen eggs", 12, True),
        ("eleventh", 11, False),
    ],
)
def test_number_forms(source: str, value: Any, stands: bool) -> None:
    assert SourceText(source).has(value) is stands


def test_scaled_numbers_in_prose() -> None:
    assert ask("Some 1.2 million.", source="There are 1,200,000 of them.").accepted
    assert not ask("Some 1.3 million.", source="There are 1,200,000 of them.").accepted


def test_form_is_checked() -> None:
    with pytest.raises(ConfigError, match="did you mean 'prose'"):
        Grounded(form="prosa")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="would do nothing"):
        Grounded(["a"], form="prose")


def test_what_stands_across_the_pieces_that_a_text_is_read_in_is_found() -> None:
    for lead in range(4_980, 5_002):
        text = "x" * (lead - 100) + " " * 100 + "on 5 March 2024 Ada e\u0301lan paid 1,234.50 €"
        source = SourceText(text)
        assert source.has("5 March 2024")
        assert source.has("Ada élan paid")
        assert source.has(1234.5)
    for lead in range(19_980, 20_001):
        text = "x " * (lead // 2) + "y" * (lead % 2) + ' "one two" 31.12.2024 and 77'
        assert SourceText(text).has("2024-12-31")
        shown = [shown for shown, _ in claims(text, SourceText("nothing"))]
        assert shown == ['"one two"', "31.12.2024", "77"]


@given(st.text(" \n\u00a0ab1", max_size=40))
def test_a_long_text_is_normalised_as_a_short_one(text: str) -> None:
    assert normal("word " * 1_000 + text) == " ".join(f"{'word ' * 1_000}{text}".split())
