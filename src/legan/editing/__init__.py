"""Editing: photos, folders, grids, the demo page, ONNX export, and the marks that edited files carry."""
