"""``cascade verify``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from cyclopts import Parameter

from cascade.errors import ConfigError
from cascade.types import Answer, Request
from cascade.verdict import Verdict, Verifier
from cascade_policies.commands.errors import ABSTAINED, ACCEPTED, NOT_ACCEPTED
from cascade_policies.commands.read import read_pairs, read_stdin, read_text

NO_REQUEST = "(no request was given)"

_EXIT = {"accepted": ACCEPTED, "rejected": NOT_ACCEPTED, "abstained": ABSTAINED}


def verify(
    name: str,
    answer: str | None = None,
    /,
    *,
    with_: Annotated[list[str] | None, Parameter(name="--with")] = None,
    request: str | None = None,
    json: bool = False,
) -> int:
    """Check one answer with a verifier: exit code 0 accepted, 3 rejected, 6 abstained.

    Parameters
    ----------
    name
        A registered verifier (see `cascade verifiers`), or package.module:Object.
    answer
        The answer; @FILE reads a file, - (or no answer at all) standard input.
    with_
        An argument of the verifier: KEY=VALUE, a TOML or JSON value or else text; KEY=@FILE reads
        a file.
    request
        What the answer answers, for verifiers that look at it; @FILE reads a file.
    json
        Write the whole verdict as one JSON object.
    """
    from cascade_verifiers.registry import make

    # As `python -m` has it: one's own module in this folder can be named.
    if ":" in name and "" not in sys.path:
        sys.path.insert(0, "")
    verifier = make(name, _arguments(with_ or ()))
    asked = Request.of(NO_REQUEST if request is None else read_text(request, "--request"))
    text = read_stdin("answer") if answer is None else read_text(answer, "the answer")
    verdict = _ask(verifier, asked, Answer(text))
    if json:
        from cascade_policies.commands.shape import verdict_shape, write_json

        write_json(verdict_shape(verdict))
    else:
        _show(verdict)
    return _EXIT[verdict.outcome]


def _arguments(given: Sequence[str]) -> Mapping[str, Any]:
    from cascade_policies.overrides import read_value

    pairs = read_pairs(given, "--with", form="KEY=VALUE, like max_words=100")
    return {
        key: _file(value, key) if value.startswith("@") else read_value(value)
        for key, value in pairs.items()
    }


def _file(value: str, key: str) -> Any:
    import msgspec

    text = read_text(value, f"--with {key}")
    if not value.endswith(".json"):
        return text
    try:
        return msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, RecursionError) as error:
        raise ConfigError(f"--with {key}: {value[1:]} is not valid JSON: {error}") from None


def _ask(verifier: Verifier, request: Request, answer: Answer) -> Verdict:
    import anyio

    from cascade.context import Check, current_check
    from cascade.engine import Engine
    from cascade_verifiers.asking import ask as call
    from cascade_verifiers.asking import settle

    async def ask() -> Verdict:
        async with Engine() as engine:
            current_check.set(Check(engine))
            return await settle(verifier, call(verifier, request, answer))

    return anyio.run(ask)


def _show(verdict: Verdict) -> None:
    from cascade_policies.commands.output import say
    from cascade_policies.commands.shape import to_json

    score = "" if verdict.score is None else f" (score {verdict.score:.3g})"
    code = f" [{verdict.code}]" if verdict.code else ""
    reason = f": {verdict.reason}" if verdict.reason else ""
    say(f"{verdict.outcome}{score}{reason}{code}")
    if verdict.parsed is not None:
        say(f"parsed: {to_json(verdict.parsed)}")
    if verdict.text is not None:
        say(f"text: {verdict.text}")
