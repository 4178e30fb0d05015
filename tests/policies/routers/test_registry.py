"""Names of routers, and making them from options."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint
from typing import Any

import pytest

import cascade_policies.routers as public
from cascade.errors import ConfigError
from cascade.routing import Route
from cascade.types import Request
from cascade_policies.routers import registry

REQUEST = Request.of("a question")
BUILT_IN = {
    "heuristic": "heuristic:Heuristic",
    "learned": "learned:Learned",
    "llm": "llm:Llm",
}


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The entry points as the installed package has them, and an empty registry."""
    points = {
        name: EntryPoint(name, f"cascade_policies.routers.{where}", registry.ENTRY_POINTS)
        for name, where in BUILT_IN.items()
    }
    monkeypatch.setattr(registry, "entry_points_of", lambda _group: points)
    found: dict[str, Any] = {}
    monkeypatch.setattr(registry, "_registered", found)
    return found


class Always:
    def __init__(self, start: str, *, loud: bool = False) -> None:
        self.start = start.upper() if loud else start

    def route(self, request: Request, choices: Sequence[str], /) -> Route:
        return Route(self.start)


always = Always("small")


def start_of(router: Any) -> str | None:
    route = router.route(REQUEST, ("small", "large"))
    assert isinstance(route, Route)
    return route.start


def test_built_ins_are_entry_points() -> None:
    assert registry.router_names() == sorted(BUILT_IN)
    for name in BUILT_IN:
        assert registry.find_router(name).name == name


def test_a_registered_class_is_made_from_options() -> None:
    assert registry.router("always")(Always) is Always
    assert start_of(registry.make_router("always", {"start": "large"})) == "large"
    assert start_of(registry.make_router("always", {"start": "large", "loud": True})) == "LARGE"


def test_keyword_only_arguments_of_a_function_are_settings() -> None:
    @registry.router("longer-than")
    def longer_than(text: str, *, chars: int) -> str:
        return "large" if len(text) > chars else "small"

    assert longer_than("abc", chars=2) == "large"
    assert start_of(registry.make_router("longer-than", {"chars": 3})) == "large"
    assert start_of(registry.make_router("longer-than", {"chars": 30})) == "small"
    with pytest.raises(ConfigError, match="needs the argument 'chars'"):
        registry.make_router("longer-than")
    with pytest.raises(ConfigError, match=r"char: .* did you mean 'chars'"):
        registry.make_router("longer-than", {"char": 1})
    with pytest.raises(ConfigError, match="chars='1': needs a whole number"):
        registry.make_router("longer-than", {"chars": "1"})


def test_any_object_that_can_be_imported() -> None:
    assert start_of(registry.make_router(f"{__name__}:always")) == "small"
    assert start_of(registry.make_router(f"{__name__}:Always", {"start": "x"})) == "x"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("heuristics", {}, "router 'heuristics': did you mean 'heuristic'"),
        ("heuristic", {}, "rules: is missing"),
        ("heuristic", {"rule": []}, "rule: .* did you mean 'rules'"),
        ("llm", {"model": "openai:x", "labels": {}}, "labels="),
        ("no.such.module:Router", {}, "cannot import"),
        ("json:loads2", {}, "no 'loads2' there: did you mean 'loads'"),
        ("json:JSONDecoder", {}, r"JSONDecoder has no method route\(request, choices\)"),
        ("math:pi", {}, "math:pi is no router: it is of type float"),
        (f"{__name__}:always", {"start": "x"}, "start: .* it takes none"),
        (f"{__name__}:Always", {"start": "x", "loud": "no"}, "loud='no': needs true or false"),
    ],
)
def test_what_cannot_be_made(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        registry.make_router(name, options)


def test_what_cannot_be_registered() -> None:
    with pytest.raises(ConfigError, match="letters, digits"):
        registry.router("no name")
    with pytest.raises(ConfigError, match="registered already"):
        registry.router("llm")(Always)
    with pytest.raises(ConfigError, match="has no method route"):
        registry.router("new")(dict)
    with pytest.raises(ConfigError, match="classes and functions"):
        registry.router("new")(3)  # type: ignore[call-overload]


def test_the_public_names_are_there() -> None:
    for name in public.__all__:
        assert getattr(public, name) is not None
    assert set(public.__all__) <= set(dir(public))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        public.nothing  # noqa: B018  (the access is what is tested)
