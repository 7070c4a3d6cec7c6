"""Metrics of arrays and feature maps; none of them knows which network produced these."""
