"""Step 1: uploaded objects become catalogue entries, or are quarantined with a reason."""
