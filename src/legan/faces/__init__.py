"""Faces in photos: found, measured, cut out aligned, and put back."""
