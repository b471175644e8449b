"""Experiments: they define what a worker process does for a cohort. Distillation is the first."""
