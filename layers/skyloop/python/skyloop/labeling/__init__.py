"""Step 2: pending images become labeling jobs."""
