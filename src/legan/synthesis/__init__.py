"""Rendered faces: a seeded head model under every expression and lighting (needs the extra `render`)."""
