"""Runs cohorts on a Ray cluster and examines the cluster. No other package imports Ray."""
