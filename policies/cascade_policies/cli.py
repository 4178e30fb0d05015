"""The command line, ``cascade``.

Each command is in a file of its own under ``commands``, read only when it is the one asked for.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from cyclopts import App, Parameter

DEBUG = "CASCADE_DEBUG"


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("cascade-engine")
    except PackageNotFoundError:
        return "unknown (not installed)"


app = App(
    name="cascade",
    help="Answer prompts with the cheapest model whose answer passes a check.",
    help_epilogue=(
        "Exit codes: 0 accepted, 1 unexpected error, 2 wrong usage or policy, 3 no accepted "
        "answer, 4 deadline passed, 5 no model could be asked, 6 a verifier abstained, "
        "130 interrupted. "
        f"--debug (or {DEBUG}=1) shows the traceback of an error."
    ),
    version=_version,
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
)
_models = App(name="models", help="The embedded models (local:NAME).")
_route = App(name="route", help="Routers: where calls start.")
_ledger = App(name="ledger", help="The record of calls and attempts.")
_import = App(name="import", help="Start from another program's configuration.")

app.command("cascade_policies.commands.run:run", name="run", help="Answer a prompt.")
app.command(
    "cascade_policies.commands.check:check",
    name="check",
    help="Read a policy strictly and show what was understood.",
)
app.command(
    "cascade_policies.commands.verifiers:verifiers",
    name="verifiers",
    help="The verifiers a policy can name.",
)
app.command("cascade_policies.commands.verify:verify", name="verify", help="Check one answer.")
app.command(
    "cascade_policies.commands.probe:probe",
    name="probe",
    help="Measure what a server does when a stream is closed early.",
)
app.command(
    "cascade_policies.commands.bench:bench",
    name="bench",
    help="Run a policy many times: latency, cost, escalation.",
)
app.command(
    "cascade_policies.commands.report:report",
    name="report",
    help="What calls cost, how long they took and why they escalated.",
)
app.command("cascade_policies.commands.watch:watch", name="watch", help="The same, live.")
app.command(
    "cascade_policies.commands.audit:audit",
    name="audit",
    help="What each kind of call seems to need: code, or a small, mid or frontier model.",
)
app.command(
    "cascade_policies.commands.budget:budget",
    name="budget",
    help="What is spent, what will be, and what is being degraded.",
)
app.command(
    "cascade_policies.commands.schema:schema",
    name="schema",
    help="The JSON Schema of cascade.toml, for editors.",
)
app.command(
    "cascade_policies.commands.record:record",
    name="record",
    help="Run every tier on every row of a golden set, once.",
)
app.command(
    "cascade_policies.commands.replay:replay",
    name="replay",
    help="What a policy would have done on a recording.",
)
app.command(
    "cascade_policies.commands.evaluate:evaluate",
    name="eval",
    help="Score models and policies against thresholds written down before.",
)
app.command(
    "cascade_policies.commands.tune:tune",
    name="tune",
    help="The cheapest policy whose quality is certified on a recording.",
)
app.command(
    "cascade_policies.commands.compare:compare",
    name="compare",
    help="Test the difference between a policy and its shadow.",
)
app.command(_route)
_route.command(
    "cascade_policies.commands.route:fit", name="fit", help="Fit a learned router on a recording."
)
_route.command(
    "cascade_policies.commands.route:explain", name="explain", help="Show a router's decision."
)
app.command(_ledger)
_ledger.command(
    "cascade_policies.commands.ledger:export", name="export", help="Write it to JSONL or Parquet."
)
_ledger.command("cascade_policies.commands.ledger:prune", name="prune", help="Delete what is old.")
app.command(_import)
_import.command(
    "cascade_policies.commands.importing:litellm",
    name="litellm",
    help="Make a cascade.toml of a LiteLLM model_list.",
)
app.command(_models)
_models.command("cascade_policies.commands.models:list_models", name="list", help="List them.")
_models.command("cascade_policies.commands.models:pull", name="pull", help="Download one.")
_models.command(
    "cascade_policies.commands.models:path", name="path", help="Where one is on this disk."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code; ``arguments`` are those of the process."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    tokens, debug = _take_debug(tokens)
    if sys.stderr is None:  # closed by whoever started us
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115  (lives as long as the process)
    if sys.stdout is None:
        sys.stderr.write("cascade: cannot write the answer: standard output is closed\n")
        return 1
    try:
        code: Any = app(
            [_stdin(token) for token in tokens],
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
        from cascade_policies.commands.output import write

        write("")  # what cyclopts has printed may still have to be written
        return code if isinstance(code, int) else 0
    except SystemExit as ending:
        # How rich ends the process when whoever reads the help has seen enough of it.
        if isinstance(ending.__context__, BrokenPipeError):
            return 0
        raise
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  (the last resort of a process)
        from cascade_policies.commands.errors import report

        return report(error, as_json="--json" in tokens, debug=debug)


def _take_debug(tokens: list[str]) -> tuple[list[str], bool]:
    asked = os.environ.get(DEBUG, "") not in ("", "0")
    end = tokens.index("--") if "--" in tokens else len(tokens)
    if "--debug" in tokens[:end]:
        tokens.remove("--debug")
        asked = True
    return tokens, asked


def _stdin(word: str) -> str:
    # cyclopts takes a lone dash for an option; "@-", a file that is standard input, it lets pass.
    return "@-" if word == "-" else word


if __name__ == "__main__":
    sys.exit(main())
