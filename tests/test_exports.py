"""The public face."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

import pytest

import cascade
import cascade.policies
import cascade.testing
import cascade.verifiers

FACES = [cascade, cascade.testing, cascade.verifiers, cascade.policies]


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)
def test_all_is_sorted_whole_and_documented(face: object) -> None:
    names: list[str] = face.__all__  # type: ignore[attr-defined]
    assert names == sorted(names)
    for name in names:
        thing = getattr(face, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert thing.__doc__, name


def test_every_error_has_the_common_base_and_is_exported() -> None:
    from cascade import errors

    for name, thing in vars(errors).items():
        if inspect.isclass(thing) and issubclass(thing, Exception):
            assert issubclass(thing, cascade.CascadeError)
            assert name in cascade.__all__


def test_the_error_tree_in_the_docstring_is_the_real_one() -> None:
    from cascade import errors

    def own(names: Iterable[str], face: object) -> dict[str, type[Exception]]:
        things = {name: getattr(face, name) for name in names}
        return {
            name: thing
            for name, thing in things.items()
            if inspect.isclass(thing) and issubclass(thing, Exception)
        }

    real = own(vars(errors), errors)
    starred = own(cascade.policies.__all__, cascade.policies)
    everything = real | starred
    assert errors.__doc__ is not None
    drawn: dict[str, str | None] = {}
    path: list[str] = []
    for line in errors.__doc__.splitlines():
        stripped = line[4:]
        name, _, rest = stripped.lstrip("│├└─ ").partition(" ")
        if name not in everything or line[:4].strip():
            continue
        depth = (len(stripped) - len(stripped.lstrip("│├└─ "))) // 4
        path[depth:] = [name]
        drawn[name] = path[depth - 1] if depth else None
        assert rest.startswith("*") == (name in starred), name
    assert drawn.keys() == everything.keys()
    for name, parent in drawn.items():
        if parent is not None:
            assert everything[name].__bases__[0] is everything[parent], name
