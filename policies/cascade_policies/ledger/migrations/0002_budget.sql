-- Budgets: what attempts have cost, and what is set aside for those in flight. docs/budgets.md
-- explains. Amounts are whole nano-dollars, so that every sum is exact.
CREATE TABLE budget_spent (
  quarter INTEGER NOT NULL,             -- a quarter of an hour: Unix seconds / 900
  task TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  low INTEGER NOT NULL DEFAULT 0,       -- what was surely billed
  high INTEGER NOT NULL DEFAULT 0,      -- what may have been: this counts as spent
  orphans INTEGER NOT NULL DEFAULT 0,   -- attempts whose process died
  orphaned INTEGER NOT NULL DEFAULT 0,  -- what these may have cost: the part of high, when charged
  freed INTEGER NOT NULL DEFAULT 0,     -- likewise, and no part of high
  calls INTEGER NOT NULL DEFAULT 0,     -- calls begun while something could be degraded
  degraded INTEGER NOT NULL DEFAULT 0,  -- those that were
  PRIMARY KEY (quarter, task)
) STRICT, WITHOUT ROWID;

-- The sums of budget_spent over the windows somebody has a limit for. One that is missing is summed
-- up anew; each booking is added to all it falls into.
CREATE TABLE budget_windows (
  task TEXT NOT NULL,                   -- '' for all together
  began INTEGER NOT NULL,               -- Unix seconds
  ended INTEGER NOT NULL,
  spent INTEGER NOT NULL,
  PRIMARY KEY (task, began, ended)
) STRICT, WITHOUT ROWID;

-- Processes that hold reservations. An id is never used again, so that one that was taken for dead
-- finds out.
CREATE TABLE budget_holders (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  host TEXT NOT NULL,                   -- the boot, and the namespace of the process ids
  pid INTEGER NOT NULL,
  started INTEGER NOT NULL,             -- in the kernel's own count; negative where it gives none
  heard REAL NOT NULL,                  -- Unix seconds, to the minute
  UNIQUE (pid, started, host)
) STRICT;

CREATE TABLE budget_reserved (
  holder INTEGER NOT NULL REFERENCES budget_holders(id) ON DELETE CASCADE,
  task TEXT NOT NULL,
  attempts INTEGER NOT NULL,            -- in flight
  amount INTEGER NOT NULL,              -- set aside for them
  PRIMARY KEY (holder, task)
) STRICT, WITHOUT ROWID;
