"""Counts what is in the source files of the running Python's standard library, one task a file."""
