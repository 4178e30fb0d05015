"""``verify`` in a policy file: from names and tables to a verifier.

A check is a name, a table with ``use``, a list (all must pass), or one of the forms
``{ any = [...] }``, ``{ not = ... }``, ``{ at_least = 2, of = [...] }``,
``{ weighted = [{ verify = ..., weight = 2 }, ...], threshold = 0.7 }``,
``{ when = ..., verify = ... }`` and ``{ within = 2.0, verify = ... }``.

Names are those of registered verifiers and of the file's own ``[verifiers.NAME]`` tables, which
tiers share; ``package.module:Object`` is any object that can be imported.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from typing import Any

from cascade.errors import ConfigError, PolicyFileError, nearest
from cascade_policies.arguments import Resolve, blamed, read_arguments
from cascade_policies.document import Document, show_value
from cascade_policies.lines import KeyPath

_FORMS: Mapping[str, tuple[str, ...]] = {
    "any": (),
    "at_least": ("of",),
    "not": (),
    "use": (),
    "weighted": ("threshold",),
    "when": ("verify",),
    "within": ("verify",),
}
"""What makes a table a form, and what else it has."""

_OPTIONAL = ("threshold",)
_NOT_USE = ("name", "type", "kind", "verifier")
"""What is written for ``use`` by mistake."""


@dataclass(frozen=True, slots=True)
class Check:
    """A verifier and how to show it to the user."""

    verifier: Any
    text: str
    joined: bool = False

    @property
    def part(self) -> str:
        """Its text within another's."""
        return f"({self.text})" if self.joined else self.text


