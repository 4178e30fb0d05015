"""Plain functions as scorers."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from numbers import Real
from typing import Any

from cascade.types import Answer
from cascade_policies.golden.golden_set import GoldenRow
from cascade_policies.golden.scorer import RIGHT, Score, ScorerError, unscorable, wrong


class FunctionScorer:
    """A function of ``(answer, reference)``, ``(answer, reference, row)`` or ``(row, answer)``.

    ``answer`` is the text, but in the last form, where it is the `Answer` and ``row`` the
    `GoldenRow`. Sync (quick: it runs where it stands) or async, it returns true or false, a number
    in [0, 1], a `Score`, or None for an answer that cannot be scored. What it raises is a
    `ScorerError` that names the row: an answer that makes a scorer crash must not drop out of the
    figures by that. Keyword-only arguments are its settings.

    Raises:
        ScorerError: it takes other arguments, or an argument is missing.
    """

    def __init__(self, function: Callable[..., Any], **settings: Any) -> None:
        self.function = function
        self.settings = settings
        self.name = str(getattr(function, "__name__", None) or type(function).__name__)
        self._call = partial(function, **settings)
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):
            raise ScorerError(f"{self.name}: its arguments cannot be seen") from None
        placed = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        names = [p.name for p in placed]
        required = sum(p.default is p.empty for p in placed)
        if len(placed) < 2 or required > 3:
            raise ScorerError(f"{self.name}: a scorer takes (answer, reference[, row])")
        self._takes_row = required == 3 or names[2:3] == ["row"]
        self._row_first = names[:2] == ["row", "answer"]
        for p in parameters:
            if p.kind is p.KEYWORD_ONLY and p.default is p.empty and p.name not in settings:
                raise ScorerError(f"{p.name}: is missing, and has no default")

    def score(self, row: GoldenRow, answer: Answer, /) -> Score | Awaitable[Score]:
        """What the function says."""
        arguments: tuple[Any, ...] = (answer.text, row.reference)
        if self._row_first:
            arguments = (row, answer)
        elif self._takes_row:
            arguments = (*arguments, row)
        found = self._call(*arguments)
        return self._later(found) if inspect.isawaitable(found) else self._score(found)

    async def _later(self, found: Awaitable[Any]) -> Score:
        return self._score(await found)

    def _score(self, found: Any) -> Score:
        if isinstance(found, Score):
            return found
        if found is None:
            return unscorable(f"{self.name} gives no score")
        if isinstance(found, Real) or type(found).__name__ in ("bool", "bool_"):
            quality = float(found)
            return RIGHT if quality == 1 else wrong(self.name) if quality == 0 else Score(quality)
        raise ScorerError(
            f"{self.name} returned {type(found).__name__}; a scorer returns bool, a number in "
            "[0, 1], a Score or None"
        )

    def __repr__(self) -> str:
        return self.name
