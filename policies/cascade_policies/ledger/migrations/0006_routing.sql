-- What routers cost, in the sums that reports read: it is part of a call's cost, and of no attempt.
-- Of calls that were deleted before it is not known any more.
ALTER TABLE rollup_calls ADD COLUMN routed INTEGER NOT NULL DEFAULT 0;         -- calls with a router
ALTER TABLE rollup_calls ADD COLUMN route_low REAL NOT NULL DEFAULT 0;         -- where it is known
ALTER TABLE rollup_calls ADD COLUMN route_high REAL NOT NULL DEFAULT 0;
ALTER TABLE rollup_calls ADD COLUMN route_unknown INTEGER NOT NULL DEFAULT 0;  -- where it is not

UPDATE rollup_calls SET routed = found.routed, route_low = found.low, route_high = found.high,
  route_unknown = found.unknown
FROM (
  SELECT span, CAST(began / 3600 AS INTEGER) * 3600 - CAST(began / 3600 AS INTEGER) * 3600 % span
    AS start, policy, outcome, count(*) AS routed, total(route_cost_low) AS low,
    total(route_cost_high) AS high, sum(route_cost_high IS NULL) AS unknown
  FROM calls CROSS JOIN (
    SELECT 3600 AS span UNION ALL SELECT 86400 UNION ALL SELECT 10000000000
  )
  WHERE route_s IS NOT NULL AND calls.id <= (SELECT through FROM rollup_state)
  GROUP BY 1, 2, 3, 4
) AS found
WHERE rollup_calls.span = found.span AND rollup_calls.start = found.start
  AND rollup_calls.policy = found.policy AND rollup_calls.outcome = found.outcome;
