"""From a head to an image: camera, rays, light, sensor, and the rendered data set."""
