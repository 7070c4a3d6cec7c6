"""Networks. Each is built from a small frozen config; presets stand beside the network they configure."""
