"""The search: Optuna suggests the trials of the next cohort. Training does not import Optuna."""
