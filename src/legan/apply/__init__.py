"""What people do with trained models: edit photos, files and folders, make grids and the demo page."""
