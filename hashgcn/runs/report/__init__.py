"""The HTML report of a finished run."""

from hashgcn.runs.report.sections import write
from hashgcn.runs.report.titles import read_titles

__all__ = ["read_titles", "write"]
