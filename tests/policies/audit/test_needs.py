"""What a kind of call seems to need; and what must not be taken for less than it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import pytest

from cascade_policies.audit.audit import Finding
from tests.policies.audit.conftest import line

Find = Callable[[Iterable[object]], Finding]

WORDS = (
    "harbour", "lantern", "meadow", "nettle", "orchard", "pebble", "quarry", "ripple", "saddle",
    "thistle", "umbra", "valley", "willow", "yonder", "zephyr", "anchor", "bramble", "copper",
)  # fmt: skip


def words(random: Random, count: int) -> str:
    return " ".join(random.choices(WORDS, k=count))


def lines(answer: Callable[[Random, int, str], str], count: int = 120) -> list[dict[str, Any]]:
    """Calls of one template on random texts."""
    random = Random(7)
    found = []
    for n in range(count):
        text = f"{words(random, 14)} {n}"
        found.append(
            line(f"Here is a note, deal with it as usual.\n\n{text}", answer(random, n, text))
        )
    return found


def level(finding: Finding) -> tuple[str, str]:
    return finding.need.level, finding.need.kind


def test_too_few_calls_say_nothing(find: Find) -> None:
    found = find(lines(lambda *_: "ok", 19))
    assert level(found) == ("unknown", "")
    assert "19 answered calls, and 20 are needed" in found.need.evidence[0]


def test_always_the_same(find: Find) -> None:
    assert level(find(lines(lambda *_: "Done."))) == ("code", "constant")


def test_one_alarm_in_a_hundred_and_twenty_is_no_constant(find: Find) -> None:
    found = find(lines(lambda _r, n, _t: "alarm" if n == 60 else "fine"))
    assert level(found) == ("small", "closed set")


@pytest.mark.parametrize("change", [str, str.upper, str.title])
def test_an_echo(find: Find, change: Callable[[str], str]) -> None:
    assert level(find(lines(lambda _r, _n, text: change(text)))) == ("code", "echo")


def test_an_echo_of_one_labelled_part(find: Find) -> None:
    random = Random(3)
    found = find(
        line(f"Which author?\nNote: {words(random, 9)}\nAuthor: Person {n}", f"Person {n}")
        for n in range(60)
    )
    assert level(found) == ("code", "echo")


def test_json_of_the_prompt(find: Find) -> None:
    random = Random(3)
    rows: list[dict[str, Any]] = [
        {"name": words(random, 1), "age": random.randint(1, 90), "tags": [words(random, 1)]}
        for _ in range(60)
    ]
    prompt = "Take what is needed from this record:"
    whole = find(line(f"{prompt} {json.dumps(row)}", json.dumps(row, indent=2)) for row in rows)
    part = find(
        line(f"{prompt} {json.dumps(row)}", f'```json\n{{"age": {row["age"]}}}\n```')
        for row in rows
    )
    value = find(line(f"{prompt} {json.dumps(row)}", row["tags"][0]) for row in rows)
    for found in (whole, part, value):
        assert level(found) == ("code", "json in the prompt")


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        ("What is {a} + {b}?", "{sum}"),
        ("Add up {a} and {b}, please.", "The total is {sum}."),
        ("{a} of these at {b} each: what do they cost?", "${product:,.2f}"),
    ],
)
def test_arithmetic(find: Find, ask: str, answer: str) -> None:
    random = Random(5)
    calls = []
    for _ in range(60):
        a, b = random.randint(2, 99), random.randint(100, 9_999)
        values = {"a": a, "b": b, "sum": a + b, "product": a * b}
        calls.append(line(ask.format(**values), answer.format(**values)))
    assert level(find(calls)) == ("code", "arithmetic")


def test_numbers_that_do_not_follow_are_no_arithmetic(find: Find) -> None:
    random = Random(5)
    found = find(
        line(
            f"Estimate {random.randint(2, 99)} + {random.randint(2, 99)}", f"{random.random():.6f}"
        )
        for n in range(80)
    )
    assert found.need.level != "code"


def test_labels_told_by_words(find: Find) -> None:
    found = find(lines(lambda _r, _n, text: "Yes." if "anchor" in text else "no"))
    assert level(found) == ("code", "keywords")
    assert "'anchor'" in found.need.evidence[1]
    assert set(found.need.labels) == {"Yes.", "no"}


def test_labels_that_words_do_not_tell_need_a_model(find: Find) -> None:
    found = find(lines(lambda random, _n, _t: random.choice(("good", "bad", "neutral"))))
    assert level(found) == ("small", "closed set")
    assert set(found.need.labels) == {"good", "bad", "neutral"}


def test_spans_of_the_prompt(find: Find) -> None:
    def inner(_r: Random, n: int, text: str) -> str:
        return " ".join(text.split()[2 + n % 5 : 5 + n % 5])

    assert level(find(lines(inner))) == ("small", "extraction")


def test_json_with_values_of_the_prompt_and_json_without(find: Find) -> None:
    def values(_r: Random, n: int, text: str) -> str:
        return json.dumps({"first": text.split()[n % 7], "second": text.split()[3 + n % 7]})

    assert level(find(lines(values))) == ("small", "extraction")
    invented = find(lines(lambda _r, n, _t: json.dumps({"mood": f"m{n * 7919}", "why": f"w{n}x"})))
    assert level(invented) == ("mid", "structured")


def test_free_text_by_its_length(find: Find) -> None:
    def told(count: int) -> Callable[[Random, int, str], str]:
        return lambda random, n, _: " ".join(f"{word}ish{random.randint(0, 999)}" for word in
                                             random.choices(WORDS, k=count)) + f" {n}"  # fmt: skip

    assert level(find(lines(told(20)))) == ("mid", "short free text")
    assert level(find(lines(told(150)))) == ("frontier", "long free text")


def tools(n: int, text: str, *names: str, invented: bool = False) -> dict[str, Any]:
    arguments = json.dumps({"word": f"w{n}" if invented else text.split()[3], "note": text})
    calls = [{"function": {"name": name, "arguments": arguments}} for name in names]
    data = line(f"Act upon this note.\n\n{text}", "")
    data["response"]["choices"][0]["message"] = {"content": None, "tool_calls": calls}
    return data


def test_tools(find: Find) -> None:
    random = Random(2)
    texts = [f"{words(random, 9)} {n}" for n in range(60)]
    one = find(tools(n, text, "file") for n, text in enumerate(texts))
    assert level(one) == ("small", "tool parameters")
    free = find(tools(n, text, "file", invented=True) for n, text in enumerate(texts))
    assert level(free) == ("mid", "tool parameters")
    several = find(tools(n, text, "look_up", "file") for n, text in enumerate(texts))
    assert level(several) == ("frontier", "tool planning")


def test_failed_calls_are_counted_and_not_judged(find: Find) -> None:
    calls = lines(lambda *_: "Done.", 40)
    for call in calls[:15]:
        call["error"] = "overloaded"
    found = find(calls)
    assert level(found) == ("code", "constant")
    assert (len(found.group.calls), len(found.group.answered)) == (40, 25)


def test_no_price_no_share_and_no_saving(find: Find) -> None:
    calls = lines(lambda *_: "Done.", 40)
    for call in calls:
        call["request"]["model"] = "our-own"
    found = find(calls)
    assert (found.share, found.routed, found.unpriced) == (None, None, 40)
