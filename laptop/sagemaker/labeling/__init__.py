"""Ground Truth labeling jobs of bounding boxes, and the simulated workforce that answers them."""
