"""Ray: runs cohorts on a cluster, and looks after the cluster. No other room imports Ray."""
