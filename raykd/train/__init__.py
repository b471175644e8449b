"""Training: one teacher pass and one data stream for a cohort of students. Knows nothing of Ray."""
