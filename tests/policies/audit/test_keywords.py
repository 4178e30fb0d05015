"""Decision lists, and whether they can be trusted."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from cascade_policies.audit.keywords import cross_validate, features, learn

FILLERS = (
    "the", "parcel", "came", "late", "again", "and", "nobody", "in", "the", "shop", "could", "say",
    "why", "it", "took", "so", "long",
)  # fmt: skip


def texts(count: int, seed: int) -> list[str]:
    random = Random(seed)
    return [" ".join(random.choices(FILLERS, k=12)) + f" {n}" for n in range(count)]


def test_a_rule_of_words_is_found() -> None:
    random = Random(1)
    rows = [
        (f"{text} {word}", "yes" if word in ("refund", "money back") else "no")
        for text in texts(200, 1)
        for word in [random.choice(("refund", "money back", "invoice", "greeting", ""))]
    ]
    its, labels = zip(*rows, strict=True)
    tested = cross_validate(its, labels)
    assert tested.right >= 0.97 * tested.total
    learned = learn(its, labels)
    assert {label for _, label in learned.rules} | {learned.default} == {"yes", "no"}
    assert len(learned.rules) == 2
    assert learned.answer("I want my money back") == learned.answer("A refund") == "yes"
    assert learned.answer("Good morning") == "no"


def test_absence_of_a_word_is_told_by_the_default() -> None:
    rows = [(f"{text} {'' if n % 5 else 'thanks'}", "open" if n % 5 else "closed")
            for n, text in enumerate(texts(100, 2))]  # fmt: skip
    its, labels = zip(*rows, strict=True)
    assert learn(its, labels).default == "open"
    assert cross_validate(its, labels).right == 100


def test_more_than_two_answers() -> None:
    words = {"crash": "technical", "invoice": "billing", "password": "account"}
    rows = [(f"{text} {word}", words[word])
            for n, text in enumerate(texts(150, 3)) for word in [list(words)[n % 3]]]  # fmt: skip
    its, labels = zip(*rows, strict=True)
    assert cross_validate(its, labels).right == 150
    assert learn(its, labels).answer("my password is gone") == "account"


def test_what_the_words_do_not_tell_is_not_believed() -> None:
    """On a coin's answers, learned rules are hardly right more often than the commonest answer."""
    for seed in range(5):
        random = Random(seed)
        labels = [random.choice(("yes", "no")) for _ in range(200)]
        tested = cross_validate(texts(200, seed), labels)
        assert tested.right < 0.65 * tested.total


def test_equal_texts_do_not_leak_between_folds() -> None:
    """Two hundred rows of four texts: nothing can be learned for a text that was never seen."""
    its = [f"ticket alpha{n % 4} only" for n in range(200)]
    labels = [("a", "b", "c", "d")[n % 4] for n in range(200)]
    assert cross_validate(its, labels).right == 0


def test_shapes_are_features() -> None:
    found = features("Mail me@example.org about ORD-5512, it was $5 on 2026-01-02!")
    assert {"(an e-mail address)", "(a reference of letters and digits)", "(an amount of money)",
            "(a date)", "(an exclamation mark)"} <= found  # fmt: skip
    assert "(a question mark)" not in found


@given(st.lists(st.tuples(st.text(max_size=30), st.sampled_from("abc")), min_size=1, max_size=40))
def test_whatever_is_given_the_same_comes_out_twice(rows: list[tuple[str, str]]) -> None:
    its, labels = zip(*rows, strict=True)
    learned = learn(its, labels)
    assert learned == learn(its, labels)
    assert learned.answer(its[0]) in labels
    tested = cross_validate(its, labels)
    assert 0 <= tested.right <= tested.total == len(rows)
