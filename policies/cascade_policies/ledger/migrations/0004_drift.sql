-- Drift: what is known of each figure of a policy, and the changes that were found. docs/drift.md.
CREATE TABLE drift (
  policy TEXT NOT NULL,
  what TEXT NOT NULL,                   -- 'escalation rate', 'cost per call'
  state TEXT NOT NULL,                  -- JSON, as Watches.states gives it
  detected REAL,                        -- Unix seconds of the last change
  updated REAL NOT NULL,
  PRIMARY KEY (policy, what)
) STRICT, WITHOUT ROWID;

CREATE TABLE drift_found (
  at REAL NOT NULL,                     -- Unix seconds
  policy TEXT NOT NULL,
  what TEXT NOT NULL,
  before REAL NOT NULL,                 -- a share, or dollars
  now REAL NOT NULL,
  evidence REAL NOT NULL,
  calls INTEGER NOT NULL                -- since the change, as far as that can be told
) STRICT;

CREATE INDEX drift_found_at ON drift_found(at);
