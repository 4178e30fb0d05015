"""What a verdict of each verifier costs, on answers of a plain form and size.

    python -m benchmarks.verifier_cost [--quick] [--json]

One row a verifier and case, every registered built-in verifier at least once: the median time of a
verdict over the turns, and the shortest, in turns with all others, one verdict at a time. What
waits for a process or a thread also waits for whatever else the machine does, so there the two
differ. What runs in another process or thread is warm where it stays up, and started each time
where it does not. Models that are asked are functions which answer at once, so that the time is the
verifier's own; that of a real model comes on top, as do its tokens. `Http` asks a server on this
machine, in a thread. `JsonSchema` and `Sql` are measured beside their peers by
``benchmarks.json_schema`` and ``benchmarks.sql_speed``.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from sqlite3 import connect
from statistics import median
from typing import Any

import anyio

from cascade import Answer, Engine, Request
from cascade.context import Check, current_check
from cascade.types import TokenLogprob
from cascade.verdict import Verdict
from cascade.verify import as_verifier
from cascade_verifiers import (
    Agreement,
    Command,
    Finished,
    Grounded,
    Http,
    JsonSchema,
    Judge,
    Language,
    Learned,
    Length,
    NoPlaceholder,
    NotRefusal,
    Number,
    OneOf,
    PairwiseJudge,
    PythonSyntax,
    Regex,
    SelfConfidence,
    Sql,
    ToolCalls,
    features,
    learned,
)

Verify = Callable[[], Verdict | Awaitable[Verdict]]

PROSE = "The order was sent on 3 May 2024, and it arrived within a week, as was promised. "
SHORT = (PROSE * 13)[:1_000]
LONG = (PROSE * 250)[:20_000]
REQUEST = Request.of(f"What became of the order? {SHORT}")
ACCEPTS = '{"outcome": "accepted"}'
PYTHON = f"import sys; sys.stdin.read(); print('{ACCEPTS}')"
AREA = {
    "name": "area",
    "parameters": {"type": "object", "properties": {"base": {"type": "number"}}},
}


def judge(request: Request) -> str:
    """A judge who answers at once."""
    return '{"reason": "It is right.", "score": 9}'


def compare(request: Request) -> str:
    """One who always sees a tie."""
    return '{"reason": "They say the same.", "better": "tie"}'


class _Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(ACCEPTS)))
        self.end_headers()
        self.wfile.write(ACCEPTS.encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base's name)
        """Be silent."""


@contextmanager
def service() -> Iterator[str]:
    """The address of an endpoint that accepts everything."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Service) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def fitted() -> Learned:
    """A model of weights made up: what they are makes no difference to the time."""
    names = features.names(logprobs=False)
    return Learned(
        {
            "kind": "learned",
            "version": learned.VERSION,
            "features": {
                "version": features.VERSION,
                "hash": features.names_hash(logprobs=False),
            },
            "logprobs": False,
            "embedding": None,
            "weights": [0.01] * len(names),
            "bias": 0.0,
            "rows": 10,
            "data": "",
        }
    )


