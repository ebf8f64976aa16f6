"""How pictures are made smaller, the same for training, evaluation, serving and drift statistics.

Most pixels of a large picture are not needed where it is looked at whole. A JPEG can be decoded at a half, a quarter or
an eighth of its size in a fraction of the time; so that it makes no difference whether it was, whoever scales a picture
down averages first, by the same factors. They depend on the scale alone: a frame of a pixel less is shown alike.
"""

import cv2
import numpy as np

FACTORS = (8, 4, 2)
"""Of the sides, at which a JPEG can be decoded: ITU T.81's blocks have 8 x 8 samples."""

MARGIN = 1.45
"""Times the pixels that are wanted on a side must be left, or scaling them once more would blur them.

Less than half again, for 1920 and 3840 pixels are 1.5 times 640 twice and four times: at a limit a few pixels would
decide.
"""


def factor_for(scale: float) -> int:
    """How many pixels to average on either side, of a picture that is wanted at a scale: 8, 4, 2 or 1.

    What does not divide a side leaves a last row or column that stands for fewer pixels.
    """
    return next((n for n in FACTORS if n * scale * MARGIN <= 1), 1)


def read_by(image: np.ndarray, width: int, height: int) -> int:
    """By what the sides of a picture were divided as it was read, or averaged: a power of two.

    Args:
        image: (rows, columns, 3), what was read.
        width: of the picture, in its own pixels.
        height: likewise.
    """
    # The least power of two that is enough: where it does not divide the side there is a pixel more.
    least = -(-max(width, height) // max(image.shape[:2]))
    return 1 << (int(least) - 1).bit_length()


def averaged(image: np.ndarray, scale: float) -> np.ndarray:
    """A picture that is wanted at a scale, with as many of its pixels averaged as `factor_for` says, and again.

    Args:
        image: (height, width, 3) uint8.
        scale: from its pixels to those that are wanted.
    """
    # By halves: OpenCV has a fast way for these. As often as can be, so that it ends alike wherever it has begun.
    while factor_for(scale) > 1:
        image = _halved(image)
        scale *= 2
    return image


def scaled(image: np.ndarray, scale: float, size: tuple[int, int] | None = None) -> np.ndarray:
    """A picture at another scale, as the network is shown it: averaged, then interpolated.

    Args:
        image: (rows, columns, 3) uint8.
        scale: from the picture's own pixels to those that are wanted; sides are rounded to whole ones, at least one.
        size: width and height of the picture in its own pixels, where it was read with fewer; see `read_by`.
    """
    width, height = size or (image.shape[1], image.shape[0])
    across, down = max(round(width * scale), 1), max(round(height * scale), 1)
    if image.shape[1::-1] == (across, down):
        return image
    image = averaged(image, scale * read_by(image, width, height))
    factor = read_by(image, width, height)
    # The last row and column may stand for less than the others: what they have too much is cut off.
    wide, high = across * factor / width, down * factor / height
    return cv2.resize(image, None, fx=wide, fy=high, interpolation=cv2.INTER_LINEAR)[:down, :across]


def _halved(image: np.ndarray) -> np.ndarray:
    """Squares of 2 x 2 pixels averaged; of an odd side the last ones with what there is, (h, w, 3) uint8."""
    height, width = image.shape[:2]
    rows, columns = height // 2, width // 2
    halved = np.empty((height - rows, width - columns, 3), dtype=np.uint8)
    for down, many in ((slice(2 * rows), slice(rows)), (slice(2 * rows, None), slice(rows, None))):
        for across, wide in ((slice(2 * columns), slice(columns)), (slice(2 * columns, None), slice(columns, None))):
            part = halved[many, wide]
            if part.size:
                part[:] = cv2.resize(image[down, across], part.shape[1::-1], interpolation=cv2.INTER_AREA)
    return halved
