-- Calls and their attempts, append-only, and how long models take. docs/ledger.md explains the columns.
CREATE TABLE calls (
  id INTEGER PRIMARY KEY,
  call_id TEXT NOT NULL UNIQUE,
  began REAL NOT NULL,                  -- Unix seconds
  policy TEXT NOT NULL,
  outcome TEXT NOT NULL,                -- accepted, exhausted, deadline, cancelled, error
  tier TEXT,                            -- the one that answered
  first TEXT NOT NULL,                  -- the one it began at
  escalations INTEGER NOT NULL,
  tiers_tried INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  latency_s REAL NOT NULL,
  cost_low REAL,                        -- US dollars; NULL where no price is known
  cost_high REAL,
  cost_basis TEXT NOT NULL,
  waste_low REAL,
  waste_high REAL,
  route TEXT,                           -- the tier a router named; NULL without one
  route_label TEXT,
  route_s REAL,
  route_cost_low REAL,
  route_cost_high REAL,
  variant TEXT NOT NULL DEFAULT '',
  error TEXT,
  prompt TEXT,
  prompt_hash BLOB,
  prompt_chars INTEGER NOT NULL,
  answer TEXT,
  answer_hash BLOB,
  answer_chars INTEGER
) STRICT;

CREATE INDEX calls_began ON calls(began);

CREATE TABLE attempts (
  id INTEGER PRIMARY KEY,
  call INTEGER NOT NULL REFERENCES calls(id) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  tier TEXT NOT NULL,
  model TEXT NOT NULL,
  member INTEGER NOT NULL,
  kind TEXT NOT NULL,                   -- first, retry, repair, replica, fallback
  outcome TEXT NOT NULL,                -- accepted, rejected, failed, cancelled
  reason TEXT NOT NULL,
  code TEXT,
  verifier TEXT,
  score REAL,
  started_s REAL NOT NULL,              -- after the call began
  waited_s REAL NOT NULL,
  latency_s REAL NOT NULL,
  time_to_first_token_s REAL,
  check_s REAL,
  input_tokens INTEGER,
  cached_input_tokens INTEGER,
  output_tokens INTEGER,
  reasoning_tokens INTEGER,
  cost_low REAL,
  cost_high REAL,
  cost_basis TEXT NOT NULL,
  response_model TEXT,
  request_id TEXT,
  finish_reason TEXT,
  error TEXT,
  answer TEXT,
  answer_hash BLOB
) STRICT;

CREATE INDEX attempts_call ON attempts(call);

CREATE TABLE latencies (
  name TEXT PRIMARY KEY,                -- of the model
  data TEXT NOT NULL,                   -- JSON, as Engine.latencies gives it
  updated REAL NOT NULL
) STRICT, WITHOUT ROWID;
