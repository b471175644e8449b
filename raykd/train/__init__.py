"""Training of a cohort: students that share one teacher pass and one data stream; without Ray."""
