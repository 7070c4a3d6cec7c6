"""Data sets: reading folders of face crops, and drawing training batches from them."""
