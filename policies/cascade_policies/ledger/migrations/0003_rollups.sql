-- Sums over calls and attempts, which `cascade report` reads instead of the rows. docs/reports.md.
-- `span` is 3600 (an hour), 86400 (a day, UTC) or 10000000000 (since the ledger began); `start`,
-- Unix seconds, is a multiple of it.
CREATE TABLE rollup_calls (
  span INTEGER NOT NULL,
  start INTEGER NOT NULL,
  policy TEXT NOT NULL,
  outcome TEXT NOT NULL,
  calls INTEGER NOT NULL,
  escalated INTEGER NOT NULL,           -- calls with an escalation
  escalations INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  cost_low REAL NOT NULL,               -- of the calls whose cost is known
  cost_high REAL NOT NULL,
  cost_squares REAL NOT NULL,           -- of cost_high, for its spread
  cost_unknown INTEGER NOT NULL,        -- calls whose cost is not known
  waste_low REAL NOT NULL,
  waste_high REAL NOT NULL,
  waste_unknown INTEGER NOT NULL,
  latency_s REAL NOT NULL,
  PRIMARY KEY (span, start, policy, outcome)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_tiers (             -- a call counts once in each tier that it reached
  span INTEGER NOT NULL,
  start INTEGER NOT NULL,
  policy TEXT NOT NULL,
  tier TEXT NOT NULL,
  ending TEXT NOT NULL,                 -- accepted, undecided, rejected, abstained, failed
  verifier TEXT NOT NULL,               -- of the attempt that decided, with its code or error
  code TEXT NOT NULL,
  calls INTEGER NOT NULL,
  escalated INTEGER NOT NULL,           -- those in which a later tier was started because of it
  numbers REAL NOT NULL,                -- sum of the mean numbers of attempts: tells their order
  PRIMARY KEY (span, start, policy, tier, ending, verifier, code)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_attempts (
  span INTEGER NOT NULL,
  start INTEGER NOT NULL,
  policy TEXT NOT NULL,
  tier TEXT NOT NULL,
  model TEXT NOT NULL,
  outcome TEXT NOT NULL,                -- accepted, rejected, abstained, failed, cancelled
  verifier TEXT NOT NULL,
  code TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  retries INTEGER NOT NULL,
  repairs INTEGER NOT NULL,
  replicas INTEGER NOT NULL,
  fallbacks INTEGER NOT NULL,
  cost_low REAL NOT NULL,
  cost_high REAL NOT NULL,
  cost_unknown INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  latency_s REAL NOT NULL,
  first_tokens INTEGER NOT NULL,        -- attempts with a first token, and how long these took
  first_token_s REAL NOT NULL,
  PRIMARY KEY (span, start, policy, tier, model, outcome, verifier, code)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_series (            -- what durations are of
  id INTEGER PRIMARY KEY,
  policy TEXT NOT NULL,
  measure TEXT NOT NULL,                -- call, attempt, first_token
  tier TEXT NOT NULL,                   -- '' of calls
  model TEXT NOT NULL,
  UNIQUE (policy, measure, tier, model)
) STRICT;

CREATE TABLE rollup_durations (
  span INTEGER NOT NULL,
  start INTEGER NOT NULL,
  series INTEGER NOT NULL,
  bucket INTEGER NOT NULL,
  durations INTEGER NOT NULL,
  cut INTEGER NOT NULL,                 -- those of them that were cut short
  PRIMARY KEY (span, start, series, bucket)
) STRICT, WITHOUT ROWID;

-- The longest duration of each bucket, 10 ** (bucket / 32.0). Not every SQLite has log10, and a
-- function of ours would take the interpreter lock for each row.
CREATE TABLE rollup_edges (
  seconds REAL PRIMARY KEY,
  bucket INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO rollup_edges
WITH RECURSIVE steps(step, factor) AS (
  VALUES (1, 1.0746078283213176)
  UNION ALL SELECT step + 1, factor * 1.0746078283213176 FROM steps WHERE step < 31
), decades(decade, seconds) AS (
  VALUES (-6, 1e-6), (-5, 1e-5), (-4, 1e-4), (-3, 1e-3), (-2, 1e-2), (-1, 1e-1), (0, 1e0),
    (1, 1e1), (2, 1e2), (3, 1e3), (4, 1e4), (5, 1e5), (6, 1e6)
)
SELECT seconds, 32 * decade FROM decades
UNION ALL SELECT seconds * factor, 32 * decade + step FROM decades, steps WHERE decade < 6;

CREATE TABLE rollup_state (             -- one row
  through INTEGER NOT NULL              -- the last id of calls that is in the sums
) STRICT;

INSERT INTO rollup_state VALUES (0);
