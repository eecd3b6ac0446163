"""MLflow: a sweep and a final training as runs."""
