"""Optuna: which trials the next cohort consists of. No other room but the report imports Optuna."""
