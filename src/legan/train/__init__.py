"""Training: the task contract, the loop and its hooks, run folders, and one file a model."""
