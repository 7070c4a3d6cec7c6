"""Data sets of faces and of rated images: manifests, shards, batches, ratings, and importers."""
