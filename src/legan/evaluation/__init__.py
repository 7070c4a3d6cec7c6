"""Evaluation: editors side by side, face verification, and expression recognition."""
