"""Step 1 of the loop: uploaded objects become catalogue entries, or are quarantined with a reason."""
