"""Images to rate: what `legan synthesize` makes from data sets of faces, from plausible to bad, to train the quality model on."""
