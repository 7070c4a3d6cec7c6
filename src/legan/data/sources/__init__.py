"""Importers: one file for each public data set, by its own folder layout. Nothing is fetched."""
