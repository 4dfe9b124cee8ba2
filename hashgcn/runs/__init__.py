"""Folders of runs: their files, and what is made of them."""
