"""What `Sql` adds to parsing: sqlglot alone beside parse, read-only check and catalogue.

    python -m benchmarks.sql_speed [--json] [--quick] [--max-ratio X]

shop     queries written for this benchmark, against a schema of five tables
spider   distinct queries of the 12 recorded models, where the recorded data are
         (``$CASCADE_DATA``, by default ``../shared/data`` from the project's root)

All of them are accepted, by verifiers made beforehand. Each query is parsed by sqlglot
(``sqlglot.parse_one``) and verified by `Sql` one right after the other, in changing order, so that
the machine's moods meet both alike; a turn is all queries, and the ratio is that of the processor
time both took in it. Median and quartiles are over the turns. As in `timeit`, garbage is
collected between turns only. With ``--max-ratio`` the exit code is 1 when a median is above the
limit.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import quantiles

import sqlglot

from benchmarks.recorded_json import FILES, REQUEST, data, rows
from cascade import Answer
from cascade.verdict import Verdict
from cascade.verifiers import Sql

DIALECT = "sqlite"
SHOP = {
    "customers": ["id", "name", "email", "city", "country", "created_at"],
    "orders": ["id", "customer_id", "placed_at", "status", "total", "currency"],
    "order_lines": ["order_id", "product_id", "quantity", "unit_price"],
    "products": ["id", "sku", "name", "category_id", "price", "stock"],
    "categories": ["id", "name", "parent_id"],
}
QUERIES = (
    "SELECT count(*) FROM customers",
    "SELECT name, email FROM customers WHERE country = 'France' ORDER BY name",
    "SELECT city, count(*) AS n FROM customers GROUP BY city HAVING count(*) > 10 ORDER BY n DESC",
    "SELECT p.name FROM products AS p JOIN categories AS c ON p.category_id = c.id "
    "WHERE c.name = 'Toys' AND p.stock > 0",
    "SELECT avg(total), max(total) FROM orders WHERE placed_at BETWEEN '2024-01-01' AND "
    "'2024-12-31' AND status = 'paid'",
    "SELECT name FROM products WHERE id NOT IN (SELECT product_id FROM order_lines)",
    "SELECT c.name, sum(o.total) AS spent FROM customers AS c JOIN orders AS o "
    "ON o.customer_id = c.id WHERE o.status <> 'cancelled' GROUP BY c.id ORDER BY spent DESC "
    "LIMIT 5",
    "SELECT country FROM customers WHERE city = 'Lyon' INTERSECT SELECT country FROM customers "
    "WHERE name LIKE '%Ltd'",
    "SELECT DISTINCT T1.name FROM customers AS T1 JOIN orders AS T2 ON T1.id = T2.customer_id "
    "JOIN order_lines AS T3 ON T3.order_id = T2.id JOIN products AS T4 ON T4.id = T3.product_id "
    "WHERE T4.price > 100 OR T4.sku = 'AB-1'",
    "SELECT name, price FROM products WHERE price > (SELECT avg(price) FROM products)",
    "WITH monthly AS (SELECT strftime('%Y-%m', placed_at) AS month, sum(total) AS revenue "
    "FROM orders GROUP BY 1) SELECT month, revenue, revenue - lag(revenue) OVER (ORDER BY month) "
    "AS change FROM monthly ORDER BY month",
    "SELECT name, CASE WHEN stock = 0 THEN 'none' WHEN stock < 5 THEN 'few' ELSE 'many' END "
    "AS left_over FROM products WHERE category_id IS NOT NULL",
)

Work = Sequence[tuple[Sql, str]]


@dataclass(frozen=True, slots=True)
class Row:
    """One group of queries: microseconds a query (medians); ratio as lower quartile, median, upper.

    ``count`` is how many queries a turn has.
    """

    queries: str
    count: int
    turns: int
    parse: float
    verify: float
    ratio: tuple[float, float, float]


def shop() -> Work:
    """The queries of this benchmark, often enough for a turn."""
    check = Sql(DIALECT, catalogue=SHOP)
    return [(check, text) for text in QUERIES] * 10


def spider(every: int) -> Work:
    """Of the recorded queries that are accepted, each different one; of these, one in ``every``."""
    checks: dict[str, Sql] = {}
    work: dict[tuple[str, str], Sql] = {}
    for row in rows("spider", None):
        db = row["db_id"]
        if db not in checks:
            checks[db] = Sql(DIALECT, catalogue=data() / "spider_dbs" / f"{db}.sqlite")
        for recorded in row["models"].values():
            work.setdefault((db, recorded["output"]), checks[db])
    chosen = [(check, text) for (_, text), check in work.items()][::every]
    return [(check, text) for check, text in chosen if accepts(check, text)]


def accepts(check: Sql, text: str) -> bool:
    """Whether it is accepted, and without a worker process."""
    found = check.verify(REQUEST, Answer(text))
    return isinstance(found, Verdict) and found.accepted


def turn(work: Work, ours_first: bool) -> tuple[float, float]:
    """Processor seconds of sqlglot and of `Sql` over all queries."""
    alone = ours = 0.0
    clock = time.thread_time
    gc.disable()
    try:
        for check, text in work:
            answer = Answer(text)
            for verify in (ours_first, not ours_first):
                began = clock()
                if verify:
                    check.verify(REQUEST, answer)
                    ours += clock() - began
                else:
                    sqlglot.parse_one(text, dialect=DIALECT)
                    alone += clock() - began
            ours_first = not ours_first
    finally:
        gc.enable()
    gc.collect()
    return alone, ours


def measure(name: str, work: Work, turns: int) -> Row:
    """One group of queries."""
    for check, text in work:
        if not accepts(check, text):
            raise SystemExit(f"{text}: is not accepted: no timing")
    turn(work, ours_first=False)  # warms caches
    pairs = [turn(work, ours_first=bool(n % 2)) for n in range(turns)]
    low, median, high = quantiles([ours / alone for alone, ours in pairs], n=4)
    parse, verify = (quantiles(took, n=2)[0] / len(work) * 1e6 for took in zip(*pairs, strict=True))
    return Row(name, len(work), turns, parse, verify, (low, median, high))


def table(found: Sequence[Row]) -> str:
    """The rows for people."""
    lines = [f"{'queries':>8} {'count':>6} {'sqlglot':>10} {'Sql':>10}   ratio (quartiles)"]
    for row in found:
        low, median, high = row.ratio
        lines.append(
            f"{row.queries:>8} {row.count:>6} {row.parse:>7.0f} µs {row.verify:>7.0f} µs   "
            f"{median:.3f} ({low:.3f} to {high:.3f})"
        )
    return "\n".join(lines)


def main() -> int:
    """Measure, print, and say by the exit code whether the limit holds."""
    parser = argparse.ArgumentParser(description="What Sql adds to parsing.")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--quick", action="store_true", help="fewer queries and turns, for a check")
    parser.add_argument("--max-ratio", type=float, help="fail above this median")
    options = parser.parse_args()
    turns = 10 if options.quick else 30
    found = [measure("shop", shop(), turns)]
    if (data() / f"{FILES['spider']}.jsonl.gz").exists():
        found.append(measure("spider", spider(20 if options.quick else 5), turns))
    if options.json:
        print(json.dumps({"rows": [asdict(row) for row in found]}))
    else:
        print(table(found))
    worst = max(row.ratio[1] for row in found)
    if options.max_ratio is not None and worst > options.max_ratio:
        print(f"ratio {worst:.3f}, more than {options.max_ratio:g}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
