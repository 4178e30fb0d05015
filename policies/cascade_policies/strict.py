"""Strict reading: parsed TOML against a `Struct`, and every mistake with its key and its remedy.

msgspec says what is wrong and where in one line of text, and leaves out the names of the keys of
a dict. Here the types are walked beside the data, so that the user gets the key, its line, what it
takes and, for an unknown one, the nearest right name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from types import UnionType
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from msgspec import Struct, ValidationError, convert

from cascade.errors import PolicyFileError, nearest
from cascade_policies.document import Document, show_value
from cascade_policies.lines import KeyPath

Table = TypeVar("Table", bound=Struct)

_WHERE = re.compile(r" - at `\$(.*)`$")
_STEP = re.compile(r"\.([A-Za-z_]\w*)|\[(\d+|\.\.\.)\]")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`$", re.DOTALL)
_ANY_KEY = "..."
_SECRET = frozenset({"api_key"})


class Guide(NamedTuple):
    """What a kind of file says of its keys.

    Attributes:
        needs: what a key takes; by ``Struct.key`` where the key's name alone does not say, and
            by ``key.NAME`` for each of several tables under it.
        homes: the tables in which a key that is unknown where it stands may belong, and how
            to name them.
        params: keys of a model's parameters, and where these are written.
        params_home: the Struct with the ``params``.
    """

    needs: Mapping[str, str]
    homes: Mapping[type[Struct], str]
    params: frozenset[str] = frozenset()
    params_home: tuple[type[Struct], ...] = ()

    def needed(self, kind: Any, key: str, default: str = "text") -> str:
        """What the key of that Struct takes."""
        name = getattr(kind, "__name__", "")
        return self.needs.get(f"{name}.{key}", self.needs.get(key, default))


def read(document: Document, kind: type[Table], guide: Guide, path: KeyPath = ()) -> Table:
    """The value at ``path`` as a ``kind``.

    Raises:
        PolicyFileError: a key is unknown or missing, or a value of the wrong type.
    """
    try:
        return convert(document.get(path), kind)
    except ValidationError as error:
        raise _Fault(document, guide, kind, path).placed(str(error)) from None


class _Fault:
    """One fault, followed from the table that msgspec was given to the value that is wrong."""

    def __init__(self, document: Document, guide: Guide, kind: Any, path: KeyPath) -> None:
        self._document = document
        self._guide = guide
        self._kind = kind
        self._path = path
        self._owner: Any = None  # the Struct whose key was entered last, and that key
        self._key = ""

    def placed(self, message: str) -> PolicyFileError:
        where = _WHERE.search(message)
        what = message if where is None else message[: where.start()]
        for name, index in _STEP.findall("" if where is None else where[1]):
            if index == _ANY_KEY:
                return self._in_dict()
            self._enter(name or int(index))
        if found := _UNKNOWN.match(what):
            return self._document.error((*self._path, found[1]), self._unknown(found[1]))
        if found := _MISSING.match(what):
            wanted = self._guide.needed(self._struct(), found[1])
            return self._document.error((*self._path, found[1]), f"missing: give {wanted}")
        return self._needs()

    def _in_dict(self) -> PolicyFileError:
        """Which of a dict's values is wrong: msgspec does not say, so each is tried alone."""
        inside = _below(self._kind, _ANY_KEY)
        for key, value in self._document.get(self._path).items():
            try:
                convert(value, inside)
            except ValidationError as error:
                fault = _Fault(self._document, self._guide, inside, (*self._path, key))
                fault._owner, fault._key = self._owner, self._key
                return fault.placed(str(error))
        return self._needs()

    def _enter(self, step: str | int) -> None:
        struct = self._struct()
        if struct is not None and isinstance(step, str):
            self._owner, self._key = struct, step
        self._kind = _below(self._kind, step)
        self._path = (*self._path, step)

    def _struct(self) -> type[Struct] | None:
        """The Struct among what may stand here."""
        return next((kind for kind in _choices(self._kind) if _is_struct(kind)), None)

    def _needs(self) -> PolicyFileError:
        wanted = self._guide.needed(self._owner, self._key) if self._key else "tables"
        if self._path and self._path[-1] != self._key:  # one of several
            wanted = self._guide.needs.get(f"{self._key}.NAME", wanted)
        names = [key for key in self._path if isinstance(key, str)]
        value = self._document.get(self._path)
        got = "another type" if _SECRET.intersection(names) else show_value(value)
        return self._document.error(self._path, f"got {got}: needs {wanted}")

    def _unknown(self, key: str) -> str:
        struct = self._struct()
        fields = () if struct is None else struct.__struct_fields__
        if struct in self._guide.params_home and key in self._guide.params:
            whose = "tier" if "tier" in struct.__name__.lower() else "model"
            return f"unknown key: write it in the {whose}'s params, as params = {{ {key} = … }}"
        if struct in self._guide.homes and not get_close_matches(key, fields, n=1, cutoff=0.85):
            for home, shown in self._guide.homes.items():
                if home is not struct and key in home.__struct_fields__:
                    return f"unknown key: it belongs in {shown}"
        return f"unknown key: {nearest(key, fields)}"


def _below(kind: Any, step: str | int) -> Any:
    """The type of what stands under ``step`` in a value of the type ``kind``."""
    for choice in _choices(kind):
        if _is_struct(choice):
            if isinstance(step, str) and step in choice.__struct_fields__:
                return _hints(choice)[step]
        elif get_origin(choice) is dict and not isinstance(step, int):
            return get_args(choice)[1]
        elif get_origin(choice) is list and isinstance(step, int):
            return get_args(choice)[0]
    return Any


def _choices(kind: Any) -> list[Any]:
    if get_origin(kind) in (Union, UnionType):
        return [choice for part in get_args(kind) for choice in _choices(part)]
    return [kind]


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


@cache
def _hints(kind: type[Struct]) -> Mapping[str, Any]:
    return get_type_hints(kind)
