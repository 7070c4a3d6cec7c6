"""Training: the task protocol, the loop that runs any task, and one task file for each model."""
