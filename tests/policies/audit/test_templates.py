"""Prompt templates, mined."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_policies.audit.templates import SYSTEM_END, Template, mine

WORDS = (
    "amber", "birch", "cedar", "dune", "ember", "fjord", "grove", "heath", "islet", "knoll",
    "lagoon", "marsh", "oasis",
)  # fmt: skip


def body(number: int) -> str:
    """Text that people may have written: no two of these begin or end alike."""
    return " ".join(WORDS[(number * k + k * k) % len(WORDS)] for k in range(1, 9)) + f" {number}"


def grouped(prompts: list[str]) -> set[tuple[str, int]]:
    return {(str(found.template), len(found.members)) for found in mine(prompts)}


def test_templates_that_share_their_bodies_are_told_apart() -> None:
    prompts = []
    for number in range(60):
        prompts += [
            f"Summarise this text in one sentence: {body(number)}",
            f"Translate this text into German: {body(number)}",
            f"{body(number)}\n\nIs the text above about trees? Answer yes or no.",
        ]
    assert grouped(prompts) == {
        ("Summarise this text in one sentence: {…}", 60),
        ("Translate this text into German: {…}", 60),
        ("{…}\n\nIs the text above about trees? Answer yes or no.", 60),
    }


def test_labels_between_varying_parts_are_fixed_text() -> None:
    prompts = [f"Note: {body(n)}\nAuthor: A{n}\nDate: 2026-01-{n:02}" for n in range(40)]
    ((template, members, _),) = mine(prompts)
    assert str(template) == "Note: {…}\nAuthor:{…}\nDate:{…}"
    assert template.values(prompts[7]) == (body(7), " A7", " 2026-01-07")
    assert members == list(range(40))


def test_a_system_message_for_all_hides_no_template() -> None:
    system = f"You are a helpful clerk of the archive.{SYSTEM_END}"
    prompts = [f"{system}{ask} {body(n)}" for n in range(50) for ask in ("List trees:", "Count:")]
    assert grouped(prompts) == {
        (f"{system}List trees: {{…}}", 50),
        (f"{system}Count: {{…}}", 50),
    }


def test_a_prompt_asked_over_and_over_is_a_template_by_itself() -> None:
    prompts = ["What is new?"] * 30 + [body(n) for n in range(5)]
    found = {str(one.template): one for one in mine(prompts)}
    assert found["What is new?"].members == list(range(30))
    assert found["What is new?"].template.values("What is new?") == ()


def test_prompts_without_anything_in_common_stand_together() -> None:
    assert grouped([body(n) for n in range(40)]) == {("{…}", 40)}


@pytest.mark.parametrize("prompts", [[], ["one"], ["one", "two"], ["", ""]])
def test_few(prompts: list[str]) -> None:
    assert sum(len(found.members) for found in mine(prompts)) == len(prompts)


@given(st.lists(st.text(alphabet="ab: \n{}\x1e", max_size=12), max_size=90))
def test_every_prompt_is_in_one_group_whose_template_it_fits(prompts: list[str]) -> None:
    found = mine(prompts)
    assert sorted(i for one in found for i in one.members) == list(range(len(prompts)))
    for one in found:
        for i in one.members:
            values = one.template.values(prompts[i])
            assert values is not None
            pieces = [one.template.texts[0]]
            for value, text in zip(values, one.template.texts[1:], strict=True):
                pieces += [value, text]
            assert "".join(pieces) == prompts[i]
    assert mine(prompts) == found, "the same again"


@pytest.mark.parametrize(
    ("texts", "prompt", "values"),
    [
        (("a", "b"), "axb", ("x",)),
        (("a", "b"), "ab", ("",)),
        (("ab", "ba"), "aba", None),
        (("a", "-", "b"), "a1-2-3b", ("1", "2-3")),
        (("a", "-", "b"), "a12b", None),
        (("a",), "a", ()),
        (("a",), "ab", None),
        (("", ""), "", ("",)),
    ],
)
def test_values(texts: tuple[str, ...], prompt: str, values: tuple[str, ...] | None) -> None:
    assert Template(texts).values(prompt) == values
