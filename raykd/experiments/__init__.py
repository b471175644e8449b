"""Experiments: what happens when a cohort is run. Distillation is the first."""
