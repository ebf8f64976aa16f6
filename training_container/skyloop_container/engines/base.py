"""The one thing that the detector needs of an engine.

Another engine is a module beside this one. `inference.Detector.load` chooses it, and `export.export` writes its file.
"""

from typing import Protocol

import numpy as np


class Engine(Protocol):
    """A loaded network that computes in float32. Several threads may run it at once."""

    def run(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run the network on a batch of one.

        Args:
            images: (1, 3, size, size) float32 RGB in 0..1.

        Returns:
            The head's output (1, 4 + categories, anchors), and the pooled features (1, 2 * channels).
        """
