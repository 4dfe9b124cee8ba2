"""The command line."""

from hashgcn.cli.app import main

__all__ = ["main"]
