"""A small profile of an image, from which drift is judged without decoding the image again.

A few statistics of the picture, cheap enough to travel with every answer. All are taken from the image scaled down to
at most 640 pixels on its long side, so that they cost the same for every camera.

Drift detection knows the statistics by their names. A name stands for one computation: one that is computed in another
way gets another name, because models in service keep the container that they were packaged with. `PROFILE_VERSION` is
that of the layout of an answer's profile and of baseline.json; a new statistic does not change it.
"""

import cv2
import numpy as np

from .scaling import averaged

PROFILE_VERSION = 1
LONG_SIDE = 640  # pixels
STATISTICS = ("brightness", "contrast", "sharpness", "saturation", "entropy", "p05", "p95")


def image_statistics(image: np.ndarray) -> dict[str, float]:
    """Describe a picture in numbers, in the order of `STATISTICS`.

    Args:
        image: (height, width, 3) uint8 RGB.

    Returns:
        brightness: mean gray / 255, in [0, 1]
        contrast: standard deviation of gray / 255, in [0, 0.5]
        sharpness: natural logarithm of the variance of the Laplacian of gray (+1e-6, so a flat image is finite)
        saturation: mean S of HSV / 255, in [0, 1]
        entropy: of the 256-bin gray histogram, in bits, in [0, 8]
        p05, p95: 5th and 95th percentile of gray / 255, in [0, 1]
    """
    scale = LONG_SIDE / max(image.shape[:2])
    if scale < 1:
        image = averaged(image, scale)
        scale = LONG_SIDE / max(image.shape[:2])
        height, width = (max(round(side * scale), 1) for side in image.shape[:2])
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    histogram = cv2.calcHist([gray], [0], None, [256], [0, 256]).ravel().astype(np.float64)
    frequency = histogram / gray.size
    levels = np.arange(256)
    mean = frequency @ levels
    occupied = frequency[frequency > 0]
    _, edges = cv2.meanStdDev(cv2.Laplacian(gray, cv2.CV_16S))
    return {
        "brightness": float(mean / 255),
        "contrast": float(np.sqrt(frequency @ (levels - mean) ** 2) / 255),
        "sharpness": float(np.log(edges[0, 0] ** 2 + 1e-6)),
        "saturation": cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2HSV))[1] / 255,
        "entropy": float(-(occupied * np.log2(occupied)).sum() + 0.0),  # + 0.0: no negative zero for a flat image
        "p05": _percentile(histogram, 0.05) / 255,
        "p95": _percentile(histogram, 0.95) / 255,
    }


def _percentile(histogram: np.ndarray, share: float) -> float:
    """Of the values that a histogram counts, as `numpy.percentile` gives it, without sorting them."""
    place = share * (histogram.sum() - 1)
    low, high = np.searchsorted(histogram.cumsum(), [np.floor(place), np.ceil(place)], side="right")
    return float(low + (high - low) * (place % 1))
