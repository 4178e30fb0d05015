"""HTML and SVG as values: text is escaped when it goes in, so nothing can be forgotten."""

from __future__ import annotations

from html import escape


class Markup(str):
    """Text that is HTML already; made by `tag` and `join` alone."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Text as HTML shows it; control characters, which HTML forbids, as spaces."""
    if isinstance(value, Markup):
        return value
    return Markup(escape("".join(c if c.isprintable() else " " for c in str(value))))


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """An element.

    Args:
        name: of the element, ours always.
        children: elements, or text.
        attributes: by name, with ``_`` for ``-`` and one at the end left out; those that are None
            or False are not set.
    """
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(_value(value))}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    inner = "".join(map(text, children))
    return Markup(f"<{name}{shown}>{inner}</{name}>")


def void(name: str, /, **attributes: object) -> Markup:
    """An element of HTML that has no end, like ``meta``."""
    return Markup(tag(name, **attributes).removesuffix(f"</{name}>"))


def join(*parts: object) -> Markup:
    """One after the other."""
    return Markup("".join(map(text, parts)))


def _value(value: object) -> object:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value