class Checks:
    """Makes the verifiers of one policy, the shared ones once.

    Args:
        document: what the policy is read from.
        shared: its ``verifiers`` tables.
        base: where in the document the policy stands.
        model: what the name of a project's model stands for.

    Attributes:
        texts: what each shared verifier is, by name.
    """

    def __init__(
        self, document: Document, shared: Mapping[str, Any], base: KeyPath, model: Resolve
    ) -> None:
        # Only files that check something pay for loading the verifiers.
        from cascade_verifiers import registry

        self._make: Callable[[str, Mapping[str, Any]], Any] = registry.make
        self._registered = registry.verifier_names()
        self._document = document
        self._shared = shared
        self._model = model
        self._base: KeyPath = (*base, "verifiers")
        self.texts: dict[str, str] = {}
        self._made: dict[str, Check] = {}
        self._open: list[str] = []
        for name in shared:
            if name in self._registered:
                raise document.error(
                    (*self._base, name),
                    f"{name!r} is the name of a registered verifier: choose another",
                )

    def check(self, path: KeyPath) -> Check:
        """The check that the value at ``path`` describes.

        Raises:
            PolicyFileError: it describes none.
        """
        spec = self._document.get(path)
        if isinstance(spec, str):
            return self._named(spec, path)
        if isinstance(spec, list):
            return self._joined(path, and_, " & ")
        if isinstance(spec, dict):
            return self._table(spec, path)
        raise self._document.error(
            path, f"got {show_value(spec)}: needs a verifier's name, a table or a list of these"
        )

    def finish(self) -> None:
        """Refuse shared verifiers that no tier uses.

        Raises:
            PolicyFileError: there is one.
        """
        for name in self._shared:
            if name not in self._made:
                raise self._document.error((*self._base, name), "no tier uses it")

    def _named(self, name: str, path: KeyPath) -> Check:
        if name in self._made:
            return self._made[name]
        if name in self._open:
            chain = " -> ".join((*self._open[self._open.index(name) :], name))
            raise self._document.error(path, f"refers to itself: {chain}")
        if name not in self._shared:
            return self._registered_one(name, {}, path)
        self._open.append(name)
        made = self.check((*self._base, name))
        self._open.pop()
        self.texts[name] = made.text
        self._made[name] = Check(made.verifier, name)
        return self._made[name]

    def _table(self, spec: Mapping[str, Any], path: KeyPath) -> Check:
        forms = [form for form in _FORMS if form in spec]
        if not forms:
            wrong = next((key for key in _NOT_USE if isinstance(spec.get(key), str)), None)
            hint = "" if wrong is None else f"; write use = instead of {wrong} ="
            names = ", ".join(map(repr, (form for form in _FORMS if form != "use")))
            raise self._document.error(
                path, f"got {show_value(spec)}: needs 'use', or one of {names}{hint}"
            )
        form = "use" if "use" in forms else forms[0]
        if form == "use":
            return self._use(spec, path)
        beside = _FORMS[form]
        for key in spec:
            if key != form and key not in beside:
                raise self._document.error((*path, key), f"does nothing beside {form!r}")
        for key in beside:
            if key not in spec and key not in _OPTIONAL:
                raise self._document.error((*path, form), f"needs {key!r} beside it")
        return self._form(form, path)

    def _form(self, form: str, path: KeyPath) -> Check:
        from cascade_verifiers.algebra import at_least
        from cascade_verifiers.applying import when
        from cascade_verifiers.limiting import within

        value = self._document.get((*path, form))
        match form:
            case "any":
                return self._joined((*path, "any"), or_, " | ")
            case "not":
                inner = self.check((*path, "not"))
                return Check(~inner.verifier, f"~{inner.part}")
            case "weighted":
                return self._weighted(path)
            case "at_least":
                parts = self._parts((*path, "of"))
                made = self._blaming(path, at_least, value, *(part.verifier for part in parts))
                return Check(made, f"at_least({', '.join([f'{value}', *(p.text for p in parts)])})")
            case "when":
                predicate = self.check((*path, "when"))
                inner = self.check((*path, "verify"))
                made = self._blaming(path, when, predicate.verifier, inner.verifier)
                return Check(made, f"when({predicate.text}, {inner.text})")
        inner = self.check((*path, "verify"))
        made = self._blaming(path, within, value, inner.verifier)
        return Check(made, f"within({value}, {inner.text})")

    def _weighted(self, path: KeyPath) -> Check:
        from cascade_verifiers.weighting import weighted

        pairs: list[tuple[Any, Any]] = []
        texts: list[str] = []
        for place in self._places((*path, "weighted")):
            item = self._document.get(place)
            if not isinstance(item, dict) or item.keys() != {"verify", "weight"}:
                form = "{ verify = ..., weight = 2 }"
                raise self._document.error(place, f"got {show_value(item)}: needs {form}")
            check = self.check((*place, "verify"))
            weight = item["weight"]
            # One at a time, so that a wrong weight is blamed where it stands.
            self._blaming(place, lambda pair: weighted([pair]), (check.verifier, weight))
            pairs.append((check.verifier, weight))
            texts.append(f"{check.text} * {weight}")
        threshold = self._document.get((*path, "threshold"))
        options = {} if threshold is None else {"threshold": threshold}
        made = self._blaming(path, lambda: weighted(pairs, **options))
        shown = [*texts, *(f"{key}={value}" for key, value in options.items())]
        return Check(made, f"weighted({', '.join(shown)})")

    def _blaming(self, path: KeyPath, make: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return make(*arguments)
        except PolicyFileError:
            raise
        except (ConfigError, TypeError) as error:
            message = error.message if isinstance(error, ConfigError) else str(error)
            raise self._document.error(blamed(self._document, path, message), message) from error

    def _places(self, path: KeyPath) -> list[KeyPath]:
        spec = self._document.get(path)
        if not isinstance(spec, list) or not spec:
            raise self._document.error(
                path, f"got {show_value(spec)}: needs a list of one verifier or more"
            )
        return [(*path, index) for index in range(len(spec))]

    def _parts(self, path: KeyPath) -> list[Check]:
        return [self.check(place) for place in self._places(path)]

    def _joined(self, path: KeyPath, join: Callable[[Any, Any], Any], sign: str) -> Check:
        parts = self._parts(path)
        if len(parts) == 1:
            return parts[0]
        verifier = reduce(join, (part.verifier for part in parts))
        return Check(verifier, sign.join(part.part for part in parts), joined=True)

    def _use(self, spec: Mapping[str, Any], path: KeyPath) -> Check:
        name = spec["use"]
        if not isinstance(name, str):
            raise self._document.error(
                (*path, "use"), f"got {show_value(name)}: needs a verifier's name"
            )
        if name in self._shared:
            raise self._document.error(
                (*path, "use"), f"{name!r} is a table of this file: write the name alone"
            )
        arguments = read_arguments(self._document, path, self._model, but="use")
        return self._registered_one(name, arguments, path)

    def _registered_one(self, name: str, arguments: Mapping[str, Any], path: KeyPath) -> Check:
        if name not in self._registered and ":" not in name:
            known = nearest(name, {*self._registered, *self._shared})
            place = (*path, "use") if isinstance(self._document.get(path), dict) else path
            raise self._document.error(place, f"no verifier {name!r}: {known}")
        try:
            verifier = self._make(name, arguments)
        except PolicyFileError:
            raise
        except ConfigError as error:
            raise self._document.error(
                blamed(self._document, path, error.message), f"{name}: {error.message}"
            ) from error
        return Check(verifier, _shown(name, arguments))


def _shown(name: str, arguments: Mapping[str, Any]) -> str:
    parts = [f"{key}={_short(value)}" for key, value in arguments.items()]
    return f"{name}({', '.join(parts)})" if parts else name


def _short(value: Any) -> str:
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= 24 else "{…}" if isinstance(value, dict) else f"{shown[:21]}…"
