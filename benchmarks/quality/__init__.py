"""The published table, made again: rows, runs, tables and pictures; see docs/reproduction.md."""
