"""The published table beside ours: rows, stored results, runs, tables and pictures."""
