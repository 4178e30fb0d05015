"""What the ledger says: figures, tables, pages, and metrics for Prometheus."""
