"""What every other part stands on: errors, config, images, files, weights. Imports nothing else of legan."""
