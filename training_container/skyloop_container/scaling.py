"""How pictures are made smaller, the same for training, evaluation, serving and drift statistics.

Most pixels of a large picture are not needed where it is looked at whole. A JPEG can be decoded at a half, a quarter or
an eighth of its size in a fraction of the time; so that it makes no difference whether it was, whoever scales a picture
down averages first, by the same factors.
"""

import cv2
import numpy as np

FACTORS = (8, 4, 2)
"""Of the sides, at which a JPEG can be decoded: ITU T.81's blocks have 8 x 8 samples."""

MARGIN = 1.5
"""Times the pixels that are wanted on a side must be left, or scaling them once more would blur them."""


def factor_for(scale: float, width: int, height: int) -> int:
    """How many pixels to average on either side, of a picture that is wanted at a scale: 8, 4, 2 or 1.

    It divides both sides, so that pixels of the smaller picture have the places that they had.
    """
    return next((n for n in FACTORS if width % n == height % n == 0 and n * scale * MARGIN <= 1), 1)


def averaged(image: np.ndarray, scale: float) -> np.ndarray:
    """A picture that is wanted at a scale, with as many of its pixels averaged as `factor_for` says, and again.

    Args:
        image: (height, width, 3) uint8.
        scale: from its pixels to those that are wanted.
    """
    # By halves: OpenCV has a fast way for these. As often as can be, so that it ends alike wherever it has begun.
    while factor_for(scale, image.shape[1], image.shape[0]) > 1:
        image = cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)
        scale *= 2
    return image


def scaled(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """A picture in another size, as the network is shown it: averaged, then interpolated.

    Args:
        image: (height, width, 3) uint8.
        width: of the new one, in pixels.
        height: likewise.
    """
    if image.shape[1::-1] == (width, height):
        return image
    image = averaged(image, max(width / image.shape[1], height / image.shape[0]))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
