"""Faces in three dimensions (extra `render`): rendered people, photos under new light and expression, and fakes to rate."""
