"""The ready policies: one TOML file each, and beside it the code of its first tier."""
