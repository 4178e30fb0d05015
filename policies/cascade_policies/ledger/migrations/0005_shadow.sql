-- Calls that repeat others, and what canaries and audits know. docs/shadow.md.
-- A shadow's variant is 'shadow of CALL_ID', the call that it shadows.
CREATE INDEX calls_shadows ON calls(policy) WHERE substr(variant, 1, 10) = 'shadow of ';

CREATE TABLE guards (
  name TEXT PRIMARY KEY,
  state TEXT NOT NULL,                  -- JSON, as to_dict gives it
  updated REAL NOT NULL                 -- Unix seconds
) STRICT, WITHOUT ROWID;