def cases(url: str, database: Path) -> Mapping[str, Verify]:
    """What is timed, by the verifier's registered name and the case."""

    def on(verifier: Any, text: str = SHORT, **rest: Any) -> Verify:
        answer = Answer(text, **rest)
        return lambda: verifier.verify(REQUEST, answer)

    def vote(verifier: Agreement, *texts: str) -> Callable[[], Any]:
        answers = [Answer(text) for text in texts]

        async def group() -> Verdict:
            found = verifier.verify_group(REQUEST, answers)
            return (await found if inspect.isawaitable(found) else found)[0]

        return group

    def alone(check: Verify) -> Verify:
        """As outside a call: without the engine's client."""

        async def outside() -> Verdict:
            token = current_check.set(None)
            try:
                found = check()
                return await found if inspect.isawaitable(found) else found
            finally:
                current_check.reset(token)

        return outside

    def brief(answer: Answer) -> bool:
        return len(answer.text) < 5_000

    tokens = tuple(TokenLogprob(SHORT[at : at + 4], -0.1) for at in range(0, len(SHORT), 4))
    # No part of the pattern is fixed text, for which the engine would skip through the answer.
    pattern, gate = r"[A-Z]{2}\d{4}", NotRefusal()
    query = "SELECT name FROM singer WHERE country = 'France'"
    return {
        "a plain function": on(as_verifier(brief)),
        "a plain function, blocking": on(as_verifier(brief, blocking=True)),
        "not_refusal & itself": on(gate & gate),
        "agreement, number, 3 answers": vote(Agreement("number"), "It is 13.", "13", "14"),
        "agreement, text, 3 answers": vote(Agreement(), SHORT, SHORT, LONG),
        "command, a shell": on(Command(["sh", "-c", f"cat >/dev/null; echo '{ACCEPTS}'"])),
        "command, Python -I -S": on(Command([sys.executable, "-I", "-S", "-c", PYTHON])),
        "finished": on(Finished()),
        "grounded": on(Grounded()),
        "grounded, JSON": on(Grounded(), '{"day": "2024-05-03"}'),
        "http, in a call": on(Http(url)),
        "http, outside a call": alone(on(Http(url))),
        "json_schema": on(JsonSchema({"required": ["a"]}), '{"a": 1}'),
        "judge, but for the model": on(Judge(judge, "It is right.")),
        "language": on(Language("en")),
        "learned": on(fitted()),
        "length, max_chars": on(Length(max_chars=2_000)),
        "length, max_words": on(Length(max_words=2_000)),
        "no_placeholder": on(NoPlaceholder()),
        "not_refusal": on(gate),
        "number": on(Number(min=0, units=["km"]), "1,234.5 km"),
        "one_of": on(OneOf("billing", "other"), "Billing."),
        "pairwise_judge, but for the model": on(
            PairwiseJudge(compare, "It is right.", baseline="It arrived.")
        ),
        "python_syntax": on(PythonSyntax(), "x = 1"),
        "regex": on(Regex(pattern), f"{SHORT[:-6]}AB1234"),
        "regex, 20,000 characters": on(Regex(pattern), f"{LONG[:-6]}AB1234"),
        "self_confidence, stated": on(SelfConfidence(), f"{SHORT}\nConfidence: 90%"),
        "self_confidence, logprob": on(SelfConfidence("logprob"), logprobs=tokens),
        "sql, catalogue": on(Sql("sqlite", catalogue=database), query),
        "sql, execute": on(Sql("sqlite", database=database, execute=True), query),
        "tool_calls": on(ToolCalls([AREA]), "[area(base=10)]"),
    }


async def measure(turns: int) -> dict[str, tuple[float, float]]:
    """Of each case the median and the fewest microseconds."""
    with service() as url, tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "music.sqlite"
        with closing(connect(database)) as connection:
            connection.execute("CREATE TABLE singer (name TEXT, country TEXT)")
        async with Engine() as engine:
            current_check.set(Check(engine))
            times: dict[str, list[float]] = {}
            work = cases(url, database)
            for name, verify in work.items():
                verdict = await settled(verify)
                if verdict.outcome == "abstained" or verdict.code.startswith("check."):
                    raise SystemExit(f"{name}: {verdict.reason}: no timing")
                times[name] = []
            for _ in range(turns):
                for name, verify in work.items():
                    times[name].append(await timed(verify))
    return {name: (median(took) * 1e6, min(took) * 1e6) for name, took in times.items()}


async def settled(verify: Verify) -> Verdict:
    """The verdict, waited for."""
    # As `call_model_once` remembers what was asked in a call, each verdict is a call of its own.
    if (check := current_check.get()) is not None:
        check.asked.clear()
    found = verify()
    return await found if inspect.isawaitable(found) else found


async def timed(verify: Verify) -> float:
    """Seconds of a verdict: of one that waits for nothing, the mean of many."""
    began = time.perf_counter()
    await settled(verify)
    took = time.perf_counter() - began
    if took > 1e-3:
        return took
    many = max(1, int(1e-3 / took))
    began = time.perf_counter()
    for _ in range(many):
        await settled(verify)
    return (time.perf_counter() - began) / many


def table(found: Mapping[str, tuple[float, float]]) -> str:
    """The figures for people."""
    width = max(map(len, found))
    lines = [f"{'a verdict of':<{width}}  {'median':>9}  {'shortest':>9}"]
    for name, (middle, least) in found.items():
        lines.append(f"{name:<{width}}  {shown(middle):>9}  {shown(least):>9}")
    return "\n".join(lines)


def shown(microseconds: float) -> str:
    """In the unit that fits."""
    if microseconds < 1_000:
        return f"{microseconds:,.1f} µs"
    return f"{microseconds / 1e3:,.1f} ms"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What a verdict of each verifier costs.")
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    parser.add_argument(
        "--json", action="store_true", help="microseconds (median, shortest) as one JSON object"
    )
    options = parser.parse_args()
    found = anyio.run(measure, 5 if options.quick else 50)
    print(json.dumps(found) if options.json else table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
