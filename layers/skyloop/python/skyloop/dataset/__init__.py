"""Step 3: finished labels become a versioned dataset."""
