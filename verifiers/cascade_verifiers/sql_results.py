"""Whether two results of SQL queries are the same, as far as the question can tell."""

from __future__ import annotations

import math
import pickle
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import Any, Literal

from cascade.errors import ConfigError

Row = Sequence[Any]
Columns = Literal["given", "any"]

_MOST_COMPARISONS = 200_000
_MOST_ORDERS = 200
_MOST_STEPS = 5_000


def same_result(
    a: Sequence[Row],
    b: Sequence[Row],
    *,
    ordered: bool = False,
    tolerance: float = 1e-6,
    columns: Columns = "given",
) -> bool:
    """Whether two results have the same rows, each as often.

    Numbers are the same when they differ by at most ``tolerance`` times the larger of them (and
    of 1); two whole numbers only when equal. ``1`` and ``1.0`` are the same, ``1`` and ``"1"``
    are not, NULL is the same as NULL. Two results without rows are the same, whatever their
    columns.

    Where many rows are nearly but not quite alike, rows are paired as they sort; so two results
    may then count as different although some pairing would make them the same.

    Args:
        a: rows of one result.
        b: rows of the other.
        ordered: whether the order of rows counts, as after ORDER BY.
        tolerance: relative difference that numbers may have.
        columns: ``"given"``: columns are compared in their order; ``"any"``: in whatever order
            makes the results the same.

    Raises:
        ConfigError: the tolerance is negative or no number, or ``columns`` is something else.
    """
    if not 0 <= tolerance < 1:
        raise ConfigError(f"tolerance={tolerance!r}: give a number from 0 to below 1")
    if columns not in ("given", "any"):
        raise ConfigError(f"columns={columns!r}: 'given' or 'any'")
    if len(a) != len(b):
        return False
    if not a:
        return True
    width = len(a[0])
    if any(len(row) != width for row in a) or any(len(row) != width for row in b):
        return False
    alike: Callable[[Row, Row], bool] = partial(_rows_alike, tolerance=tolerance)
    compare = partial(_ordered if ordered else _unordered, alike=alike)
    if compare(a, b):
        return True
    if columns == "given" or width < 2:
        return False
    orders = islice(_column_orders(a, b, compare), _MOST_ORDERS)
    return any(compare(a, [[row[n] for n in order] for row in b]) for order in orders)


def same_pickled(a: bytes, b: bytes, ordered: bool, tolerance: float, columns: Columns) -> bool:
    """`same_result` on results as the sandbox's own process pickled them."""
    rows = pickle.loads(a), pickle.loads(b)  # noqa: S301  # made by our own worker process
    return same_result(*rows, ordered=ordered, tolerance=tolerance, columns=columns)


def _ordered(a: Sequence[Row], b: Sequence[Row], alike: Callable[[Row, Row], bool]) -> bool:
    return all(map(alike, a, b))


def _unordered(a: Sequence[Row], b: Sequence[Row], alike: Callable[[Row, Row], bool]) -> bool:
    if _ordered(sorted(a, key=_row_key), sorted(b, key=_row_key), alike):
        return True
    # Numbers that differ by a rounding may sort apart: pair them within rows of the same words.
    left, right = _buckets(a), _buckets(b)
    if {key: len(rows) for key, rows in left.items()} != {
        key: len(rows) for key, rows in right.items()
    }:
        return False
    if sum(len(rows) ** 2 for rows in left.values()) > _MOST_COMPARISONS:
        return False
    return all(_paired(rows, right[key], alike) for key, rows in left.items())


def _paired(a: Sequence[Row], b: list[Row], alike: Callable[[Row, Row], bool]) -> bool:
    free = list(b)
    for row in a:
        found = next((n for n, other in enumerate(free) if alike(row, other)), None)
        if found is None:
            return False
        free.pop(found)
    return True


def _buckets(rows: Sequence[Row]) -> dict[tuple[Any, ...], list[Row]]:
    found: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        found[tuple(None if _is_number(cell) else _cell_key(cell) for cell in row)].append(row)
    return found


def _column_orders(
    a: Sequence[Row], b: Sequence[Row], compare: Callable[[Sequence[Row], Sequence[Row]], bool]
) -> Iterator[tuple[int, ...]]:
    """Orders of b's columns under which each is like a's column at its place."""
    left = [[(row[n],) for row in a] for n in range(len(a[0]))]
    right = [[(row[n],) for row in b] for n in range(len(a[0]))]
    fits = [[n for n, other in enumerate(right) if compare(column, other)] for column in left]
    stack: list[tuple[int, ...]] = [()]
    for _ in range(_MOST_STEPS):
        if not stack:
            return
        order = stack.pop()
        if len(order) == len(fits):
            yield order
            continue
        stack.extend((*order, n) for n in reversed(fits[len(order)]) if n not in order)


def _rows_alike(a: Row, b: Row, tolerance: float) -> bool:
    return all(_alike(x, y, tolerance) for x, y in zip(a, b, strict=True))


def _alike(x: Any, y: Any, tolerance: float) -> bool:
    if _is_number(x) and _is_number(y):
        if isinstance(x, int) and isinstance(y, int):
            return x == y
        if x != x or y != y:  # NaN
            return bool(x != x and y != y)
        one, other = _float(x), _float(y)
        if math.isinf(one) or math.isinf(other):
            return bool(x == y)
        return abs(one - other) <= tolerance * max(1.0, abs(one), abs(other))
    return type(x) is type(y) and bool(x == y)


def _is_number(cell: Any) -> bool:
    return isinstance(cell, int | float | Decimal)


def _float(number: Any) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _row_key(row: Row) -> tuple[Any, ...]:
    return tuple(_cell_key(cell) for cell in row)


def _cell_key(cell: Any) -> tuple[int, str, Any]:
    if cell is None:
        return (0, "", 0)
    if _is_number(cell):
        value = _float(cell)
        return (1, "", value) if value == value else (2, "", 0)  # NaN
    if isinstance(cell, str):
        return (3, "", cell)
    return (4, type(cell).__name__, repr(cell))
