"""What policies cost and how often they are right, on recorded answers of real models.

    python -m benchmarks.frontier [published] [bfcl] [zeroeval] [spider] [llmdrift]
                                  [--json] [--plot FILE] [--check]

Reads the recorded data at ``$CASCADE_DATA`` (by default ``../shared/data`` from the project's
root); without them the exit code is 2. No model is called: each policy is replayed through the
state machine that serves live calls, and its vectorised twin must find the very same.

published  figures that others published, and the same anew from the recorded answers
bfcl       function calls on the Python-AST categories, checked by `ToolCalls`: single models,
           cascades, a race, the oracle, and what tuning finds among all 17 models, beside other
           ways to choose (`benchmarks.frontier_rivals` says which)
zeroeval   grade-school maths: two cheap models that must agree (`Agreement`), else gpt-4o
spider     text to SQL: CodeS-1B's answer where CodeS-3B's reads the same rows, else GPT-4's
llmdrift   is it a prime: an answer that code checks, and the code by itself

A line gives the accuracy with its 95% Wilson interval, US dollars per 1,000 prompts with a
bootstrap interval (where calls were cancelled, instead the least and the most that may have been
billed), the share of the prompts that escalated, and latency. References are figures expected
beforehand; ``--check`` makes the exit code 1 when one is missed by more than its tolerance: 0.1
points for published ones, 0.7 points for others, and 5% for dollars and seconds. ``--plot`` draws
cost against accuracy, as PNG or SVG by the file's ending.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.frontier_report import Section, plot, table
from benchmarks.frontier_sections import NEEDS, SECTIONS
from benchmarks.recorded_json import FILES, data

ENDINGS = (".png", ".svg")


def summary(section: Section) -> dict[str, Any]:
    """One section for programs."""
    found: dict[str, Any] = msgspec.to_builtins(section)
    for shape, reference in zip(found["references"], section.references, strict=True):
        shape["met"] = reference.met
    return found


def needed(names: list[str]) -> list[Path]:
    """The files that these sections read."""
    files = [data() / f"{FILES[name]}.jsonl.gz" for section in names for name in NEEDS[section]]
    if {"bfcl", "zeroeval"} & set(names):
        files.append(data() / "prices.json")
    if {"published", "spider"} & set(names):
        files.append(data() / "spider_dbs")
    return files


def main() -> int:
    """Measure and print; 1 when ``--check`` finds a reference missed, 2 without the data."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "sets", nargs="*", metavar="SET", help=f"{', '.join(SECTIONS)}; default all"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw to a .png or .svg")
    parser.add_argument("--check", action="store_true", help="fail where a reference is missed")
    options = parser.parse_args()
    names = list(dict.fromkeys(options.sets or SECTIONS))
    if unknown := set(names) - set(SECTIONS):
        parser.error(f"no set {', '.join(sorted(unknown))}: give {', '.join(SECTIONS)}")
    if options.plot is not None and options.plot.suffix not in ENDINGS:
        parser.error(f"--plot {options.plot}: end it in {' or '.join(ENDINGS)}")
    for path in needed(names):
        if not path.exists():
            print(f"no recorded data at {path}: set CASCADE_DATA to their folder", file=sys.stderr)
            return 2
    found: dict[str, Section] = {}
    for name in names:
        found[name] = SECTIONS[name]()
        if not options.json:
            print(table(name, found[name]), flush=True)
    if options.json:
        print(json.dumps({name: summary(section) for name, section in found.items()}))
    if options.plot is not None:
        plot(found, options.plot)
    missed = [each for section in found.values() for each in section.references if not each.met]
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
