"""What every other part stands on: types, images, conditions, config, weights. Imports nothing else of legan."""
