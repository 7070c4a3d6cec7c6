"""Training of the packaged landmark network, with which faces are aligned: maintainers' work, `python -m tools.landmarks`."""
