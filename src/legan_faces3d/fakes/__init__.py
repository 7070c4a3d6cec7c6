"""Synthetic images of graded naturalness, made to be rated (`legan synthesize`)."""
