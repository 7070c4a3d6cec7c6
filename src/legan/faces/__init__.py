"""Faces in photos: detection, landmarks, alignment, identity embeddings, and how an edit returns to the photo."""
