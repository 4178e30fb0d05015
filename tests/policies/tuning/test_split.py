"""Near-duplicates stay together, and a split is the same every time."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_policies.tuning.grouping import group
from cascade_policies.tuning.split import split

WORDS = [f"word{n}" for n in range(3000)]


def ticket(seed: int) -> str:
    chosen = random.Random(seed).choices(WORDS, k=30)
    return f"You answer tickets in one word, politely and briefly. Ticket: {' '.join(chosen)}"


def test_layout_case_and_a_word_more_make_no_new_text() -> None:
    texts = [ticket(n) for n in range(60)]
    texts[10] = texts[3].upper().replace(" ", "\n ")
    texts[20] = f"{texts[4]} please"
    found = group(texts)
    assert found[10] == 3
    assert found[20] == 4
    assert len(set(found.tolist())) == 58


def test_a_template_makes_no_duplicates() -> None:
    texts = [f"Answer with yes or no and nothing else: is {n} a prime number?" for n in range(100)]
    assert len(set(group(texts).tolist())) == 100


def test_texts_without_words_are_themselves() -> None:
    assert group(["", "?", "+", "?"]).tolist() == [0, 1, 2, 1]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=12), max_size=30), st.randoms(use_true_random=False))
def test_a_split_hangs_on_the_texts_alone(texts: list[str], shuffler: random.Random) -> None:
    found = split(texts)
    both = np.concatenate([found.choosing, found.certifying])
    assert sorted(both.tolist()) == list(range(len(texts)))
    assert not {texts[at] for at in found.choosing} & {texts[at] for at in found.certifying}
    order = list(range(len(texts)))
    shuffler.shuffle(order)
    again = split([texts[at] for at in order])
    assert again.digest == found.digest
    assert sorted(texts[order[at]] for at in again.choosing) == sorted(
        texts[at] for at in found.choosing
    )


def test_a_quarter_is_to_choose_on() -> None:
    found = split([ticket(n) for n in range(400)])
    assert len(found.choosing) == 100
