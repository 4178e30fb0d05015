"""The ledger: an append-only record of calls and attempts, in SQLite."""
