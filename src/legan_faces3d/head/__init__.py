"""The head: mesh, identity, expression, skin, hair, eyes, mouth."""
