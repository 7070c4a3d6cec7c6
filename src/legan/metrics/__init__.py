"""Figures that results are judged by: pure functions of arrays."""
