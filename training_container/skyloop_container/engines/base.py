"""The one thing that the detector needs of an engine.

Another engine is a module beside this one, and a name in `engines.ENGINES`.
"""

from typing import Protocol

import numpy as np

SHAPES = 4
"""Of input that an engine on a GPU keeps ready. For another it plans anew, 0.7 to 2 s, and gives up one of them."""


class EngineMissing(Exception):
    """This machine cannot run an engine. The text says why."""


class Engine(Protocol):
    """A loaded network that takes and gives float32. Several threads may run it at once."""

    def run(self, images: np.ndarray, alone: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Run the network.

        Args:
            images: (n, 3, h, w) float32 RGB in 0..1, sides multiples of 32.
            alone: nothing else needs the cores now, so that it may take them all.

        Returns:
            The head's output (n, 4 + categories, anchors), and the pooled features (n, 2 * channels).

        Raises:
            RuntimeError: the engine failed.
        """
