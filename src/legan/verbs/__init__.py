"""Verbs of the command `legan` that belong together, one module a subject; `cli.py` brings them under one name."""
