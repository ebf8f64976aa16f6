"""The one thing that the detector needs of an engine.

Another engine is a module beside this one. `inference.Detector.load` chooses it, and `export.export` writes its file.
"""

from typing import Protocol

import numpy as np


class Engine(Protocol):
    """A loaded network that computes in float32. Several threads may run it at once."""

    def run(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run the network.

        Args:
            images: (n, 3, h, w) float32 RGB in 0..1, sides multiples of 32.

        Returns:
            The head's output (n, 4 + categories, anchors), and the pooled features (n, 2 * channels).
        """
